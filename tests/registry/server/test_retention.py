"""The syntax of --auto-compaction-retention."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.errors import InvalidArgument
from tianlu_registry.server.retention import Retention, parse_retention


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [
        ("periodic", "0", Retention()),
        ("periodic", "1", Retention(period_seconds=3600)),
        ("periodic", "30m", Retention(period_seconds=1800)),
        ("periodic", "1h30m", Retention(period_seconds=5400)),
        ("periodic", "1.5h", Retention(period_seconds=5400)),
        ("periodic", "2500ms", Retention(period_seconds=2.5)),
        ("periodic", "0s", Retention()),
        ("revision", "0", Retention()),
        ("revision", "1000", Retention(revisions=1000)),
    ],
)
def test_what_is_meant(mode: str, text: str, expected: Retention) -> None:
    assert parse_retention(mode, text) == expected


@given(hours=st.integers(0, 99), minutes=st.integers(0, 99), seconds=st.integers(0, 99))
def test_durations_add_up(hours: int, minutes: int, seconds: int) -> None:
    retention = parse_retention("periodic", f"{hours}h{minutes}m{seconds}s")
    assert retention.period_seconds == pytest.approx(3600 * hours + 60 * minutes + seconds)


@pytest.mark.parametrize(
    ("mode", "text", "field"),
    [
        ("period", "1h", "auto_compaction_mode"),
        ("periodic", "", "auto_compaction_retention"),
        ("periodic", "-1h", "auto_compaction_retention"),
        ("periodic", "1d", "auto_compaction_retention"),
        ("periodic", "1.5", "auto_compaction_retention"),
        ("periodic", "9" * 400, "auto_compaction_retention"),
        ("revision", "5m", "auto_compaction_retention"),
        ("revision", "-1", "auto_compaction_retention"),
    ],
)
def test_what_cannot_be_names_its_flag(mode: str, text: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_retention(mode, text)
    assert caught.value.field == field
