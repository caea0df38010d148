"""A histogram of durations, cheap enough for every sync and every call."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

BOUNDS_SECONDS: Final = tuple(0.001 * 2**power for power in range(14))
"""1 ms to 8 s, doubling: etcd's buckets for disks, so that its dashboards work."""


class Durations:
    """Counts of durations by size. One thread adds; another may read counts that are one behind.

    Args:
        bounds_seconds: upper bounds of the sizes, ascending; one size more is above them.

    Attributes:
        total_seconds: sum of all.
    """

    __slots__ = ("_bounds", "_counts", "total_seconds")

    def __init__(self, bounds_seconds: Sequence[float] = BOUNDS_SECONDS) -> None:
        self._bounds = bounds_seconds
        self._counts = [0] * (len(bounds_seconds) + 1)
        self.total_seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self.total_seconds += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return Prometheus' cumulative buckets, each with its upper bound."""
        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        cumulative = 0
        found = []
        for bound, count in zip(bounds, self._counts, strict=True):
            cumulative += count
            found.append((bound, float(cumulative)))
        return found
