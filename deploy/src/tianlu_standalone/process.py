"""One part's process: started, watched, probed, restarted with backoff, stopped.

States: starting -> serving <-> not ready or unresponsive; after its end waiting -> starting; at
last stopped. A part that does not serve within `START_SECONDS`, or gives no answer to its probe for
its `stuck_seconds`, is killed: for a process whose Python is stuck while Envoy still accepts
connections that is the only cure. One that answers that it is not ready is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, cast

import httpx

from tianlu_standalone.logs import LINE_BYTES_MAX, PartLog
from tianlu_standalone.parts import Part, Probe
from tianlu_standalone.plain_http import plain_client
from tianlu_standalone.restart import RestartState

START_SECONDS = 40.0
PROBE_INTERVAL_SECONDS = 1.0
STARTING_PROBE_INTERVAL_SECONDS = 0.05
PROBE_TIMEOUT_SECONDS = 3.0

EXIT_NOT_STARTED = 126
"""As a shell says that a command could not be executed."""

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class PartState(Enum):
    """Where a part is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    NOT_READY = "not ready"
    UNRESPONSIVE = "unresponsive"
    WAITING = "waiting"
    STOPPED = "stopped"


class Answer(Enum):
    """What a probe found."""

    SERVES = "200"
    NOT_READY = "any other status"
    NONE = "no answer in time"


def die_with_parent() -> None:
    """Make the kernel kill this child when its supervisor dies, however it dies.

    Runs between fork and exec. Source: prctl(2), PR_SET_PDEATHSIG.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class PartProcess:
    """Keeps one part running until `stop`.

    Args:
        part: what to run.
        log: takes what it prints; closed when the part is stopped.
        say: told, in one line, whatever a person should know.
        changed: called after every change of state.
    """

    def __init__(
        self, part: Part, log: PartLog, say: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self.part = part
        self.state = PartState.STARTING
        self.addresses: dict[str, Any] = {}
        self.restarts = 0
        self._log = log
        self._say = say
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._stop_asked = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Return the running process's id, or None."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Run the part, again and again, until `stop` is called."""
        restart = RestartState()
        while not self._stop_asked.is_set():
            started = time.monotonic()
            try:
                code = await self._run_once()
            except OSError as error:
                # No process or memory to be had now: no reason to end all the others.
                self._log.write(f"tianlu {self.part.name}: cannot be started: {error}\n".encode())
                code = EXIT_NOT_STARTED
            if self._stop_asked.is_set():
                break
            restart, delay = restart.after_death(time.monotonic() - started)
            self.restarts += 1
            # Who is killed has no time to say why; the newest line is about something else.
            reason = self._log.last_words() if code >= 0 else ""
            self._say(
                f"{self.part.name} ended ({_describe(code)}), starting it again in {delay:.1f} s"
                + (f"; its last words: {reason}" if reason else "")
            )
            self._become(PartState.WAITING)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), delay)
        self._become(PartState.STOPPED)
        self._log.close()

    async def stop(self) -> None:
        """End the part: SIGTERM, then SIGKILL after its `stop_seconds`. Returns when it is gone."""
        self._stop_asked.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.part.stop_seconds)
        except TimeoutError:
            self._say(
                f"{self.part.name} did not stop within {self.part.stop_seconds:.0f} s: killed"
            )
            self._kill()
            await process.wait()

    async def _run_once(self) -> int:
        if self.part.run_file is not None:
            self.part.run_file.unlink(missing_ok=True)
        self._log.forget()
        self._become(PartState.STARTING)
        self._process = process = await asyncio.create_subprocess_exec(
            *self.part.arguments,
            env={**os.environ, **self.part.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # A terminal's Ctrl-C goes to the supervisor alone, which then stops parts in order.
            start_new_session=True,
            preexec_fn=die_with_parent,  # safe: only one thread runs here
            limit=LINE_BYTES_MAX,
        )
        self._changed()
        if self._stop_asked.is_set():
            self._kill()  # `stop` came before there was a process to tell
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._copy_output(process))
            prober = tasks.create_task(self._probe_until_cancelled())
            code = await process.wait()
            prober.cancel()
            # A grandchild may hold the pipe open; the log of a dead part is not worth waiting for.
            await asyncio.wait({reader}, timeout=1.0)
            reader.cancel()
        return code

    async def _copy_output(self, process: asyncio.subprocess.Process) -> None:
        stream = cast("asyncio.StreamReader", process.stdout)
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    self._log.write(end.partial + b"\n")
                return
            except asyncio.LimitOverrunError:
                line = await stream.read(LINE_BYTES_MAX)
            self._log.write(line)

    async def _probe_until_cancelled(self) -> None:
        """Follow the part's state by its run file and probe; kill it when it is stuck."""
        last_good = time.monotonic()
        served = False
        while True:
            self._read_addresses()
            answer = await self._ask()
            if answer is Answer.SERVES:
                last_good, served = time.monotonic(), True
                self._become(PartState.SERVING)
            elif answer is Answer.NOT_READY and (served or self.part.group):
                # It says itself that it cannot serve: alive, and killing it would mend nothing.
                # A node of a group may wait for the others before it ever serves.
                last_good = time.monotonic()
                self._become(PartState.NOT_READY)
            else:
                silent = time.monotonic() - last_good
                if served and silent > PROBE_INTERVAL_SECONDS:
                    self._become(PartState.UNRESPONSIVE)
                if silent > (self.part.stuck_seconds if served else START_SECONDS):
                    what = "stopped answering" if served else "did not begin to serve"
                    self._say(f"{self.part.name} {what} for {silent:.0f} s: killed")
                    self._kill()
                    return
            await asyncio.sleep(
                PROBE_INTERVAL_SECONDS if served else STARTING_PROBE_INTERVAL_SECONDS
            )

    async def _ask(self) -> Answer:
        if self.part.run_file is not None and not self.addresses:
            return Answer.NONE
        probe = self.part.probe
        return Answer.SERVES if probe is None else await ask(probe, self.addresses)

    def _read_addresses(self) -> None:
        if self.part.run_file is None:
            return
        try:
            content = json.loads(self.part.run_file.read_text())
        except (OSError, ValueError):
            return
        addresses = content.get("addresses", {})
        if addresses != self.addresses:
            self.addresses = addresses
            self._changed()

    def _kill(self) -> None:
        """Kill the part with whatever it started: it leads a process group of its own."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _become(self, state: PartState) -> None:
        if state is not self.state:
            if state is PartState.STARTING:
                self.addresses = {}
            self.state = state
            self._changed()


async def ask(probe: Probe, addresses: dict[str, Any]) -> Answer:
    """Ask a part whether it serves."""
    base = "http://part"
    if probe.socket is None:
        base = addresses.get(probe.address_key, "")
        if not base:
            return Answer.NONE
    try:
        async with plain_client(probe.socket, PROBE_TIMEOUT_SECONDS) as client:
            status = (await client.get(base + probe.path)).status_code
    except httpx.HTTPError:
        return Answer.NONE
    return Answer.SERVES if status == httpx.codes.OK else Answer.NOT_READY


def _describe(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
