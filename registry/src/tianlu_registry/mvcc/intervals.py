"""A set of keys given as half-open ranges."""

from __future__ import annotations

from bisect import bisect_right

from tianlu_registry.mvcc.types import WHOLE_KEYSPACE_FROM


class IntervalSet:
    """Ranges in etcd's notation (key, range_end), and whether they hold a key.

    Ranges are added first and asked for later; the merged form is made at the first question
    after an addition.
    """

    __slots__ = ("_ends", "_ranges", "_starts")

    def __init__(self) -> None:
        self._ranges: list[tuple[bytes, bytes | None]] = []  # start, end (None: no end)
        self._starts: list[bytes] | None = []
        self._ends: list[bytes | None] = []

    def add(self, key: bytes, range_end: bytes) -> None:
        """Add a range: empty `range_end` for the one key, ``b"\\0"`` for no end. An empty range
        adds nothing."""
        end: bytes | None
        if not range_end:
            end = key + b"\x00"
        elif range_end == WHOLE_KEYSPACE_FROM:
            end = None
        else:
            end = range_end
        if end is None or key < end:
            self._ranges.append((key, end))
            self._starts = None

    def update(self, other: IntervalSet) -> None:
        """Add all ranges of another set."""
        if other._ranges:
            self._ranges.extend(other._ranges)
            self._starts = None

    def __contains__(self, key: bytes) -> bool:
        starts = self._starts
        if starts is None:
            starts = self._merge()
        position = bisect_right(starts, key) - 1
        if position < 0:
            return False
        end = self._ends[position]
        return end is None or key < end

    def covers(self, key: bytes, range_end: bytes) -> bool:
        """Whether the set holds all of a range, given in the same notation. Of an empty range the
        start counts."""
        if not range_end:
            return key in self
        starts = self._starts
        if starts is None:
            starts = self._merge()
        position = bisect_right(starts, key) - 1
        if position < 0:
            return False
        end = self._ends[position]
        if end is None:
            return True
        return range_end != WHOLE_KEYSPACE_FROM and key < end and range_end <= end

    def _merge(self) -> list[bytes]:
        starts: list[bytes] = []
        ends: list[bytes | None] = []
        for start, end in sorted(self._ranges, key=lambda interval: interval[0]):
            if starts and (ends[-1] is None or start <= ends[-1]):
                ends[-1] = None if ends[-1] is None or end is None else max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)
        self._starts, self._ends = starts, ends
        return starts
