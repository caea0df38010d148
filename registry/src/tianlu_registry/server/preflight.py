"""Checks before anything runs: the data directory is ours and writable, as is the run file's."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from tianlu_registry.server.errors import EXIT_CANNOT_CREATE, CannotStart


class DirectoryLock:
    """Holds a data directory for this launcher, from before the node starts until it is gone.

    The node locks its own files too; this lock says so earlier and in one line. It is the
    kernel's (`flock`) and ends with the process, however that dies. Use as a context manager.
    """

    def __init__(self, flag: str, directory: Path) -> None:
        """Make the directory if it is missing, and lock it.

        Raises:
            CannotStart: it cannot be made or written, or another launcher holds it.
        """
        path = directory / "launcher.lock"
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotStart(
                f"{flag}: {directory} cannot be used: {_reason(error)}", EXIT_CANNOT_CREATE
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._file, 32, 0).decode("ascii", "replace").strip()
            os.close(self._file)
            raise CannotStart(
                f"{flag}: {directory} is held by the registry with process id {holder or '?'}; "
                "stop that one or choose another directory",
                EXIT_CANNOT_CREATE,
            ) from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)


def check_writable(flag: str, path: Path) -> None:
    """See to it that a file can be made at `path`.

    Raises:
        CannotStart: its directory is missing or not writable.
    """
    directory = path.absolute().parent
    if not directory.is_dir():
        raise CannotStart(f"{flag}: directory {directory} does not exist", EXIT_CANNOT_CREATE)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise CannotStart(f"{flag}: directory {directory} is not writable", EXIT_CANNOT_CREATE)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
