"""The seam between the WAL and the file system.

The WAL calls nothing else of the operating system, so that a simulated disk, which loses and tears
what was not synced, can run the production code.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


class WalFile(Protocol):
    """An open file. Blocking; one thread at a time. Every method may raise OSError, after which
    the file's content on disk is unknown."""

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`. Not durable before `sync_data`."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the file's end."""
        ...

    def size(self) -> int: ...

    def allocate(self, size: int) -> None:
        """Reserve disk space up to `size`; what is new reads as zeros."""
        ...

    def truncate(self, size: int) -> None: ...

    def sync_data(self) -> None:
        """Make content and size durable."""
        ...

    def close(self) -> None: ...


class FileSystem(Protocol):
    """What the WAL does with directories. Changes are durable after `sync_directory`."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, readable to its owner only, and its parents; durably. It may exist."""
        ...

    def names(self, directory: Path) -> list[str]:
        """Return the names in a directory; none if it does not exist."""
        ...

    def create(self, path: Path) -> WalFile:
        """Make and open an empty file, readable to its owner only. It must not exist."""
        ...

    def open(self, path: Path) -> WalFile: ...

    def rename(self, source: Path, target: Path) -> None: ...

    def remove(self, path: Path) -> None: ...

    def sync_directory(self, directory: Path) -> None: ...


class OsFile:
    """A WalFile on a file descriptor, which it owns."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, offset: int, data: bytes) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):  # the kernel takes at most 2 GiB at once
            rest = memoryview(data)[written:]
            written += os.pwrite(self._descriptor, rest, offset + written)

    def read(self, offset: int, size: int) -> bytes:
        pieces = []
        while size > 0 and (piece := os.pread(self._descriptor, size, offset)):
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def allocate(self, size: int) -> None:
        os.posix_fallocate(self._descriptor, 0, size)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def sync_data(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class OsFileSystem:
    """The real file system."""

    def make_directory(self, path: Path) -> None:
        if path.is_dir():
            return
        self.make_directory(path.parent)
        path.mkdir(DIRECTORY_MODE, exist_ok=True)
        self.sync_directory(path.parent)

    def names(self, directory: Path) -> list[str]:
        try:
            return sorted(os.listdir(directory))  # noqa: PTH208 - names, not paths
        except FileNotFoundError:
            return []

    def create(self, path: Path) -> OsFile:
        return OsFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))

    def open(self, path: Path) -> OsFile:
        return OsFile(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def remove(self, path: Path) -> None:
        path.unlink()

    def sync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
