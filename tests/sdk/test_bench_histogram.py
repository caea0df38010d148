"""The benchmark's histogram against sorted values."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tianlu._cli.bench.histogram import RELATIVE_ERROR, Histogram, scale

durations = st.one_of(
    st.integers(min_value=0, max_value=300), st.integers(min_value=0, max_value=2**62)
)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


@given(st.lists(durations, min_size=1, max_size=200), st.floats(min_value=0.0, max_value=1.0))
def test_a_percentile_is_at_most_one_bucket_too_large(values: list[int], share: float) -> None:
    rank = max(1, math.ceil(share * len(values)))
    exact = sorted(values)[rank - 1]
    found = filled(values).percentile(share)
    assert exact <= found <= exact * (1 + RELATIVE_ERROR)


@given(st.lists(durations), st.lists(durations))
def test_merging_is_recording_both(first: list[int], second: list[int]) -> None:
    merged = filled(first)
    merged.merge(filled(second))
    both = filled(first + second)
    assert list(merged.filled()) == list(both.filled())
    assert (merged.count, merged.largest, merged.mean) == (both.count, both.largest, both.mean)


@given(durations, st.integers(min_value=1, max_value=50))
def test_a_count_is_as_many_records(value: int, count: int) -> None:
    at_once = Histogram()
    at_once.record(value, count)
    assert list(at_once.filled()) == list(filled([value] * count).filled())
    assert at_once.mean == value


@given(st.lists(durations, min_size=1, max_size=100))
def test_rows_hold_every_value_once(values: list[int]) -> None:
    histogram = filled(values)
    edges = scale(histogram.percentile(0.0), histogram.largest)
    assert edges == sorted(set(edges))
    assert edges[-1] > max(values)
    rows = histogram.rows(edges)
    assert len(rows) == len(edges) + 1
    assert sum(rows) == len(values)


def test_nothing_has_no_percentile() -> None:
    assert Histogram().percentile(0.99) == 0
    assert Histogram().mean == 0.0


def test_a_clock_that_went_back_counts_as_no_time() -> None:
    histogram = filled([-5])
    assert (histogram.count, histogram.largest, histogram.percentile(1.0)) == (1, 0, 0)
