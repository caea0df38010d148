"""Where lines go: a file that is followed by another when it is full, or standard output."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final, Protocol

STANDARD_OUTPUT: Final = "-"
_OWNER_ONLY: Final = 0o600


class Sink(Protocol):
    """What the log's thread writes to. Every method may block, and raises OSError."""

    def append(self, lines: bytes) -> None:
        """Write whole lines."""
        ...

    def sync(self) -> None:
        """See to it that what was written is on the disk."""
        ...

    def close(self) -> None: ...


class RotatingFile:
    """A file of bounded size and so many older ones beside it: PATH, PATH.1 (newer), PATH.2 ...

    Another program may move the file away, as logrotate does: the next lines go into a new one.

    Args:
        path: made with mode 0600 if it is missing, else continued.
        bytes_max: size beyond which a new file is begun, before lines are written.
        older_max: so many older ones stay; 0 for none.
    """

    def __init__(self, path: Path, bytes_max: int, older_max: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._older_max = older_max
        self._file: int | None = None
        self._size = 0

    def append(self, lines: bytes) -> None:
        if self._file is not None and self._was_moved(self._file):
            self.close()
        if self._size and self._size + len(lines) > self._bytes_max:
            self._rotate()
        file = self._opened()
        try:
            _write_all(file, lines)
        except OSError:
            self.close()  # opened anew, it begins after what was written half
            raise
        self._size += len(lines)

    def sync(self) -> None:
        if self._file is not None:
            os.fdatasync(self._file)

    def close(self) -> None:
        file, self._file, self._size = self._file, None, 0
        if file is not None:
            os.close(file)

    def _opened(self) -> int:
        if self._file is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self._path, flags, _OWNER_ONLY)
            self._size = os.fstat(self._file).st_size
            if self._size and not self._ends_a_line():
                self._size += os.write(self._file, b"\n")
        return self._file

    def _ends_a_line(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _was_moved(self, file: int) -> bool:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(found, os.fstat(file))

    def _rotate(self) -> None:
        self.sync()
        self.close()
        for number in range(self._older_max, 0, -1):
            newer = self._older(number - 1) if number > 1 else self._path
            if newer.exists():
                newer.replace(self._older(number))
        if not self._older_max:
            self._path.unlink(missing_ok=True)

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class StandardOutput:
    """The process's standard output: whoever reads it rotates and keeps."""

    _DESCRIPTOR: Final = 1

    def append(self, lines: bytes) -> None:
        _write_all(self._DESCRIPTOR, lines)

    def sync(self) -> None:
        if stat.S_ISREG(os.fstat(self._DESCRIPTOR).st_mode):
            os.fdatasync(self._DESCRIPTOR)

    def close(self) -> None: ...


def _write_all(file: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]
