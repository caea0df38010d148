"""The phases of a benchmark: a crew of workers each, watched by who shows the progress."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from tianlu._cli.bench.load import NANOSECONDS, Tally
from tianlu._cli.bench.stream_tasks import WatchTask, WriteTask
from tianlu._cli.bench.workers import Crew, Share, Task
from tianlu._errors import InvalidInput

BUSY_SHARE: Final = 0.9
"""The share of a processor from which on a worker is said to be the limit itself."""

_QUIET_SECONDS: Final = 5.0


class Watcher(Protocol):
    """Who shows how far a phase is."""

    def begin(self, title: str, *, total: int | None, seconds: float | None, unit: str) -> None:
        """A phase begins, of so many units or so many seconds, whichever is first."""
        ...

    def look(self, done: int) -> None:
        """So much is done; called about ten times a second."""
        ...

    def end(self) -> None:
        """The phase is over."""
        ...


@contextmanager
def phase(
    watcher: Watcher, title: str, *, total: int | None, seconds: float | None, unit: str
) -> Iterator[None]:
    """Show a phase for as long as the body runs, however it ends."""
    watcher.begin(title, total=total, seconds=seconds, unit=unit)
    try:
        yield
    finally:
        watcher.end()


@dataclass(frozen=True, slots=True)
class Result:
    """What a phase measured.

    Attributes:
        tally: latencies and errors of all workers.
        seconds: from the beginning to the last answer.
        busy: the share of a processor that the busiest worker used.
        processes: how many workers there were.
        server_cpu_seconds: what the server's processes used; None if they were not named.
        expected: how many events there should have been; None if that is not known.
        interrupted: whether Ctrl-C ended it early.
    """

    tally: Tally
    seconds: float
    busy: float
    processes: int
    server_cpu_seconds: float | None
    expected: int | None = None
    interrupted: bool = False

    @property
    def rate(self) -> float:
        """What was done a second."""
        return self.tally.done / self.seconds if self.seconds else 0.0

    @property
    def server_cpu_microseconds(self) -> float | None:
        """CPU time of the server for each thing done."""
        if self.server_cpu_seconds is None or not self.tally.done:
            return None
        return self.server_cpu_seconds / self.tally.done * 1e6


class ServerMeter:
    """Reads the CPU time of a process and its children from the kernel.

    Args:
        pid: of the first of them; None for a server that is not on this machine.

    Raises:
        InvalidInput: there is no such process.
    """

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._before = self._read()

    def begin(self) -> None:
        self._before = self._read()

    def seconds(self) -> float | None:
        """Return what was used since `begin`."""
        if self._pid is None:
            return None
        return self._read() - self._before

    def _read(self) -> float:
        if self._pid is None:
            return 0.0
        try:
            return sum(_cpu_seconds(pid) for pid in family(self._pid))
        except FileNotFoundError:
            raise InvalidInput(
                "--server-pid", f"no process {self._pid} on this machine, or it has no /proc"
            ) from None


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it. Linux only."""
    found = [pid]
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            found += family(int(child))
    return found


def _cpu_seconds(pid: int) -> float:
    # The name, in parentheses, may hold spaces; user and system time are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_calls(tasks: Sequence[Task], meter: ServerMeter, watcher: Watcher) -> Result:
    """Run workers that come to an end by themselves."""
    with Crew(tasks) as crew:
        everybody = range(len(tasks))
        with crew.stopping_on_interrupt(everybody) as interrupted:
            began = crew.begin()
            meter.begin()
            crew.wait(everybody, lambda: watcher.look(crew.board.ended(everybody)))
            return _result(crew.shares, everybody, began, meter, interrupted())


def run_watch(
    watchers: Sequence[WatchTask], writer: WriteTask, meter: ServerMeter, shown: Watcher
) -> tuple[Result, Result]:
    """Run a writer, and watchers until all that was written has arrived.

    Returns:
        What the watchers received (latencies from the write to the event), and the writes.
    """
    tasks: list[Task] = [*watchers, replace(writer, readers=range(len(watchers)))]
    with Crew(tasks) as crew:
        readers, writers = range(len(watchers)), [len(watchers)]
        with crew.stopping_on_interrupt(writers) as interrupted:
            began = crew.begin()
            meter.begin()
            crew.wait(writers, lambda: shown.look(crew.board.done(readers)))
            expected = crew.shares[writers[0]].tally.done * writer.watchers
            _wait_arrival(crew, readers, expected, shown)
            crew.stop(readers)
            crew.wait(readers, lambda: None)
            writes = _result(crew.shares, writers, began, meter, interrupted())
            events = _result(crew.shares, readers, began, meter, interrupted())
            return replace(events, expected=expected), writes


def _wait_arrival(crew: Crew, readers: Sequence[int], expected: int, shown: Watcher) -> None:
    """Wait until so many events have arrived, or none has for five seconds."""
    arrived, quiet_since = -1, time.monotonic()
    while arrived < expected and time.monotonic() - quiet_since < _QUIET_SECONDS:
        time.sleep(0.02)
        found = crew.board.done(readers)
        if found != arrived:
            arrived, quiet_since = found, time.monotonic()
            shown.look(arrived)


def _result(
    shares: dict[int, Share],
    workers: Sequence[int],
    began: int,
    meter: ServerMeter,
    interrupted: bool,
) -> Result:
    tally = Tally()
    for worker in workers:
        tally.merge(shares[worker].tally)
    return Result(
        tally=tally,
        seconds=max(0, tally.last - began) / NANOSECONDS,
        busy=max(shares[worker].busy for worker in workers),
        processes=len(workers),
        server_cpu_seconds=meter.seconds(),
        interrupted=interrupted,
    )
