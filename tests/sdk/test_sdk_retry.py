"""Waits and deadlines as values."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from tianlu._retry import (
    CALL_WAIT,
    STREAM_WAIT,
    Deadline,
    Exponential,
    FirstAtOnce,
    Jittered,
    draw,
)


def test_exponential_doubles_up_to_its_maximum():
    wait = Exponential(0.1, seconds_max=1.0)
    assert [wait.seconds(attempt, 0.9) for attempt in (1, 2, 3, 4, 5, 6)] == [
        0.1,
        0.2,
        0.4,
        0.8,
        1.0,
        1.0,
    ]
    assert wait.seconds(10**9, 0.0) == 1.0


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_jitter_only_shortens(attempt: int, dice: float, share: float):
    whole = Exponential(0.1, seconds_max=2.0).seconds(attempt, dice)
    wait = Jittered(Exponential(0.1, seconds_max=2.0), share).seconds(attempt, dice)
    assert whole * (1 - share) <= wait <= whole


def test_first_at_once_shifts_what_follows():
    wait = FirstAtOnce(Exponential(5.0, seconds_max=5.0))
    assert [wait.seconds(attempt, 0.0) for attempt in (1, 2, 3)] == [0.0, 5.0, 5.0]


def test_a_returning_registry_is_noticed_within_two_seconds():
    assert max(STREAM_WAIT.seconds(attempt, 0.0) for attempt in range(1, 50)) == 2.0
    assert max(CALL_WAIT.seconds(attempt, 0.0) for attempt in range(1, 50)) == 1.0


def test_deadline_counts_down_to_zero():
    deadline = Deadline.after(60)
    assert 59 < deadline.remaining() <= 60
    assert not deadline.passed
    passed = Deadline(time.monotonic() - 1)
    assert passed.remaining() == 0
    assert passed.passed
    assert 0 <= draw() < 1
