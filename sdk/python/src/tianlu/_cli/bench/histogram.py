"""Counts of durations in buckets whose width grows with the value: small, exact enough, and quick
to add to and to join.

A value below 128 has a bucket of its own. From there each power of two is cut into 128 buckets, so
a percentile is never too small, and too large by less than one part in 128.

Source: the idea of HdrHistogram (hdrhistogram.org).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

_BITS: Final = 7
_PART: Final = 1 << _BITS
_VALUE_BITS_MAX: Final = 63
_BUCKETS: Final = (_VALUE_BITS_MAX - _BITS) * _PART + _PART

RELATIVE_ERROR: Final = 1 / _PART


class Histogram:
    """Counts of whole numbers from 0 to 2**63 - 1; the callers' are nanoseconds.

    Attributes:
        count: how many values were recorded.
        total: their sum.
        largest: the largest of them, 0 if there is none.
    """

    __slots__ = ("_buckets", "count", "largest", "total")

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self.count = 0
        self.total = 0
        self.largest = 0

    def record(self, value: int, count: int = 1) -> None:
        """Add a value, `count` times. One below 0 (a clock that was set) counts as 0."""
        if value < 0:
            value = 0
        shift = value.bit_length() - _BITS - 1
        # Above 0 the value's highest 8 bits, 128 to 255, are the place in the run of its power.
        index = value if shift <= 0 else shift * _PART + (value >> shift)
        self._buckets[index] += count
        self.count += count
        self.total += value * count
        if value > self.largest:
            self.largest = value

    def merge(self, other: Histogram) -> None:
        """Add all that `other` has counted."""
        for index, count in enumerate(other._buckets):
            if count:
                self._buckets[index] += count
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)

    @property
    def mean(self) -> float:
        """The exact mean; 0 of nothing."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, share: float) -> int:
        """Return a value that at least `share` (0 to 1) of the values do not exceed; see the head
        of this module for how near it is. 0 of nothing."""
        wanted = max(1, -int(-share * self.count // 1))
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                return min(_upper(index), self.largest)
        return self.largest

    def rows(self, edges: list[int]) -> list[int]:
        """Return how many values lie in [0, edges[0]), [edges[0], edges[1]), ... and from the last
        edge on. A bucket counts whole where its lower end lies."""
        found = [0] * (len(edges) + 1)
        row = 0
        for index, count in enumerate(self._buckets):
            if not count:
                continue
            while row < len(edges) and _lower(index) >= edges[row]:
                row += 1
            found[row] += count
        return found

    def filled(self) -> Iterator[tuple[int, int]]:
        """Yield the upper end and the count of each bucket that holds something, ascending."""
        for index, count in enumerate(self._buckets):
            if count:
                yield _upper(index), count


def scale(smallest: int, largest: int) -> list[int]:
    """Return round edges, 1, 2 and 5 times powers of ten, that reach from below `smallest` to above
    `largest`."""
    edges: list[int] = []
    for power in itertools.count():
        for digit in (1, 2, 5):
            edge = digit * 10**power
            if edge * 3 > smallest:
                edges.append(edge)
            if edge > largest:
                return edges
    raise AssertionError  # itertools.count does not end


def _lower(index: int) -> int:
    shift = index // _PART - 1
    return index if shift <= 0 else (index - shift * _PART) << shift


def _upper(index: int) -> int:
    shift = index // _PART - 1
    return index if shift <= 0 else ((index - shift * _PART + 1) << shift) - 1
