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

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

import lmdb

from tianlu_registry.errors import Broken, Corrupt, InvariantBroken, StorageFailed
from tianlu_registry.storage.backend_table import AppendedTable, Database, Layer, ReadView, Table

MAP_BYTES_INITIAL = 1 << 30
"""Address space reserved at first. It doubles when needed; the file is only as large as its use."""

_MAP_SLACK_BYTES = 32 << 20
_PAGE_COPIES = 4  # a commit may touch this many times its bytes, by copying the pages it changes
_TABLES_MAX = 8
_DATA_FILE = "data.mdb"

_META_FORMAT = b"format"
_META_APPLIED = b"applied"
_FORMAT = b"tianlu-registry-backend 1"
_POSITION = Struct(">QQ")
_LEASE_KEY = Struct(">q")


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A place in the Raft log. (0, 0) is before its beginning."""

    index: int
    term: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A transaction that holds the frozen writes, and the log position of the state with them."""

    position: LogPosition
    txn: lmdb.Transaction


class LmdbBackend:
    """Implements `mvcc.RevisionBackend` and `lease.LeaseBackend`.

    Threading: everything from the loop's thread, apart from `write`.

    Raises (all calls): StorageFailed when LMDB or the disk fails; Corrupt when LMDB finds damage.
    """

    def __init__(self, env: lmdb.Environment, *, map_bytes: int) -> None:
        """Use `open`."""
        self._env = env
        self._map_bytes = map_bytes
        self._committing: Batch | None = None
        self._failed = False
        with _mapped_errors():
            databases = [env.open_db(name) for name in (b"revisions", b"leases", b"meta")]
            self._view = ReadView(env)
            self._page_bytes: int = env.stat()["psize"]
        self._revisions = AppendedTable(self._view, databases[0])
        self._leases, self._meta = (Table(self._view, db) for db in databases[1:])
        self._tables = (self._revisions, self._leases, self._meta)
        self._applied = self._check_format()

    @classmethod
    def open(cls, directory: Path, *, map_bytes: int = MAP_BYTES_INITIAL) -> LmdbBackend:
        """Open the backend in `directory`, which is made if it is not there.

        The caller keeps other processes away from the directory.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            data = directory / _DATA_FILE
            is_new = not data.exists()
            if not is_new:
                map_bytes = max(map_bytes, data.stat().st_size + _MAP_SLACK_BYTES)
        except OSError as error:
            raise StorageFailed(f"cannot use {directory}: {error.strerror}") from error
        with _mapped_errors():
            env = lmdb.open(
                str(directory),
                map_size=map_bytes,
                max_dbs=_TABLES_MAX,
                # A commit begins in one thread and ends in another, which LMDB's writer lock does
                # not allow. Without it the rules are ours to keep: one writer, and while it writes
                # no reader older than the newest commit.
                lock=False,
            )
        if is_new:
            # LMDB syncs the file, not its name: without this a power loss could take both.
            _sync_directory(directory)
            _sync_directory(directory.parent)
        return cls(env, map_bytes=map_bytes)

    def close(self) -> None:
        """Close the file. Pending writes are dropped: the log has them. No `write` may be
        running."""
        if self._committing is not None:
            self._committing.txn.abort()
        self._view.txn.abort()
        self._env.close()

    # The table of revisions

    def get(self, key: bytes) -> bytes | None:
        try:
            return self._revisions.get(key)
        except lmdb.Error as error:
            raise _mapped(error) from error

    def get_many(self, keys: list[bytes]) -> list[bytes]:
        get = self._revisions.get
        try:
            values = [get(key) for key in keys]
        except lmdb.Error as error:
            raise _mapped(error) from error
        if None in values:
            missing = keys[values.index(None)]
            raise Corrupt(f"{Corrupt.text}: the record of revision {missing.hex()} is missing")
        return values  # type: ignore[return-value]

    def put(self, key: bytes, value: bytes) -> None:
        self._revisions.put(key, value)

    def delete(self, key: bytes) -> None:
        self._revisions.delete(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._revisions.scan(start, end)

    # Named values, committed with the rest

    def get_meta(self, name: bytes) -> bytes | None:
        with _mapped_errors():
            return self._meta.get(name)

    def put_meta(self, name: bytes, value: bytes) -> None:
        self._meta.put(name, value)

    # The table of leases

    def leases(self) -> Iterator[tuple[int, bytes]]:
        for key, record in self._leases.items():
            yield _LEASE_KEY.unpack(key)[0], record

    def put_lease(self, lease_id: int, record: bytes) -> None:
        self._leases.put(_LEASE_KEY.pack(lease_id), record)

    def delete_lease(self, lease_id: int) -> None:
        self._leases.delete(_LEASE_KEY.pack(lease_id))

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
        self._make_room()
        self._meta.put(_META_APPLIED, _POSITION.pack(index, term))
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
        with _mapped_errors():
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

    def _check_format(self) -> LogPosition:
        """Return the position of the newest commit; mark a new file as ours."""
        written_by = self.get_meta(_META_FORMAT)
        if written_by is None:
            self._meta.put(_META_FORMAT, _FORMAT)
            return LogPosition(0, 0)
        if written_by != _FORMAT:
            raise Corrupt(f"the backend's format is {written_by!r}, this program reads {_FORMAT!r}")
        position = self.get_meta(_META_APPLIED)
        if position is None:
            raise Corrupt(f"{Corrupt.text}: the backend does not say what it has applied")
        return LogPosition(*_POSITION.unpack(position))

    def _make_room(self) -> None:
        """Enlarge the map if the coming commit might not fit. It is done here because no
        transaction is open but ours."""
        wanted = self.db_size + _PAGE_COPIES * self.pending_bytes + _MAP_SLACK_BYTES
        if wanted <= self._map_bytes:
            return
        while self._map_bytes < wanted:
            self._map_bytes *= 2
        with _mapped_errors():
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
            with _mapped_errors():
                yield
        except BaseException:
            self._failed = True
            raise


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


def _sync_directory(directory: Path) -> None:
    with _mapped_errors():
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """Turn LMDB's errors into ours."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise _mapped(error) from error


_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
)


def _mapped(error: Exception) -> Broken:
    if isinstance(error, _DAMAGE):
        return Corrupt(f"{Corrupt.text}: {error}")
    return StorageFailed(f"{StorageFailed.text}: {error}")
