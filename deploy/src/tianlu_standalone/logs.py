"""A part's log file, bounded in size, and its last lines for telling why it died."""

from __future__ import annotations

import contextlib
from collections import deque
from pathlib import Path

LOG_BYTES_MAX = 8 << 20
"""At this size a log moves to `NAME.log.1` (replacing the one before) and a new one begins."""

LAST_LINES = 20
LINE_BYTES_MAX = 16 << 10
"""Longer lines are cut, so that a part that prints without line ends cannot fill our memory."""


class PartLog:
    """Where the standard output and error of one part go. A full disk loses log lines, nothing
    else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._size = path.stat().st_size
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)

    def write(self, line: bytes) -> None:
        """Add one line, with its end of line."""
        self._last.append(line)
        try:
            if self._size + len(line) > LOG_BYTES_MAX:
                self._rotate()
            self._file.write(line)
        except OSError:
            return
        self._size += len(line)

    def last_words(self) -> str:
        """Return the newest line in which a part says why it ended, or else the newest line."""
        lines = [line.decode(errors="replace").strip() for line in self._last]
        told = [line for line in lines if line.startswith("tianlu ")]
        return next((line[:300] for line in reversed(told or lines) if line), "")

    def forget(self) -> None:
        """Let `last_words` speak of the next process only."""
        self._last.clear()

    def close(self) -> None:
        self._file.close()

    def _rotate(self) -> None:
        self._file.close()
        # It is missing if the last attempt failed half-way, for want of descriptors or of room.
        with contextlib.suppress(FileNotFoundError):
            self._path.replace(self._path.with_suffix(".log.1"))
        self._file = self._path.open("ab", buffering=0)
        self._size = 0
