"""The directory a node owns: its layout, its lock, and plain words for what can be wrong with it.

data_dir/
├── member/
│   ├── lock     held with flock while the node runs; contains the holder's process id
│   ├── wal/     log segments (tianlu_registry.storage.wal)
│   ├── db/      the LMDB environment (tianlu_registry.storage.backend)
│   └── snap/    raft_snapshots on their way in and out; nothing that is missed when it is gone
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tianlu_registry.errors import RegistryError, StorageFailed

_OWNER_ONLY: Final = 0o700


class DataDirUnusable(RegistryError):
    """The data directory cannot be used; the message says why and what to do."""

    text = "tianlu: the data directory cannot be used"


class DataDirHeld(DataDirUnusable):
    """Another process runs on the data directory."""


class DataDir:
    """An exclusively locked data directory.

    The lock is the kernel's (`flock`): it ends with the process however that dies, so there is
    never a stale one to remove by hand.
    """

    def __init__(self, root: Path, lock: int) -> None:
        self.root = root
        self.wal = root / "member" / "wal"
        self.db = root / "member" / "db"
        self.snapshots = root / "member" / "snap"
        self._lock: int | None = lock

    @classmethod
    def acquire(cls, root: Path) -> DataDir:
        """Make what is missing of `root` and lock it.

        Raises:
            DataDirHeld: another process holds it; the message names its id.
            DataDirUnusable: not a directory, not writable, the disk is full, ...
        """
        root = root.absolute()
        member = root / "member"
        try:
            is_new = not member.is_dir()
            member.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY)
            lock = os.open(member / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise explain(error, root) from error
        try:
            _lock(lock, root)
            data_dir = cls(root, lock)
            data_dir.wal.mkdir(exist_ok=True, mode=_OWNER_ONLY)
            data_dir.db.mkdir(exist_ok=True, mode=_OWNER_ONLY)
            data_dir.snapshots.mkdir(exist_ok=True, mode=_OWNER_ONLY)
            if is_new:
                _sync_names(member, root, root.parent)
        except OSError as error:
            os.close(lock)
            raise explain(error, root) from error
        except DataDirUnusable:
            os.close(lock)
            raise
        return data_dir

    def free_bytes(self) -> int:
        """Return the space that an unprivileged process may still use on this file system.

        Raises:
            StorageFailed: the file system does not say.
        """
        try:
            space = os.statvfs(self.root)
        except OSError as error:
            raise StorageFailed(f"{StorageFailed.text}: {self.root}: {error.strerror}") from error
        return space.f_bavail * space.f_frsize

    def release(self) -> None:
        """Let go of the lock. May be called twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def explain(error: OSError, root: Path) -> DataDirUnusable:
    """Turn an operating-system error into one line that says what is wrong and what to do."""
    match error.errno:
        case errno.EACCES | errno.EPERM:
            text = (
                f"is not writable for user id {os.getuid()} ({error.filename or root}); "
                "change its owner or give another --data-dir"
            )
        case errno.EROFS:
            text = "is on a read-only file system; give another --data-dir"
        case errno.ENOSPC | errno.EDQUOT:
            text = "has no space left on its file system; free some or give another --data-dir"
        case errno.ENOTDIR | errno.EEXIST:
            text = f"is not a directory ({error.filename or root}); give another --data-dir"
        case _:
            text = f"cannot be used: {os.strerror(error.errno or 0)} ({error.filename or root})"
    return DataDirUnusable(f"data directory {root} {text}")


def _sync_names(*directories: Path) -> None:
    """Make the names in directories durable. What is in a log is lost if the log's name is."""
    for directory in directories:
        # Where a directory may be entered but not listed, its owner made what is in it.
        with contextlib.suppress(PermissionError):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _lock(lock: int, root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirHeld(
            f"data directory {root} is held by {_holder(lock)}; "
            "stop that process or give another --data-dir"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _holder(lock: int) -> str:
    # The holder writes its id just after it locks, so a reader may be early.
    text = os.pread(lock, 32, 0).decode(errors="replace").strip()
    return f"process {text}" if text.isdigit() else "another process"
