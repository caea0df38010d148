"""One table of the backend: an LMDB database under the writes that it does not have yet.

Writes collect in the newest layer; at a commit that layer is frozen (still read, no more changed)
and a new one begins. A value of None in a layer marks a deletion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, cast

import lmdb

Layer = dict[bytes, bytes | None]
Database: TypeAlias = "lmdb._Database"

_ENTRY_BYTES = 48  # estimate of what an entry costs LMDB beside its bytes


class ReadView:
    """The loop's LMDB read transaction, shared by the tables."""

    __slots__ = ("_env", "txn")

    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env
        self.txn: lmdb.Transaction = env.begin()

    def renew(self) -> None:
        """Move on to the newest committed state, and let go of the pages that only the old one
        uses."""
        self.txn.abort()
        self.txn = self._env.begin()

    def grow_map(self, map_bytes: int) -> None:
        """Enlarge the environment's address space. No other transaction may be open."""
        self.txn.abort()
        self._env.set_mapsize(map_bytes)
        self.txn = self._env.begin()


class Table:
    """Reads see the newest layer first, then the frozen one, then LMDB.

    Attributes:
        active: the newest layer.
        write_bytes: estimate of the bytes written to it.
    """

    __slots__ = ("_frozen", "_view", "active", "db", "write_bytes")

    def __init__(self, view: ReadView, db: Database) -> None:
        self._view = view
        self.db = db
        self.active: Layer = {}
        self._frozen: Layer = {}
        self.write_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        value = self.active.get(key)
        if value is not None:
            return value
        if key in self.active:
            return None
        if key in self._frozen:
            return self._frozen[key]
        return cast("bytes | None", self._view.txn.get(key, None, self.db))

    def put(self, key: bytes, value: bytes) -> None:
        self.active[key] = value
        self.write_bytes += len(key) + len(value) + _ENTRY_BYTES

    def delete(self, key: bytes) -> None:
        self.active[key] = None
        self.write_bytes += len(key) + _ENTRY_BYTES

    def scan(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) with start <= key < end in order; None for no end. Nothing may be
        written meanwhile."""
        layers = {**self._frozen, **self.active} if self._frozen else self.active
        pending = sorted(
            (key, value)
            for key, value in layers.items()
            if key >= start and (end is None or key < end)
        )
        stored = self._scan_stored(start, end)
        return _merged(stored, pending) if pending else stored

    def freeze(self) -> Layer:
        """Begin a new layer and return the one that was the newest."""
        self._frozen = self.active
        self.active = {}
        self.write_bytes = 0
        return self._frozen

    def thaw(self) -> None:
        """Drop the frozen layer: LMDB has it, and the view was renewed."""
        self._frozen = {}

    def _scan_stored(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        with self._view.txn.cursor(self.db) as cursor:
            if not cursor.set_range(start):
                return
            for pair in cast("Iterator[tuple[bytes, bytes]]", cursor):
                if end is not None and pair[0] >= end:
                    return
                yield pair


def _merged(
    stored: Iterator[tuple[bytes, bytes]], pending: list[tuple[bytes, bytes | None]]
) -> Iterator[tuple[bytes, bytes]]:
    """Yield stored pairs as the pending writes change them. Both are in key order without
    duplicates."""
    waiting = iter(pending)
    upper = next(waiting, None)
    for pair in stored:
        while upper is not None and upper[0] <= pair[0]:
            replaces = upper[0] == pair[0]
            if upper[1] is not None:
                yield upper[0], upper[1]
            upper = next(waiting, None)
            if replaces:
                break
        else:
            yield pair
    while upper is not None:
        if upper[1] is not None:
            yield upper[0], upper[1]
        upper = next(waiting, None)
