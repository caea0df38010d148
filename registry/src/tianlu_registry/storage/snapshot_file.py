"""The portable file of the whole state: `tianlu snapshot save`, Maintenance.Snapshot.

    snapshot file := database  SHA-256 of it (32 bytes)

The database is an LMDB file as `LmdbBackend.hot_copy` makes it (`storage.environment` says what is
in it). etcd's snapshots have the same form, around a database of its own.
Source: etcd server/etcdserver/api/v3rpc/maintenance.go, `Snapshot`; etcdutl/snapshot.

LMDB trusts the bytes that it is given. So nothing opens a database before its digest is right, and
then a child process reads all of it first (`snapshot_probe`): whoever makes up a file can make up
its digest too. What a file says of keys and leases is believed, so a snapshot is to be restored
from where only trusted people write.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Self
from zlib import crc32

from tianlu_registry.errors import Corrupt, InvalidArgument, StorageFailed
from tianlu_registry.storage.environment import FILE_MODE, sync_directory
from tianlu_registry.storage.snapshot_probe import Contents, Progress, probe

DIGEST_BYTES = 32
CHUNK_BYTES = 1 << 20

_HEAD = Struct("<16xI")
_LMDB_MAGIC = 0xBEEFC0DE
_ETCD_MAGIC = 0xED0CDAED
_PAGE_BYTES_MIN = 4096


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What a snapshot file holds.

    Attributes:
        contents: what is in the database.
        size_bytes: of the database.
        sha256: the database's digest, hexadecimal.
        hash: a short name for the contents: the database's CRC-32.
    """

    contents: Contents
    size_bytes: int
    sha256: str
    hash: int


# Writing


def size_of(copy: Path) -> int:
    """Return the size of the snapshot file that `chunks` makes of a copy of the database."""
    return _status(copy).st_size + DIGEST_BYTES


def chunks(copy: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield a snapshot file in pieces: a copy of the database, then its digest. Blocks on the disk.

    Raises:
        StorageFailed: the copy cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with copy.open("rb") as file:
            while piece := file.read(chunk_bytes):
                digest.update(piece)
                yield piece
    except OSError as error:
        raise StorageFailed(f"{copy}: {error.strerror}") from error
    yield digest.digest()


class SnapshotWriter:
    """Writes a snapshot file that arrives in pieces; it has its name only when it is whole.

    A context manager: left without `finish`, nothing stays behind. Blocking.

    Args:
        path: the file to be; one that is there is replaced.

    Raises:
        InvalidArgument: its directory is not there, or not writable.
        StorageFailed: no room, or the disk failed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        self._digest = hashlib.sha256()
        self._tail = b""
        self.size_bytes = 0
        try:
            descriptor = os.open(
                self._partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE
            )
        except OSError as error:
            raise InvalidArgument("path", f"{path} cannot be written: {error.strerror}") from error
        self._file: BinaryIO = os.fdopen(descriptor, "wb")

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        try:
            self._file.write(piece)
        except OSError as error:
            raise StorageFailed(f"{self._path}: {error.strerror}") from error
        self.size_bytes += len(piece)
        ended = self._tail + piece
        self._digest.update(ended[:-DIGEST_BYTES])
        self._tail = ended[-DIGEST_BYTES:]

    def finish(self) -> None:
        """Make the file durable under its name.

        Raises:
            Corrupt: it is not whole: the digest at its end is not that of the rest.
        """
        if self.size_bytes <= DIGEST_BYTES or self._digest.digest() != self._tail:
            raise Corrupt(
                f"{self._path}: the snapshot arrived incomplete ({self.size_bytes} bytes); it was "
                "not kept. Save it again"
            )
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.replace(self._path)
        except OSError as error:
            raise StorageFailed(f"{self._path}: {error.strerror}") from error
        sync_directory(self._path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # What is buffered may fail to be written once more: it is thrown away anyway.
        with suppress(OSError):
            self._file.close()
        self._partial.unlink(missing_ok=True)


# Reading


class DatabaseReader:
    """Reads the database out of a snapshot file. Blocking.

    Attributes:
        size_bytes: of the database.
        sha256, hash: see SnapshotInfo; once `pieces` has ended.

    Raises:
        InvalidArgument: there is no such file, or it is not a snapshot of ours.
        Corrupt: it is damaged or incomplete.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = _size_by_form(path)
        self.sha256 = ""
        self.hash = 0

    def pieces(self, progress: Progress = no_progress) -> Iterator[bytes]:
        """Yield the database. Only when the last piece has been asked for and none came is it
        known to be right."""
        digest, crc, done = hashlib.sha256(), 0, 0
        with _opened(self.path) as file:
            while done < self.size_bytes:
                piece = _read(file, min(CHUNK_BYTES, self.size_bytes - done))
                if not piece:
                    break
                digest.update(piece)
                crc = crc32(piece, crc)
                done += len(piece)
                yield piece
                progress(done, self.size_bytes)
            if _read(file, DIGEST_BYTES) != digest.digest():
                raise _incomplete(self.path)
        self.sha256, self.hash = digest.hexdigest(), crc


def verify(path: Path, progress: Progress = no_progress) -> SnapshotInfo:
    """Read all of a snapshot file and tell what it holds. Changes nothing.

    `StagedSnapshot.open(path)` may follow, to look at what is in it. A child process reads the
    database; its memory is about that of the key index of a node with the same keys.

    Raises:
        InvalidArgument: there is no such file, or it is not a snapshot of ours.
        Corrupt: it is damaged or incomplete.
    """
    reader = DatabaseReader(path)
    for _ in reader.pieces(progress):
        pass
    contents = probe(path, progress)
    return SnapshotInfo(contents, reader.size_bytes, reader.sha256, reader.hash)


def _size_by_form(path: Path) -> int:
    """Return the size of a snapshot file's database, by its outer form alone."""
    size = _status(path).st_size
    with _opened(path) as file:
        head = _read(file, _HEAD.size)
    magic = _HEAD.unpack(head)[0] if len(head) == _HEAD.size else 0
    if magic == _ETCD_MAGIC:
        raise InvalidArgument(
            "snapshot",
            f"{path} is a snapshot of etcd, whose database this registry does not read. Restore it "
            "into an etcd with etcdutl, and copy its keys with `etcdctl make-mirror`",
        )
    if magic != _LMDB_MAGIC:
        raise InvalidArgument("snapshot", f"{path} is not a snapshot of a registry")
    if size % _PAGE_BYTES_MIN != DIGEST_BYTES:
        raise _incomplete(path)
    return size - DIGEST_BYTES


def _status(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except OSError as error:
        raise InvalidArgument("snapshot", f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InvalidArgument("snapshot", f"{path} is not a file")
    return status


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidArgument("snapshot", f"{path}: {error.strerror}") from error


def _read(file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise StorageFailed(f"{file.name}: {error.strerror}") from error


def _incomplete(path: Path) -> Corrupt:
    return Corrupt(
        f"{path}: the snapshot is damaged or incomplete: its digest is not that of its contents. "
        "Use another one"
    )
