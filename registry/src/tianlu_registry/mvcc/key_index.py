"""Which revisions every key has: the index that answers where a key's value at a revision is.

A key lives in *generations*: puts, closed by a tombstone. For key k,

    put at 4, put at 6, delete at 7, put at 9     ->   {4, 6, 7t}  {9}

k has a value at 4..6 (the newest put at or before the revision asked), none at 7..8, one from 9
on. Here the generations of a key stand in one ascending list of packed revisions, [4, 6, 7t, 9]: a
tombstone ends one, so the boundaries need no storage. Looking up is a bisection; the record found
holds the create revision and version, so those are kept only for the newest generation, where the
next put needs them.

Compaction at C leaves every read at C or later as it was: of a key's revisions up to C only the
newest stays, and not even that one if it is a tombstone older than C. A tombstone exactly at C
stays, because a watch may start at C.

Most keys of a registry are put once. Such a key's entry is just the packed revision (version 1,
created then); a `KeyHistory` replaces it with the second revision. Two sorted lists, of keys that
have a value now and of keys that have only history, let a read at the present revision count by
position and never look at dead keys.

Invariants:
    entries has exactly the keys of live and dead, which share none.
    A key is live if and only if its newest revision is no tombstone.
    Revisions of a key strictly ascend.
    A key with more than one revision, or with only a tombstone, is in compactable or in the
    running compaction's work list.

Source: etcd server/storage/mvcc/key_index.go, index.go.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from heapq import merge

from sortedcontainers import SortedList

from tianlu_registry.errors import InvariantBroken
from tianlu_registry.mvcc.key_runs import add_run, remove_run
from tianlu_registry.mvcc.revision import MAIN_SHIFT, TOMBSTONE
from tianlu_registry.mvcc.types import WHOLE_KEYSPACE_FROM


class KeyHistory:
    """The revisions of a key that has not just been put once.

    Attributes:
        revisions: packed, ascending, never empty.
        created: main revision at which the newest generation began.
        version: puts in the newest generation so far.
    """

    __slots__ = ("created", "revisions", "version")

    def __init__(self, revisions: list[int], created: int, version: int) -> None:
        self.revisions = revisions
        self.created = created
        self.version = version

    def at(self, main: int) -> int:
        """Return the packed revision of the value at `main`, 0 if there is none."""
        position = bisect_left(self.revisions, (main + 1) << MAIN_SHIFT)
        if position == 0:
            return 0
        packed = self.revisions[position - 1]
        return 0 if packed & TOMBSTONE else packed

    def removable(self, main: int) -> int:
        """Return how many of the oldest revisions a compaction at `main` removes."""
        newest_kept = bisect_left(self.revisions, (main + 1) << MAIN_SHIFT) - 1
        if newest_kept < 0:
            return 0
        packed = self.revisions[newest_kept]
        is_old_tombstone = packed & TOMBSTONE and packed >> MAIN_SHIFT < main
        return newest_kept + 1 if is_old_tombstone else newest_kept


class KeyIndex:
    """All keys and their revisions, in memory."""

    __slots__ = ("_dead", "_entries", "_live", "compactable")

    def __init__(self) -> None:
        self._entries: dict[bytes, int | KeyHistory] = {}
        self._live: SortedList[bytes] = SortedList()
        self._dead: SortedList[bytes] = SortedList()
        # A dictionary for its order: nodes compact the same keys in the same steps.
        self.compactable: dict[bytes, None] = {}

    def __len__(self) -> int:
        """Return the number of keys that have a value now."""
        return len(self._live)

    def __contains__(self, key: bytes) -> bool:
        return bool(self.latest(key))

    # Reading

    def latest(self, key: bytes) -> int:
        """Return the packed revision of the key's present value, 0 if it has none."""
        entry = self._entries.get(key)
        if entry is None:
            return 0
        if type(entry) is int:
            return entry
        packed: int = entry.revisions[-1]  # type: ignore[union-attr]
        return 0 if packed & TOMBSTONE else packed

    def at(self, key: bytes, main: int) -> int:
        """Return the packed revision of the key's value at `main`, 0 if it had none."""
        entry = self._entries.get(key)
        if entry is None:
            return 0
        if isinstance(entry, KeyHistory):
            return entry.at(main)
        return entry if entry >> MAIN_SHIFT <= main else 0

    def live_keys(self, key: bytes, range_end: bytes) -> list[bytes]:
        """Return the keys of a range that have a value now, in order."""
        if not range_end:
            return [key] if self.latest(key) else []
        return list(_between(self._live, key, range_end))

    def live_range(self, key: bytes, range_end: bytes, limit: int) -> tuple[list[int], int]:
        """Return the packed revisions of a range's present values in key order, and their count.

        Args:
            range_end: not empty; ``b"\\0"`` for no end.
            limit: return no more than so many revisions (the count is of all); 0 for no limit.
        """
        live = self._live
        start = live.bisect_left(key)
        end = len(live) if range_end == WHOLE_KEYSPACE_FROM else live.bisect_left(range_end)
        count = max(end - start, 0)
        if limit and limit < count:
            end = start + limit
        entries = map(self._entries.__getitem__, live.islice(start, end))
        # `latest` of a key that has a value, without a call for each.
        return [
            entry.revisions[-1] if isinstance(entry, KeyHistory) else entry for entry in entries
        ], count

    def range_at(
        self, key: bytes, range_end: bytes, main: int, limit: int
    ) -> tuple[list[int], int]:
        """Like `live_range`, at a revision of the past."""
        at = self.at
        keys = merge(_between(self._live, key, range_end), _between(self._dead, key, range_end))
        revisions = [packed for packed in (at(found, main) for found in keys) if packed]
        return (revisions[:limit] if limit else revisions), len(revisions)

    def first_at(self, key: bytes, range_end: bytes, main: int, limit: int) -> list[int]:
        """Return the first packed revisions, up to `limit`, of what `range_at` returns; without
        looking at the rest."""
        keys = merge(_between(self._live, key, range_end), _between(self._dead, key, range_end))
        revisions: list[int] = []
        # No generator expression: compiled, it would be a list of all.
        for key in keys:
            if packed := self.at(key, main):
                revisions.append(packed)
                if len(revisions) == limit:
                    break
        return revisions

    # Writing

    def put(self, key: bytes, packed: int) -> tuple[int, int]:
        """Record a put.

        Returns:
            The create revision and the version that the key has by it.
        """
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = packed
            self._live.add(key)
            return packed >> MAIN_SHIFT, 1
        if not isinstance(entry, KeyHistory):
            created = entry >> MAIN_SHIFT
            self._entries[key] = KeyHistory([entry, packed], created, 2)
            self.compactable[key] = None
            return created, 2
        if entry.revisions[-1] & TOMBSTONE:
            self._dead.remove(key)
            self._live.add(key)
            entry.created, entry.version = packed >> MAIN_SHIFT, 0
        entry.revisions.append(packed)
        entry.version += 1
        self.compactable[key] = None
        return entry.created, entry.version

    def delete(self, key: bytes, packed: int) -> None:
        """Record the tombstone of a key that has a value."""
        if not self.latest(key):
            raise InvariantBroken(f"tombstone for a key without a value: {key!r}")
        entry = self._entries[key]
        if isinstance(entry, KeyHistory):
            entry.revisions.append(packed)
        else:
            self._entries[key] = KeyHistory([entry, packed], 0, 0)
        self._live.remove(key)
        self._dead.add(key)
        self.compactable[key] = None

    def delete_run(self, keys: list[bytes], packed: list[int]) -> None:
        """Record the tombstones of a range: of all the keys between its first and its last that
        have a value, in order.

        Args:
            keys: not empty.
            packed: the tombstones' packed revisions.
        """
        live = self._live
        start = live.bisect_left(keys[0])
        stop = start + len(keys)
        if stop > len(live) or live[start] != keys[0] or live[stop - 1] != keys[-1]:
            raise InvariantBroken(f"tombstones for keys that are no range: {keys[0]!r}...")
        entries = self._entries
        for key, revision in zip(keys, packed, strict=True):
            entry = entries[key]
            if isinstance(entry, KeyHistory):
                entry.revisions.append(revision)
            else:
                entries[key] = KeyHistory([entry, revision], 0, 0)
        remove_run(live, start, stop)
        add_run(self._dead, keys)
        self.compactable.update(dict.fromkeys(keys))

    def compact_key(self, key: bytes, main: int) -> list[int]:
        """Forget what a compaction at `main` removes of a key.

        Returns:
            The packed revisions removed, for the backend to remove too.
        """
        entry = self._entries.get(key)
        if not isinstance(entry, KeyHistory):
            return []
        count = entry.removable(main)
        if not count:
            self._remember(key, entry)
            return []
        removed = entry.revisions[:count]
        entry.revisions = entry.revisions[count:]  # a new list has no spare room
        if not entry.revisions:
            del self._entries[key]
            self._dead.remove(key)
        else:
            self._remember(key, entry)
        return removed

    def _remember(self, key: bytes, history: KeyHistory) -> None:
        """Note a key for the next compaction if that may remove something, or pack it small."""
        if len(history.revisions) > 1 or history.revisions[0] & TOMBSTONE:
            self.compactable[key] = None
        elif history.version == 1:
            self._entries[key] = history.revisions[0]

    # Restoring

    def restore(self, entries: dict[bytes, int | KeyHistory]) -> None:
        """Take over entries that were rebuilt from the backend. The index must be new."""
        # Most keys were put once: their entries are not looked at again. A million of them take
        # 0.1 s here, beside sorting them.
        histories = {key: entry for key, entry in entries.items() if isinstance(entry, KeyHistory)}
        dead = {key for key, history in histories.items() if history.revisions[-1] & TOMBSTONE}
        self._entries = entries
        self._dead = SortedList(dead)
        self._live = SortedList(entries.keys() - dead if dead else entries)
        self.compactable = {
            key: None
            for key, history in histories.items()
            if len(history.revisions) > 1 or history.revisions[0] & TOMBSTONE
        }


def _between(keys: SortedList[bytes], key: bytes, range_end: bytes) -> Iterator[bytes]:
    """Return those of the sorted keys that are in a range."""
    found: Iterator[bytes]
    if range_end == WHOLE_KEYSPACE_FROM:
        found = keys.irange(key)
    elif key < range_end:
        found = keys.irange(key, range_end, inclusive=(True, False))
    else:
        found = iter(())
    return found
