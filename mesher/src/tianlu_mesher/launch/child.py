"""One child process, kept running: started again with backoff when it ends, or kills it when stuck.

    starting -> serving -> (dead -> waiting -> starting)* -> stopped

A child that does not answer its probe for `stuck_seconds` while it runs is killed: it may be
stopped, deadlocked, or out of memory, and a new one is better than all of these.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

logger = logging.getLogger(__name__)

BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 5.0
_HEALTHY_AFTER_SECONDS = 30.0  # a child that lived this long starts again without delay
_PROBE_INTERVAL_SECONDS = 1.0
EXIT_NOT_STARTED = 126  # as a shell says it
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """Have the kernel kill this child when the launcher dies. Runs between fork and exec.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How a child is started and judged.

    Attributes:
        arguments: called for every start, because a restart may need others.
        probe: whether it answers; called about once a second.
        stuck_seconds: how long it may leave the probe unanswered, counted from its start too.
        pass_fds: descriptors that it inherits.
        stop_seconds: how long it may take to end after SIGTERM.
    """

    name: str
    arguments: Callable[[], tuple[str, ...]]
    probe: Callable[[], Awaitable[bool]]
    stuck_seconds: float = 15.0
    pass_fds: tuple[int, ...] = ()
    stop_seconds: float = 5.0


class Child:
    """Keeps one process running until `stop`."""

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self.restarts = 0
        self.last_exit: int | None = None

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Start the child again and again; returns after `stop`."""
        backoff = BACKOFF_SECONDS_MIN
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                self.last_exit = await self._run_once()
            except OSError as error:
                # No process or memory to be had now: the other child must not die of that.
                logger.error("child.start.failed name=%s error=%r", self._spec.name, str(error))  # noqa: TRY400 -- the error says it all
                self.last_exit = EXIT_NOT_STARTED
            if self._stopping.is_set():
                return
            if time.monotonic() - started > _HEALTHY_AFTER_SECONDS:
                backoff = BACKOFF_SECONDS_MIN
            self.restarts += 1
            logger.error(
                "child.ended name=%s exit=%d restart_seconds=%.1f",
                self._spec.name,
                self.last_exit,
                backoff,
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff)
            backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)

    async def stop(self) -> None:
        """End the child: SIGTERM, then SIGKILL. Returns when it is gone."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self._spec.stop_seconds)
        except TimeoutError:
            logger.warning("child.stop.failed name=%s then=SIGKILL", self._spec.name)
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _run_once(self) -> int:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._spec.arguments(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=self._spec.pass_fds,
            preexec_fn=_die_with_parent,  # safe: the launcher has one thread
            env=os.environ,
        )
        logger.info("child.start.complete name=%s pid=%d", self._spec.name, process.pid)
        if self._stopping.is_set():
            process.kill()  # `stop` came before there was a process to tell
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._kill_when_stuck(process))
            code = await process.wait()
            watch.cancel()
        return code

    async def _kill_when_stuck(self, process: asyncio.subprocess.Process) -> None:
        answered = time.monotonic()
        while True:
            await asyncio.sleep(_PROBE_INTERVAL_SECONDS)
            if await self._spec.probe():
                answered = time.monotonic()
            elif time.monotonic() - answered > self._spec.stuck_seconds:
                logger.error("child.stuck name=%s then=SIGKILL", self._spec.name)
                with suppress(ProcessLookupError):
                    process.kill()
                return
