"""The changes of one writing transaction.

All of them share one main revision, the store's plus one; their sub revisions count up. Whoever
drives this has checked everything first: nothing here can fail halfway except a broken store.
Source: etcd server/storage/mvcc/kvstore_txn.go.
"""

from __future__ import annotations

from typing import Final

from tianlu_registry.errors import InvariantBroken
from tianlu_registry.mvcc.key_index import KeyIndex
from tianlu_registry.mvcc.protocols import LeaseBook, RevisionBackend
from tianlu_registry.mvcc.record import encode_put, encode_tombstone, encode_tombstones
from tianlu_registry.mvcc.revision import (
    REVISION_KEY_BYTES,
    SUB_MAX,
    SUB_STEP,
    Change,
    pack,
    revision_key,
)

RUN_KEYS_MIN: Final = 4
"""Fewer keys are deleted faster one by one."""


class Writer:
    """Writes puts and deletions of one transaction to index, backend and leases.

    Attributes:
        main: the main revision that the changes get.
        changes: what was written so far, in order.
    """

    __slots__ = ("_backend", "_index", "_leases", "changes", "main")

    def __init__(
        self, index: KeyIndex, backend: RevisionBackend, leases: LeaseBook, main: int
    ) -> None:
        self._index = index
        self._backend = backend
        self._leases = leases
        self.main = main
        self.changes: list[Change] = []

    @property
    def revision(self) -> int:
        """The revision that a read within the transaction sees."""
        return self.main if self.changes else self.main - 1

    def put(self, key: bytes, value: bytes, lease: int) -> None:
        """Put a key, on an existing lease or on none (0)."""
        packed = pack(self.main, self._next_sub())
        created, version = self._index.put(key, packed)
        record = encode_put(key, value, lease, created, self.main, version)
        self._backend.put(revision_key(packed), record)
        self.changes.append(Change(key, packed, record))
        before = self._leases.lease_of(key)
        if before != lease:
            if before:
                self._leases.detach(before, (key,))
            if lease:
                self._leases.attach(lease, (key,))

    def delete(self, key: bytes) -> None:
        """Delete a key that has a value."""
        packed = pack(self.main, self._next_sub(), tombstone=True)
        self._index.delete(key, packed)
        record = encode_tombstone(key, self.main)
        self._backend.put(revision_key(packed), record)
        self.changes.append(Change(key, packed, record))
        lease = self._leases.lease_of(key)
        if lease:
            self._leases.detach(lease, (key,))

    def delete_run(self, keys: list[bytes]) -> None:
        """Delete all the keys of a range that have values, in order."""
        if len(keys) < RUN_KEYS_MIN:
            for key in keys:
                self.delete(key)
            return
        sub = self._next_sub()
        if sub + len(keys) - 1 > SUB_MAX:
            raise InvariantBroken(f"more than {SUB_MAX} changes in one transaction")
        first = pack(self.main, sub, tombstone=True)
        packed = list(range(first, first + SUB_STEP * len(keys), SUB_STEP))
        records = encode_tombstones(keys, self.main)
        self._index.delete_run(keys, packed)
        # `revision_key`, without a call for each.
        stored_at = [each.to_bytes(REVISION_KEY_BYTES, "big") for each in packed]
        self._backend.put_many(stored_at, records)
        self.changes.extend(map(Change, keys, packed, records))
        leases = self._leases
        for key in keys:
            lease = leases.lease_of(key)
            if lease:
                leases.detach(lease, (key,))

    def _next_sub(self) -> int:
        sub = len(self.changes)
        if sub > SUB_MAX:
            raise InvariantBroken(f"more than {SUB_MAX} changes in one transaction")
        return sub
