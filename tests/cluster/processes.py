"""One member's processes: a launcher and its children are stopped, continued and killed as one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_GONE_SECONDS = 30.0


def wait_for(what: str, condition: Callable[[], bool], seconds: float) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


class ProcessTree:
    """A command and all that it starts.

    Args:
        command: started at once, from the thread whose end is to be its own.
        log: where its output goes, appended.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        with log.open("ab") as out:
            self._root = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        return self._root.pid

    def is_running(self) -> bool:
        return self._root.poll() is None

    def pids(self) -> list[int]:
        """Return all processes, parents first."""
        return _family(self._root.pid)

    def kill(self) -> None:
        """End all of them at once, as `kill -9` does; returns when they are gone."""
        pids = self.pids()
        # A parent that is stopped first cannot restart the child that is killed.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            self._signal(pids, number)
        self._root.wait(_GONE_SECONDS)
        wait_for("killed processes", lambda: not any(map(_is_alive, pids)), _GONE_SECONDS)

    def stop(self, seconds: float = _GONE_SECONDS) -> int:
        """Ask for an end in order; return the exit status. Killed when it takes too long.

        Raises:
            TimeoutError: it had to be killed.
        """
        pids = self.pids()
        self._root.send_signal(signal.SIGTERM)
        try:
            status = self._root.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TimeoutError(f"SIGTERM did not end it within {seconds:.0f} s") from None
        wait_for("children of an ended process", lambda: not any(map(_is_alive, pids)), seconds)
        return status

    def pause(self) -> None:
        self._signal(self.pids(), signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(reversed(self.pids()), signal.SIGCONT)

    def memory_bytes(self) -> int:
        """Return the resident memory of all, private and its share of what is shared."""
        return sum(map(_proportional_bytes, self.pids()))

    @staticmethod
    def _signal(pids: Sequence[int] | reversed[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _family(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [word for task in tasks for word in (task / "children").read_text().split()]
    except OSError:  # it has just ended
        return [pid]
    return [pid, *(found for child in children for found in _family(int(child)))]


def _is_alive(pid: int) -> bool:
    try:
        # The name, in parentheses, may hold spaces; the state follows it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
