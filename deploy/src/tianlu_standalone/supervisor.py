"""Keeps all parts of the platform running, and says together whether they serve."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tianlu_standalone.datadir import DataDir
from tianlu_standalone.logs import PartLog
from tianlu_standalone.parts import Part
from tianlu_standalone.process import PartProcess, PartState


class Supervisor:
    """Runs parts as processes.

    Args:
        data: held data directory; its run.json is rewritten whenever a part's state changes.
        entrance: URL of the gateway, for run.json.
        say: told what a person should know, a line at a time.
    """

    def __init__(self, data: DataDir, entrance: str, say: Callable[[str], None]) -> None:
        self._data = data
        self._entrance = entrance
        self._say = say
        self._started_unix = time.time()
        self._processes: dict[str, PartProcess] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._run_file_written = True  # a failure is said once, until it is mended

    @property
    def processes(self) -> tuple[PartProcess, ...]:
        """Return every part's process, in order of start."""
        return tuple(self._processes.values())

    def start(self, parts: Iterable[Part]) -> None:
        """Start parts; they find each other whatever the order they come up in."""
        for part in parts:
            part_directory = self._data.part(part.name)
            part_directory.mkdir(mode=0o700, exist_ok=True)
            log = PartLog(self._data.root / "logs" / f"{part.name}.log")
            process = PartProcess(part, log, self._say, self._on_change)
            self._processes[part.name] = process
            self._tasks[part.name] = asyncio.create_task(process.run(), name=part.name)

    def ready(self) -> bool:
        """Say whether the platform, demo apart, serves: of a group more than half, else all."""
        platform = [process for process in self._processes.values() if not process.part.demo]
        serving = Counter(
            process.part.group or process.part.name
            for process in platform
            if process.state is PartState.SERVING
        )
        needed = Counter(process.part.group or process.part.name for process in platform)
        return all(2 * serving[name] > count for name, count in needed.items())

    async def wait_started(self, attempts_max: int) -> None:
        """Return once the platform serves, and nothing is missing but parts of a group that ended
        `attempts_max` times."""
        while not self.ready() or any(
            process.state is not PartState.SERVING and process.restarts < attempts_max
            for process in self._processes.values()
        ):
            self._changed.clear()
            await self._changed.wait()

    def hopeless(self, attempts_max: int) -> PartProcess | None:
        """Return a part that ended `attempts_max` times and without which the platform cannot
        serve, if there is one."""
        dying = [one for one in self._processes.values() if one.restarts >= attempts_max]
        lost = Counter(one.part.group or one.part.name for one in dying)
        all_parts = Counter(one.part.group or one.part.name for one in self._processes.values())
        return next(
            (
                one
                for one in dying
                if 2 * lost[name := one.part.group or one.part.name] >= all_parts[name]
            ),
            None,
        )

    def failed(self) -> asyncio.Task[None] | None:
        """Return a part's task that ended by itself: a bug of ours, never a dead process."""
        return next((task for task in self._tasks.values() if task.done()), None)

    def describe(self) -> dict[str, Any]:
        """Return what run.json and /readyz show."""
        return {
            "pid": os.getpid(),
            "entrance": self._entrance,
            "started_unix": self._started_unix,
            "parts": {
                name: {
                    "state": process.state.value,
                    "pid": process.pid,
                    "restarts": process.restarts,
                    "demo": process.part.demo,
                    "addresses": process.addresses,
                }
                for name, process in self._processes.items()
            },
        }

    async def stop(self) -> None:
        """Stop all parts, callers before those they call."""
        ordered = sorted(self._processes.values(), key=lambda process: process.part.stop_order)
        for _, group in itertools.groupby(ordered, key=lambda process: process.part.stop_order):
            await asyncio.gather(*(process.stop() for process in group))
        await asyncio.gather(*self._tasks.values())

    def _on_change(self) -> None:
        self._changed.set()
        try:
            self._data.write_run(self.describe())
            self._run_file_written = True
        except OSError as error:
            if self._run_file_written:
                self._say(
                    f"cannot write {self._data.run_file}: {error.strerror}; it is out of date"
                )
            self._run_file_written = False
