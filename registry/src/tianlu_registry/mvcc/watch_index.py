"""Which groups of watchers a changed key concerns, at a cost that does not grow with the watchers.

Ranges come in three kinds, each found its own way:

    one key        a dictionary
    a prefix       one dictionary lookup per distinct length of prefix watched (a handful in
                   practice, never more than the key is long)
    other ranges   a balanced interval tree in arrays, rebuilt after every so many additions

Nearly all watches are of the first two kinds (a prefix watch is what every client library sends
for "all below this"), so ten thousand watches on distinct prefixes cost an event some ten
lookups.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from tianlu_registry.mvcc.types import WHOLE_KEYSPACE_FROM

Item = TypeVar("Item", bound=Hashable)

_RECENT_MAX = 64
"""Ranges looked at one by one before the tree is rebuilt with them."""


def prefix_end(prefix: bytes) -> bytes:
    """Return the `range_end` with which a range from `prefix` holds exactly the keys that begin
    with it.

    Source: etcd client/v3/op.go, getPrefix.
    """
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else WHOLE_KEYSPACE_FROM


class RangeIndex(Generic[Item]):
    """A multimap from ranges of keys to items, asked by key."""

    __slots__ = ("_exact", "_intervals", "_prefix_lengths", "_prefixes")

    def __init__(self) -> None:
        self._exact: dict[bytes, dict[Item, None]] = {}
        self._prefixes: dict[bytes, dict[Item, None]] = {}
        self._prefix_lengths: dict[int, int] = {}  # length: prefixes of that length
        self._intervals: _IntervalTree[Item] = _IntervalTree()

    def add(self, key: bytes, range_end: bytes, item: Item) -> None:
        """Add an item under a range; the same item under the same range once."""
        if not range_end:
            self._exact.setdefault(key, {})[item] = None
            return
        prefix = _as_prefix(key, range_end)
        if prefix is None:
            self._intervals.add(key, range_end, item)
            return
        items = self._prefixes.get(prefix)
        if items is None:
            items = self._prefixes[prefix] = {}
            length = len(prefix)
            self._prefix_lengths[length] = self._prefix_lengths.get(length, 0) + 1
        items[item] = None

    def remove(self, key: bytes, range_end: bytes, item: Item) -> None:
        """Remove an item that was added under that range."""
        if not range_end:
            _discard(self._exact, key, item)
            return
        prefix = _as_prefix(key, range_end)
        if prefix is None:
            self._intervals.remove(key, range_end, item)
        elif _discard(self._prefixes, prefix, item):
            length = len(prefix)
            self._prefix_lengths[length] -= 1
            if not self._prefix_lengths[length]:
                del self._prefix_lengths[length]

    def match(self, key: bytes) -> list[Item]:
        """Return the items of all ranges that hold `key`."""
        found = list(self._exact.get(key, ()))
        prefixes = self._prefixes
        if prefixes:
            longest = len(key)
            for length in self._prefix_lengths:
                if length <= longest:
                    found += prefixes.get(key[:length], ())
        if self._intervals:
            found += self._intervals.match(key)
        return found


def _as_prefix(key: bytes, range_end: bytes) -> bytes | None:
    """Return the prefix that a range stands for, None if it is no prefix."""
    if range_end == prefix_end(key):
        return key
    if key == b"\x00" and range_end == WHOLE_KEYSPACE_FROM:
        return b""  # every key but the empty one, which cannot be
    return None


def _discard(groups: dict[bytes, dict[Item, None]], key: bytes, item: Item) -> bool:
    """Remove an item and return whether its key went with it."""
    items = groups[key]
    del items[item]
    if items:
        return False
    del groups[key]
    return True


class _IntervalTree(Generic[Item]):
    """Ranges that are no prefixes.

    Bounded ranges stand sorted by start in arrays; the middle of each half-open slice is the root
    of its subtree and knows the largest end in it, so a search leaves out slices that end too
    early. Additions wait in a short list that every search reads, removals take effect at once;
    both enter the arrays when the list is full.
    """

    __slots__ = ("_ends", "_max_ends", "_members", "_ranges", "_recent", "_starts")

    def __init__(self) -> None:
        self._ranges: dict[tuple[bytes, bytes], dict[Item, None]] = {}
        self._recent: list[tuple[bytes, bytes]] = []
        self._starts: list[bytes] = []
        self._ends: list[bytes] = []
        self._max_ends: list[bytes] = []
        self._members: list[tuple[bytes, bytes]] = []

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def add(self, key: bytes, range_end: bytes, item: Item) -> None:
        bounds = (key, range_end)
        items = self._ranges.get(bounds)
        if items is None:
            self._ranges[bounds] = {item: None}
            self._recent.append(bounds)
            if len(self._recent) > _RECENT_MAX:
                self._rebuild()
        else:
            items[item] = None

    def remove(self, key: bytes, range_end: bytes, item: Item) -> None:
        bounds = (key, range_end)
        items = self._ranges[bounds]
        del items[item]
        if not items:
            del self._ranges[bounds]
            if len(self._members) > 2 * len(self._ranges) + _RECENT_MAX:
                self._rebuild()

    def match(self, key: bytes) -> Iterator[Item]:
        seen: set[tuple[bytes, bytes]] = set()
        for bounds in self._candidates(key):
            # A range removed and added again stands in both places.
            if bounds not in seen:
                seen.add(bounds)
                yield from self._ranges.get(bounds, ())

    def _candidates(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        for bounds in self._recent:
            if _holds(bounds, key):
                yield bounds
        yield from self._search(key)

    def _search(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        stack = [(0, len(self._starts))]
        while stack:
            low, high = stack.pop()
            if low >= high:
                continue
            middle = (low + high) // 2
            if not _reaches(self._max_ends[middle], key):
                continue
            stack.append((low, middle))
            if self._starts[middle] <= key:
                if _reaches(self._ends[middle], key):
                    yield self._members[middle]
                stack.append((middle + 1, high))

    def _rebuild(self) -> None:
        self._members = sorted(self._ranges)
        self._recent.clear()
        self._starts = [start for start, _ in self._members]
        self._ends = [end for _, end in self._members]
        self._max_ends = list(self._ends)
        self._raise_max_ends(0, len(self._members))

    def _raise_max_ends(self, low: int, high: int) -> bytes | None:
        """Set the largest end of every subtree of a slice and return the slice's. Depth: log2 of
        the ranges."""
        if low >= high:
            return None
        middle = (low + high) // 2
        largest = self._ends[middle]
        for below in (
            self._raise_max_ends(low, middle),
            self._raise_max_ends(middle + 1, high),
        ):
            if below is not None:
                largest = _later(largest, below)
        self._max_ends[middle] = largest
        return largest


def _holds(bounds: tuple[bytes, bytes], key: bytes) -> bool:
    return bounds[0] <= key and _reaches(bounds[1], key)


def _reaches(range_end: bytes, key: bytes) -> bool:
    return range_end == WHOLE_KEYSPACE_FROM or key < range_end


def _later(one: bytes, other: bytes) -> bytes:
    if WHOLE_KEYSPACE_FROM in (one, other):
        return WHOLE_KEYSPACE_FROM
    return max(one, other)
