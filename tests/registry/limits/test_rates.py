"""Rates against the token bucket that they stand for, and their bound."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.errors import InvalidArgument
from tianlu_registry.limits import Rates

STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 64).map(lambda n: Fraction(n, 16))),
    max_size=60,
)


class Buckets:
    """The textbook's token bucket, exactly."""

    def __init__(self, per_second: int, burst: int) -> None:
        self._per_second, self._burst = per_second, burst
        self._tokens: dict[str, tuple[Fraction, Fraction]] = {}

    def admit(self, client: str, now: Fraction) -> Fraction:
        tokens, then = self._tokens.get(client, (Fraction(self._burst), now))
        tokens = min(Fraction(self._burst), tokens + (now - then) * self._per_second)
        wait = max(Fraction(0), (1 - tokens) / self._per_second)
        self._tokens[client] = (tokens - 1 if wait == 0 else tokens, now)
        return wait


@given(per_second=st.sampled_from([1, 2, 4, 8]), burst=st.integers(1, 5), steps=STEPS)
def test_as_the_textbook_has_it(
    per_second: int, burst: int, steps: list[tuple[str, Fraction]]
) -> None:
    rates, buckets, now = Rates(per_second, burst), Buckets(per_second, burst), Fraction(1000)
    for client, pause in steps:
        now += pause
        assert rates.admit(client, float(now)) == pytest.approx(
            float(buckets.admit(client, now)), abs=1e-9
        )


@given(burst=st.integers(1, 5), pauses=st.lists(st.floats(0, 3), max_size=50))
def test_what_is_said_to_wait_is_enough(burst: int, pauses: list[float]) -> None:
    rates, now = Rates(3.0, burst), 0.0
    for pause in pauses:
        now += pause
        wait = rates.admit("a", now)
        if wait:
            now += wait
            assert rates.admit("a", now) == 0.0


@given(
    per_second=st.floats(0.1, 1000), burst=st.integers(1, 50), pauses=st.lists(st.floats(0, 0.5))
)
def test_no_window_has_more_than_rate_and_burst(
    per_second: float, burst: int, pauses: list[float]
) -> None:
    rates, now, admitted = Rates(per_second, burst), 0.0, 0
    for pause in pauses:
        now += pause
        admitted += rates.admit("a", now) == 0.0
        assert admitted <= burst + per_second * now + 1e-3


def test_clients_do_not_share() -> None:
    rates = Rates(1, 1)
    assert rates.admit("a", 0) == 0
    assert rates.admit("a", 0) > 0
    assert rates.admit("b", 0) == 0


def test_what_is_reserved_is_put_off_more_and_more() -> None:
    rates = Rates(10, 2)
    assert [rates.reserve("a", 0) for _ in range(4)] == pytest.approx([0, 0, 0.1, 0.2])
    assert rates.admit("a", 0) == pytest.approx(0.3)


@given(steps=STEPS, clients_max=st.integers(1, 2))
def test_the_table_is_bounded_and_forgets_the_least_recent(
    steps: list[tuple[str, Fraction]], clients_max: int
) -> None:
    rates, recent = Rates(1, 1, clients_max), list[str]()
    for client, _ in steps:
        if rates.reserve(client, 0.0) == 0.0:
            assert client not in recent[-clients_max:]
        recent = [one for one in recent if one != client] + [client]
        assert len(rates) <= clients_max


@pytest.mark.parametrize(
    ("values", "field"), [((0, 1, 1), "per_second"), ((1, 0, 1), "burst"), ((1, 1, 0), "clients")]
)
def test_what_cannot_be_is_refused(values: tuple[float, int, int], field: str) -> None:
    with pytest.raises(InvalidArgument, match=field):
        Rates(*values)
