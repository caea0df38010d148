"""A copy of the state machine in a file of its own: on its way out, or received, not yet ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import lmdb

from tianlu_registry.errors import Corrupt
from tianlu_registry.storage.environment import (
    DATABASES,
    FILE_MODE,
    LEASE_KEY,
    META_SNAPSHOT,
    LogPosition,
    applied_position,
    mapped_errors,
    open_environment,
)

_MARK_BYTES = 16 << 20  # address space beyond the file for the pages that a mark copies


class StagedSnapshot:
    """An LMDB file as `LmdbBackend.hot_copy` makes it, open for reading.

    LMDB trusts the bytes of a file: damaged ones may end the process. Whoever opens one that came
    from elsewhere has verified its digest.

    Threading: one thread at a time, and no event loop: reading may wait for the disk.

    Attributes:
        path: the file. It stays the caller's, also after `close`.
        applied: log position of the state.

    Raises (all calls): Corrupt when LMDB finds damage; StorageFailed when the disk fails.
    """

    def __init__(self, path: Path) -> None:
        """Use `open`."""
        self.path = path
        self._is_received = False
        self._env: lmdb.Environment | None = open_environment(path, readonly=True)
        try:
            self.applied: LogPosition = self._begin(self._env)
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, path: Path) -> StagedSnapshot:
        return cls(path)

    def get_meta(self, name: bytes) -> bytes | None:
        with mapped_errors():
            return self._txn.get(name, None, self._meta)

    def revisions(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all (revision key, record) in order."""
        return self._items(self._revisions)

    @property
    def revision_count(self) -> int:
        """How many pairs `revisions` yields."""
        with mapped_errors():
            return self._txn.stat(self._revisions)["entries"]

    def leases(self) -> Iterator[tuple[int, bytes]]:
        """Yield all (lease ID, record)."""
        for key, record in self._items(self._leases):
            if len(key) != LEASE_KEY.size:
                raise Corrupt(f"{self.path}: a lease's ID has {len(key)} bytes")
            yield LEASE_KEY.unpack(key)[0], record

    def mark_received(self) -> None:
        """Note in the file that its state came as a raft_snapshot, and make all of it durable.

        May wait for as many bytes as the file has. After this nothing can be read here any more;
        `LmdbBackend.replace` may follow, which otherwise does this itself.
        """
        if self._is_received:
            return
        self.close()
        with mapped_errors():
            self.path.chmod(FILE_MODE)
            map_bytes = self.path.stat().st_size + _MARK_BYTES
            env = open_environment(self.path, map_bytes=map_bytes)
            try:
                meta = env.open_db(DATABASES[-1], create=False)
                with env.begin(write=True) as txn:
                    txn.put(META_SNAPSHOT, self.applied.encode(), db=meta)
                env.sync(True)
            finally:
                env.close()
        self._is_received = True

    def close(self) -> None:
        """Close the file. May be called twice. No iterator may be in use."""
        if self._env is not None:
            env, self._env = self._env, None
            env.close()

    def _begin(self, env: lmdb.Environment) -> LogPosition:
        with mapped_errors():
            databases = [env.open_db(name, create=False) for name in DATABASES]
            self._txn = env.begin()
        self._revisions, self._leases, self._meta = databases
        applied = applied_position(self.get_meta)
        if applied is None:
            raise Corrupt(f"{self.path}: the file holds no state of a registry")
        return applied

    def _items(self, db: lmdb._Database) -> Iterator[tuple[bytes, bytes]]:
        with mapped_errors(), self._txn.cursor(db) as cursor:
            yield from cast("Iterator[tuple[bytes, bytes]]", cursor)
