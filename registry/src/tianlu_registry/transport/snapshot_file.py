"""The files of a raft_snapshot on its way. Everything here blocks and runs in a worker thread."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tianlu_registry.raft import MemberId, SnapshotMeta

PIECE_BYTES: Final = 256 * 1024
"""Read, sent and written at a time."""

SYNC_EVERY_BYTES: Final = 8 * 1024 * 1024
"""What arrives is made durable in parts of this size: with all of it left to the end, the log's
syncs wait behind hundreds of megabytes. Measured with 400 MiB: 23 to 31 ms for the slowest sync of
another file instead of 55 to 96 ms."""

PARTIAL_SUFFIX: Final = ".part"
COMPLETE_SUFFIX: Final = ".received"
PARTIAL_SECONDS_MAX: Final = 3600.0
"""A partial file of before the start that is older is not gone on with."""

FREE_BYTES_MIN: Final = 64 * 1024 * 1024
"""What a raft_snapshot leaves free on the disk."""


@dataclass(frozen=True, slots=True)
class SnapshotId:
    """Which data: two transfers of the same id can go on with each other's."""

    sender: MemberId
    snapshot: SnapshotMeta
    size: int
    sha256: bytes

    @property
    def name(self) -> str:
        """A file name, without its suffix."""
        meta = self.snapshot
        return f"peer-{self.sender:016x}-{meta.index}-{meta.term}-{self.sha256.hex()}"


class PartialFile:
    """The beginning of the data, on disk, and the digest of it."""

    def __init__(self, directory: Path, snapshot_id: SnapshotId) -> None:
        """Open it, go on where it ends, and remove those of other transfers.

        Raises:
            OSError: the disk fails, or has no room for the data.
        """
        self._id = snapshot_id
        self._path = directory / (snapshot_id.name + PARTIAL_SUFFIX)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for other in _files(directory):
            if other != self._path:
                other.unlink(missing_ok=True)
        self._file = self._path.open("a+b")
        try:
            self._path.chmod(0o600)
            self._digest = hashlib.sha256()
            self._unsynced_bytes = 0
            self.size = self._read_digest()
            self._check_room(directory)
        except BaseException:
            self._file.close()
            raise

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._digest.update(piece)
        self.size += len(piece)
        self._unsynced_bytes += len(piece)
        if self._unsynced_bytes >= SYNC_EVERY_BYTES:
            self._unsynced_bytes = 0
            self._file.flush()
            os.fdatasync(self._file.fileno())

    def finish(self) -> Path | None:
        """Make complete data durable and return where it is; None, and nothing left, if it is
        damaged."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self.size != self._id.size or self._digest.digest() != self._id.sha256:
            self._path.unlink()
            return None
        complete = self._path.with_suffix(COMPLETE_SUFFIX)
        self._path.rename(complete)
        return complete

    def close(self) -> None:
        """Keep what is there for the next attempt."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _read_digest(self) -> int:
        size = os.fstat(self._file.fileno()).st_size
        if size > self._id.size:
            self._file.truncate(0)
            return 0
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            self._digest.update(piece)
        return size

    def _check_room(self, directory: Path) -> None:
        needed = self._id.size - self.size + FREE_BYTES_MIN
        free = shutil.disk_usage(directory).free
        if free < needed:
            raise OSError(f"{needed} bytes are needed in {directory}, {free} are free")


def hash_file(path: Path) -> tuple[int, bytes]:
    """Return a file's size and SHA-256.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    return size, digest.digest()


def remove_leftovers(directory: Path) -> None:
    """At the start: remove complete files that nobody took, and old partial ones."""
    oldest = time.time() - PARTIAL_SECONDS_MAX
    for path in _files(directory):
        if path.suffix == COMPLETE_SUFFIX or path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)


def _files(directory: Path) -> list[Path]:
    return [*directory.glob(f"peer-*{PARTIAL_SUFFIX}"), *directory.glob(f"peer-*{COMPLETE_SUFFIX}")]
