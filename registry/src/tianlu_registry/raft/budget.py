"""Bytes outstanding, counted by batches rather than entry by entry."""

from __future__ import annotations

from collections import deque

from tianlu_registry.raft.types import Index


class ByteBudget:
    """How much data lies between a position that has been passed and the newest one.

    Attributes:
        outstanding: size of what was added and has not been freed.
    """

    __slots__ = ("_batches", "_unbatched", "outstanding")

    def __init__(self) -> None:
        self._batches: deque[tuple[Index, int]] = deque()  # last index, size
        self._unbatched = 0
        self.outstanding = 0

    def add(self, size: int) -> None:
        self._unbatched += size
        self.outstanding += size

    def end_batch(self, last_index: Index) -> None:
        """What was added since the last batch ends at `last_index`."""
        if self._unbatched:
            self._batches.append((last_index, self._unbatched))
            self._unbatched = 0

    def free_to(self, index: Index) -> None:
        """Free all batches that end at or before `index`."""
        while self._batches and self._batches[0][0] <= index:
            self.outstanding -= self._batches.popleft()[1]
