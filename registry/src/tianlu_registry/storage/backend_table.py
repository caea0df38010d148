"""One table of the backend: an LMDB database under the writes that it does not have yet.

Writes collect in the newest layer; at a commit that layer is frozen (still read, no more changed)
and a new one begins. A value of None in a layer marks a deletion.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TypeAlias, cast

import lmdb

from tianlu_registry.errors import InvariantBroken

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

    def close(self) -> None:
        self.txn.abort()

    def reopen(self, env: lmdb.Environment) -> None:
        """Go on with another environment; the one before is closed."""
        self._env = env
        self.txn = env.begin()

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

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the values at `keys`, in that order."""
        active, frozen = self.active, self._frozen
        if not active and not frozen:
            pairs = self._get_stored(keys)
            if len(pairs) == len(keys):
                return [value for _, value in pairs]
        else:
            pairs = self._get_stored(
                [key for key in keys if key not in active and key not in frozen]
            )
        stored = dict(pairs)
        return [
            active[key] if key in active else frozen[key] if key in frozen else stored.get(key)
            for key in keys
        ]

    def put(self, key: bytes, value: bytes) -> None:
        self.active[key] = value
        self.write_bytes += len(key) + len(value) + _ENTRY_BYTES

    def delete(self, key: bytes) -> None:
        self.active[key] = None
        self.write_bytes += len(key) + _ENTRY_BYTES

    def items(self) -> list[tuple[bytes, bytes]]:
        """Return all (key, value) in order: for small tables."""
        merged: Layer = {**dict(self._scan_stored(b"", None)), **self._frozen, **self.active}
        return sorted((key, value) for key, value in merged.items() if value is not None)

    def freeze(self) -> Layer:
        """Begin a new layer and return the one that was the newest."""
        self._frozen = self.active
        self.active = {}
        self.write_bytes = 0
        return self._frozen

    def thaw(self) -> None:
        """Drop the frozen layer: LMDB has it, and the view was renewed."""
        self._frozen = {}

    def reset(self, db: Database) -> None:
        """Go on with another database, and drop what was to be written to the one before."""
        self.db = db
        self.active, self._frozen = {}, {}
        self.write_bytes = 0

    def _get_stored(self, keys: list[bytes]) -> list[tuple[bytes, bytes]]:
        """Return LMDB's (key, value) of those of the keys that it has, in their order."""
        with self._view.txn.cursor(self.db) as cursor:
            return cast("list[tuple[bytes, bytes]]", cursor.getmulti(keys))

    def _scan_stored(self, start: bytes, end: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        with self._view.txn.cursor(self.db) as cursor:
            if not cursor.set_range(start):
                return
            for pair in cast("Iterator[tuple[bytes, bytes]]", cursor):
                if end is not None and pair[0] >= end:
                    return
                yield pair


class AppendedTable(Table):
    """A table whose keys are put in ascending order: every key put is beyond all others.

    So the keys of the layers follow those of LMDB, and a scan needs no sorting: it costs in
    proportion to what it yields, however much is pending.
    """

    __slots__ = ("_frozen_order", "_order")

    def __init__(self, view: ReadView, db: Database) -> None:
        super().__init__(view, db)
        self._order: list[bytes] = []
        self._frozen_order: list[bytes] = []

    def put(self, key: bytes, value: bytes) -> None:
        order = self._order
        if order and key <= order[-1]:
            raise InvariantBroken(f"{key.hex()} was put after {order[-1].hex()}")
        order.append(key)
        self.active[key] = value
        self.write_bytes += len(key) + len(value) + _ENTRY_BYTES

    def put_many(self, keys: list[bytes], values: list[bytes]) -> None:
        """Write values at keys that ascend, not empty."""
        order = self._order
        if order and keys[0] <= order[-1]:
            raise InvariantBroken(f"{keys[0].hex()} was put after {order[-1].hex()}")
        order.extend(keys)
        self.active.update(zip(keys, values, strict=True))
        self.write_bytes += sum(map(len, keys)) + sum(map(len, values)) + _ENTRY_BYTES * len(keys)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) with start <= key < end in order. Nothing may be written meanwhile."""
        active, frozen = self.active, self._frozen
        if not active and not frozen:
            yield from self._scan_stored(start, end)
            return
        for pair in self._scan_stored(start, end):
            # What the layers say of a stored key is that it is deleted.
            if pair[0] not in active and pair[0] not in frozen:
                yield pair
        for order in (self._frozen_order, self._order):
            for position in range(bisect_left(order, start), bisect_left(order, end)):
                key = order[position]
                value = active[key] if key in active else frozen[key]
                if value is not None:
                    yield key, value

    def freeze(self) -> Layer:
        self._frozen_order = self._order
        self._order = []
        return super().freeze()

    def thaw(self) -> None:
        self._frozen_order = []
        super().thaw()

    def reset(self, db: Database) -> None:
        self._order, self._frozen_order = [], []
        super().reset(db)
