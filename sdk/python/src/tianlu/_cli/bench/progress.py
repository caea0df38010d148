"""Shows how far a benchmark is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_SECONDS: Final = 2.0


class Bar:
    """A bar on standard error, if that is a terminal. One phase after the other."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._total: int | None = None
        self._seconds: float | None = None
        self._began = 0.0

    def begin(self, title: str, *, total: int | None, seconds: float | None, unit: str) -> None:
        """Begin a phase; its length is its total, or its time if it has none."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._total, self._seconds, self._began = total, seconds, time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            TextColumn("{task.fields[done]:>12,} {task.fields[unit]}"),
            TextColumn("{task.fields[rate]:>10,.0f}/s"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        length = total if total is not None else seconds
        self._task = self._progress.add_task(title, total=length, done=0, unit=unit, rate=0.0)
        self._progress.start()

    def look(self, done: int) -> None:
        """Show that so much is done."""
        if self._progress is None or self._task is None:
            return
        elapsed = time.monotonic() - self._began
        completed = done if self._total is not None else elapsed
        rate = done / elapsed if elapsed > 0 else 0.0
        self._progress.update(self._task, completed=completed, done=done, rate=rate)

    def end(self) -> None:
        """The phase is over; its bar goes."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Lines:
    """Plain lines, for logs and pipes."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._title = self._unit = ""
        self._began = self._written = 0.0
        self._done = 0

    def begin(self, title: str, *, total: int | None, seconds: float | None, unit: str) -> None:
        """Begin a phase."""
        del total, seconds
        self._title, self._unit, self._done = title, unit, 0
        self._began = self._written = time.monotonic()

    def look(self, done: int) -> None:
        """Write a line if the last is some seconds old."""
        self._done = done
        if time.monotonic() - self._written >= _LINE_SECONDS:
            self._write()

    def end(self) -> None:
        """Write where the phase has ended."""
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        elapsed = self._written - self._began
        rate = self._done / elapsed if elapsed > 0 else 0.0
        self._file.write(
            f"{self._title}: {elapsed:.1f} s, {self._done:,} {self._unit}, {rate:,.0f}/s\n"
        )
        self._file.flush()


class Silent:
    """Shows nothing: for programs that run benchmarks themselves."""

    def begin(self, title: str, *, total: int | None, seconds: float | None, unit: str) -> None:
        """Do nothing."""

    def look(self, done: int) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


def progress() -> Bar | Lines:
    """Return what fits standard error."""
    return Bar() if sys.stderr.isatty() else Lines(sys.stderr)
