"""The node's state on disk: revisions, leases and a few named values, in one LMDB file.

The write-ahead log is the durable truth; this file may lag behind it and must only ever be *some*
state that the log can bring forward. So writes collect in memory and are committed in batches:
one LMDB transaction holds the batch and the log position that it ends at, or nothing. After a
crash the node replays the log from that position.

A commit has three parts, so that the disk is waited for outside the event loop:

    1. freeze(index, term)   loop        the pending writes enter an LMDB transaction; reads go on
                                         seeing them from memory
    2. write(batch)          any thread  the transaction is written and synced; the loop goes on
    3. finish(batch)         loop        reads move on to the new LMDB state

One commit at a time. Only after 3 may the log be cut, up to `applied.index`. When 2 fails the node
must stop. Part 1 costs the loop about 0.7 microseconds per pending write. It is not in the worker
thread, because there the interpreter's lock would change hands twice for each of them, and the
commit would starve beside a busy loop. docs/adr/0003 has the measurements, and argues why one
transaction may pass between threads, and why each commit is synced although the log is the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import lmdb

from tianlu_registry.errors import Corrupt, InvariantBroken, StorageFailed
from tianlu_registry.storage.backend_table import AppendedTable, Database, Layer, ReadView, Table
from tianlu_registry.storage.environment import (
    DATA_FILE,
    DATABASES,
    FORMAT,
    LEASE_KEY,
    META_APPLIED,
    META_FORMAT,
    META_SNAPSHOT,
    LogPosition,
    applied_position,
    copy_environment,
    dying,
    mapped,
    mapped_errors,
    open_environment,
    sync_directory,
)
from tianlu_registry.storage.staged import StagedSnapshot
from tianlu_registry.storage.write_observer import NoObserver, WriteObserver

__all__ = ["MAP_BYTES_INITIAL", "Batch", "LmdbBackend", "LogPosition"]

MAP_BYTES_INITIAL = 1 << 30
"""Address space reserved at first. It doubles when needed; the file is only as large as its use."""

_MAP_SLACK_BYTES = 32 << 20
_PAGE_COPIES = 4  # a commit may touch this many times its bytes, by copying the pages it changes


@dataclass(frozen=True, slots=True)
class Batch:
    """A transaction that holds the frozen writes, and the log position of the state with them."""

    position: LogPosition
    txn: lmdb.Transaction


class LmdbBackend:
    """Implements `mvcc.RevisionBackend` and `lease.LeaseBackend`.

    Threading: everything from the loop's thread, apart from `write`.

    Raises (all calls): StorageFailed when LMDB or the disk fails; Corrupt when LMDB finds damage.

    Attributes:
        observer: sees what is written; set by whoever checksums it.
    """

    def __init__(self, env: lmdb.Environment, path: Path, *, map_bytes: int) -> None:
        """Use `open`."""
        self.observer: WriteObserver = NoObserver()
        self._env = env
        self._path = path
        self._map_bytes = map_bytes
        self._committing: Batch | None = None
        self._failed = False
        with mapped_errors():
            databases = [env.open_db(name) for name in DATABASES]
            self._view = ReadView(env)
            self._page_bytes: int = env.stat()["psize"]
        self._revisions = AppendedTable(self._view, databases[0])
        self._leases, self._meta = (Table(self._view, db) for db in databases[1:])
        self._tables = (self._revisions, self._leases, self._meta)
        self._applied = applied_position(self.get_meta) or self._begin()

    @classmethod
    def open(cls, directory: Path, *, map_bytes: int = MAP_BYTES_INITIAL) -> LmdbBackend:
        """Open the backend in `directory`, which is made if it is not there.

        The caller keeps other processes away from the directory.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / DATA_FILE
            is_new = not path.exists()
            if not is_new:
                map_bytes = _map_bytes_for(path, map_bytes)
        except OSError as error:
            raise StorageFailed(f"cannot use {directory}: {error.strerror}") from error
        env = open_environment(path, map_bytes=map_bytes)
        if is_new:
            # LMDB syncs the file, not its name: without this a power loss could take both.
            sync_directory(directory)
            sync_directory(directory.parent)
        return cls(env, path, map_bytes=map_bytes)

    def close(self) -> None:
        """Close the file. Pending writes are dropped: the log has them. No `write` may be
        running."""
        if self._committing is not None:
            self._committing.txn.abort()
        self._view.close()
        self._env.close()

    # The table of revisions

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._revisions.get(key)
        except lmdb.Error as error:
            raise mapped(error) from error

    def get_many(self, keys: list[bytes]) -> list[bytes]:
        try:
            values = self._revisions.get_many(keys)
        except lmdb.Error as error:
            raise mapped(error) from error
        if None in values:
            missing = keys[values.index(None)]
            raise Corrupt(f"{Corrupt.text}: the record of revision {missing.hex()} is missing")
        return values  # type: ignore[return-value]

    def put(self, key: bytes, value: bytes) -> None:
        self._revisions.put(key, value)
        self.observer.wrote_record(value)

    def put_many(self, keys: list[bytes], values: list[bytes]) -> None:
        self._revisions.put_many(keys, values)
        wrote_record = self.observer.wrote_record
        for value in values:
            wrote_record(value)

    def delete(self, key: bytes) -> None:
        self._revisions.delete(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._revisions.scan(start, end)

    # Named values, committed with the rest

    def get_meta(self, name: bytes) -> bytes | None:
        with mapped_errors():
            return self._meta.get(name)

    def put_meta(self, name: bytes, value: bytes) -> None:
        self._meta.put(name, value)
        self.observer.wrote_named(name, value)

    # The table of leases

    def leases(self) -> Iterator[tuple[int, bytes]]:
        for key, record in self._leases.items():
            yield LEASE_KEY.unpack(key)[0], record

    def put_lease(self, lease_id: int, record: bytes) -> None:
        key = LEASE_KEY.pack(lease_id)
        self._leases.put(key, record)
        self.observer.wrote_lease(key, record)

    def delete_lease(self, lease_id: int) -> None:
        key = LEASE_KEY.pack(lease_id)
        self._leases.delete(key)
        self.observer.wrote_lease(key, None)

    # Committing

    @property
    def applied(self) -> LogPosition:
        """Log position of the newest finished commit: what a restart begins from."""
        return self._applied

    @property
    def pending_ops(self) -> int:
        """Writes that wait for the next freeze."""
        # Asked several times for every sync: a sum over `_tables` costs five times as much.
        return len(self._revisions.active) + len(self._leases.active) + len(self._meta.active)

    @property
    def pending_bytes(self) -> int:
        """Estimate of their bytes."""
        return sum(table.write_bytes for table in self._tables)

    @property
    def is_committing(self) -> bool:
        """Whether a batch is frozen and not finished."""
        return self._committing is not None

    def freeze(self, index: int, term: int) -> Batch:
        """Take the pending writes as the state at a log position. Next `write`, then `finish`."""
        if self._failed:
            raise StorageFailed("an earlier commit failed")
        if self._committing is not None:
            raise InvariantBroken("the commit before is not finished")
        self.observer.freezing(index)
        self._make_room()
        self._meta.put(META_APPLIED, LogPosition(index, term).encode())
        with self._failing():
            txn = self._env.begin(write=True)
            try:
                self._fill(txn)
            except BaseException:
                txn.abort()
                raise
        self._committing = Batch(LogPosition(index, term), txn)
        return self._committing

    def write(self, batch: Batch) -> None:
        """Write and sync a batch: wholly, or not at all.

        Blocks on the disk, without holding the interpreter.
        """
        with self._failing():
            batch.txn.commit()

    def finish(self, batch: Batch) -> None:
        """Go on with the state that `write` has committed."""
        if self._committing is not batch or self._failed:
            raise InvariantBroken("finish without a written batch")
        with mapped_errors():
            self._view.renew()
        for table in self._tables:
            table.thaw()
        self._applied = batch.position
        self._committing = None

    def commit(self, index: int, term: int) -> None:
        """Commit the pending writes now, waiting for the disk."""
        batch = self.freeze(index, term)
        self.write(batch)
        self.finish(batch)

    # Snapshots

    @property
    def snapshot_position(self) -> LogPosition | None:
        """Log position of the newest raft_snapshot that replaced the state; None for none.

        If it is what `applied` says, the log may not have been restarted there yet.
        """
        position = self.get_meta(META_SNAPSHOT)
        return LogPosition.decode(position) if position is not None else None

    def hot_copy(self, path: Path) -> None:
        """Write the state as of `applied` into a new file, readable to its owner only.

        Blocks, without holding the interpreter: for a thread. The loop may go on reading and
        collecting writes. No commit may run before this has returned, because nothing keeps it
        from using the pages that are being copied. The copy is not synced; a crash may ruin it.

        Raises:
            NoSpace: the disk is full; what was written of the copy is gone.
            StorageFailed: there is such a file, or its disk failed. Our own is as it was.
        """
        if self._committing is not None:
            raise InvariantBroken("a copy while a commit runs")
        copy_environment(self._env, path)

    def replace(self, staged: StagedSnapshot) -> None:
        """Go on with the state of a raft_snapshot instead; its file becomes ours.

        Durable on return; a crash on the way leaves either state. Pending writes are dropped. The
        object stays the same for those who hold it; what they read before is no longer true.

        Args:
            staged: in the same file system; closed by this.

        Raises:
            StorageFailed, Corrupt: the node must stop; a restart finds either state.
        """
        if self._committing is not None:
            raise InvariantBroken("the state was replaced while a commit runs")
        with self._failing():
            staged.mark_received()
            self._view.close()
            self._env.close()
            with dying(self._path):
                staged.path.replace(self._path)
                sync_directory(self._path.parent)
            self._reopen()
        self._applied = staged.applied
        self.observer.replaced(self._applied.index)

    # Size

    @property
    def db_size(self) -> int:
        """Bytes of the file, free pages included."""
        pages: int = self._env.info()["last_pgno"] + 1
        return pages * self._page_bytes

    @property
    def db_size_in_use(self) -> int:
        """Bytes of the pages that hold data, as of the newest finished commit."""
        stats = [self._view.txn.stat(table.db) for table in self._tables]
        pages: int = sum(
            stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats
        )
        return pages * self._page_bytes

    # Private

    def _begin(self) -> LogPosition:
        """Mark a new file as ours."""
        self._meta.put(META_FORMAT, FORMAT)
        return LogPosition(0, 0)

    def _reopen(self) -> None:
        self._map_bytes = _map_bytes_for(self._path, self._map_bytes)
        self._env = open_environment(self._path, map_bytes=self._map_bytes)
        databases = [self._env.open_db(name, create=False) for name in DATABASES]
        self._view.reopen(self._env)
        for table, database in zip(self._tables, databases, strict=True):
            table.reset(database)

    def _make_room(self) -> None:
        """Enlarge the map if the coming commit might not fit. It is done here because no
        transaction is open but ours."""
        wanted = self.db_size + _PAGE_COPIES * self.pending_bytes + _MAP_SLACK_BYTES
        if wanted <= self._map_bytes:
            return
        while self._map_bytes < wanted:
            self._map_bytes *= 2
        with mapped_errors():
            self._view.grow_map(self._map_bytes)

    def _fill(self, txn: lmdb.Transaction) -> None:
        """Bring the pending writes of all tables into a transaction."""
        _append_layer(txn, self._revisions.db, self._revisions.freeze())
        _write_layer(txn, self._leases.db, self._leases.freeze())
        _write_layer(txn, self._meta.db, self._meta.freeze())

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """After an error nothing more is committed: what it left undone is unknown."""
        try:
            with mapped_errors():
                yield
        except BaseException:
            self._failed = True
            raise


def _map_bytes_for(path: Path, map_bytes: int) -> int:
    return max(map_bytes, path.stat().st_size + _MAP_SLACK_BYTES)


def _append_layer(txn: lmdb.Transaction, db: Database, layer: Layer) -> None:
    """Write records newer than all stored, and delete some.

    Appending fills the pages fully and searches nothing.
    """
    puts = sorted((key, value) for key, value in layer.items() if value is not None)
    with txn.cursor(db) as cursor:
        consumed, added = cursor.putmulti(puts, append=True)
    if consumed != added or added != len(puts):
        raise InvariantBroken("a revision was written that is older than those stored")
    for key, value in layer.items():
        if value is None:
            txn.delete(key, db=db)


def _write_layer(txn: lmdb.Transaction, db: Database, layer: Layer) -> None:
    for key, value in layer.items():
        if value is None:
            txn.delete(key, db=db)
        else:
            txn.put(key, value, db=db)
