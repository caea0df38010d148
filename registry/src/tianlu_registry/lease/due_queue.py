"""Ids by the time at which they are due."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush

_STALE_MIN = 1024


class DueQueue:
    """A heap with one valid entry per id.

    Scheduling again or discarding leaves the old entry in the heap, to be skipped when it comes
    up. When stale entries outnumber valid ones (and a thousand) the heap is rebuilt, so its size
    stays within a constant of the ids'.
    """

    __slots__ = ("_heap", "_times")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._times: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._times)

    def reset(self, times: Mapping[int, float]) -> None:
        """Replace everything."""
        self._times = dict(times)
        self._rebuild()

    def schedule(self, item: int, at: float) -> None:
        """Make an id due at `at`, and only then."""
        self._times[item] = at
        heappush(self._heap, (at, item))
        self._prune()

    def discard(self, item: int) -> None:
        """Forget an id; harmless if it is not there."""
        self._times.pop(item, None)
        self._prune()

    def pop_due(self, now: float) -> int | None:
        """Take out the id that has been due the longest; None if none is due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, item = heappop(heap)
            if self._times.get(item) == at:
                del self._times[item]
                return item
        return None

    def _prune(self) -> None:
        if len(self._heap) > 2 * len(self._times) + _STALE_MIN:
            self._rebuild()

    def _rebuild(self) -> None:
        self._heap = [(at, item) for item, at in self._times.items()]
        heapify(self._heap)
