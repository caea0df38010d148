"""The LMDB file that the state stands in: its name, its format, its log position, LMDB's errors.

data.mdb
  revisions    revision key (12 bytes)     -> serialized mvccpb.KeyValue
  leases       lease ID (8 bytes, signed)  -> the lessor's record
  meta         name                        -> value; those below, and whatever node/ puts there
    format       FORMAT
    applied      log position of the state: index, term
    snapshot     log position of the raft_snapshot that this file came as, if it did
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

import lmdb

from tianlu_registry.errors import Broken, Corrupt, NoSpace, StorageFailed

DATA_FILE = "data.mdb"
FILE_MODE = 0o600
DATABASES = (b"revisions", b"leases", b"meta")

META_FORMAT = b"format"
META_APPLIED = b"applied"
META_SNAPSHOT = b"snapshot"
FORMAT = b"tianlu-registry-backend 1"

_TABLES_MAX = 8
_PAGE_BYTES_MAX = 64 << 10  # the map is made of whole pages, whatever the machine's are
_POSITION = Struct(">QQ")
LEASE_KEY = Struct(">q")


@dataclass(frozen=True, slots=True)
class LogPosition:
    """A place in the Raft log. (0, 0) is before its beginning."""

    index: int
    term: int

    def encode(self) -> bytes:
        return _POSITION.pack(self.index, self.term)

    @classmethod
    def decode(cls, value: bytes) -> LogPosition:
        if len(value) != _POSITION.size:
            raise Corrupt(f"{Corrupt.text}: a log position of {len(value)} bytes")
        return cls(*_POSITION.unpack(value))


def open_environment(path: Path, *, map_bytes: int = 0, readonly: bool = False) -> lmdb.Environment:
    """Open an LMDB file by its own name.

    Args:
        map_bytes: address space to reserve; 0 for the file's own size.
    """
    with mapped_errors():
        return lmdb.open(
            str(path),
            subdir=False,
            map_size=map_bytes or -(-path.stat().st_size // _PAGE_BYTES_MAX) * _PAGE_BYTES_MAX,
            max_dbs=_TABLES_MAX,
            mode=FILE_MODE,
            readonly=readonly,
            # A commit begins in one thread and ends in another, which LMDB's writer lock does
            # not allow. Without it the rules are ours to keep: one writer, and while it writes
            # no reader older than the newest commit.
            lock=False,
        )


def applied_position(get_meta: Callable[[bytes], bytes | None]) -> LogPosition | None:
    """Return the log position of a file's state; None if the file is new.

    Raises:
        Corrupt: the file is not one that this release can read.
    """
    written_by = get_meta(META_FORMAT)
    if written_by is None:
        return None
    if written_by != FORMAT:
        raise Corrupt(f"the backend's format is {written_by!r}, this program reads {FORMAT!r}")
    position = get_meta(META_APPLIED)
    if position is None:
        raise Corrupt(f"{Corrupt.text}: the backend does not say what it has applied")
    return LogPosition.decode(position)


def copy_environment(env: lmdb.Environment, path: Path) -> None:
    """Write the newest committed state into a new file, without free pages.

    Blocks, without holding the interpreter. No commit may run meanwhile. The file is not synced:
    the time of that, nearly all of a copy's, would be added to the pause of the commits.

    Raises:
        NoSpace: the disk is full. What was written is gone.
        StorageFailed: there is such a file, or the disk failed.
    """
    with mapped_errors():
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            env.copyfd(descriptor, compact=True)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if _is_full(error):
                raise NoSpace(f"tianlu: no room for a copy of the state at {path}") from error
            raise
        finally:
            os.close(descriptor)


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, lmdb.DiskError)


def remove_file(path: Path) -> None:
    """Remove a file without waiting until its blocks are free, which takes 0.1 s for 500 MB.

    Raises:
        OSError: it cannot be removed.
    """
    with dying(path):
        path.unlink()


@contextmanager
def dying(path: Path) -> Iterator[None]:
    """Leave it to a thread to free the blocks of a file whose name goes away meanwhile. That
    happens at its last close, which is kept for here."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        threading.Thread(target=os.close, args=(descriptor,), name="tianlu-file-removal").start()


def sync_directory(directory: Path) -> None:
    with mapped_errors():
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn LMDB's errors into ours."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise mapped(error) from error


_DAMAGE = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.NotFoundError,  # a table that every file of ours has
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.VersionMismatchError,
)


def mapped(error: Exception) -> Broken:
    if isinstance(error, _DAMAGE):
        return Corrupt(f"{Corrupt.text}: {error}")
    return StorageFailed(f"{StorageFailed.text}: {error}")
