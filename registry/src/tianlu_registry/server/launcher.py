"""The launcher: keeps one Envoy with Python inside it running, until it is told to stop.

Envoy accepts connections in native code even when the Python inside it is stuck or its event loop
is dead, so a probe of the port would say nothing. The launcher asks through Python, at a private
Unix socket, and kills a child that does not answer: a stuck interpreter does not react to SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tianlu_registry.server.addresses import Address
from tianlu_registry.server.bootstrap import EnvoyPlan, TlsPlan, bootstrap
from tianlu_registry.server.child import Child, child_environment
from tianlu_registry.server.client_tls import ClientTls, SecretFiles, transport_socket
from tianlu_registry.server.client_traffic import ADMIN_SOCKET_VARIABLE
from tianlu_registry.server.envoy_limits import ConnectionLimits
from tianlu_registry.server.local_http import Line, request
from tianlu_registry.server.supervision import (
    Backoff,
    Health,
    Limits,
    describe_exit,
    is_final,
)

_log = logging.getLogger(__name__)

TOKEN_VARIABLE = "TIANLU_LAUNCHER_TOKEN"  # noqa: S105 - the variable's name
"""Environment variable with which the child knows its launcher's requests from a stranger's."""

RELAY_SECRET_VARIABLE = "TIANLU_TLS_RELAY_SECRET"  # noqa: S105 - the variable's name
"""Environment variable with which the child knows what its TLS listener says; empty without one."""

TOKEN_HEADER = "x-tianlu-launcher"  # noqa: S105 - the header's name
ALIVE_PATH = "/-/alive"
DRAIN_PATH = "/-/drain"

_ADMIN_SOCKET = "admin.sock"
_EXIT_OK = 0
_STARTING_PROBE_SECONDS = 0.05
_ADMIN_TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What to launch.

    Attributes:
        app: the ASGI application, as ``module:attribute``.
        addresses: reserved addresses for clients.
        environment: what the child's environment has beyond ours.
        log_level: debug, info, warn or error.
        log_format: console or json.
        limits: see there.
        tls: for TLS addresses; checked. None if there are none.
        connections: limits of client connections.
        metrics_addresses: reserved addresses for metrics and health alone.
        speaks_on_standard_output: what the application writes there is meant for people, or
            programs, that read this process's; else it goes where the log goes.
    """

    app: str
    addresses: tuple[Address, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    log_level: str = "info"
    log_format: str = "console"
    limits: Limits = field(default_factory=Limits)
    tls: ClientTls | None = None
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    metrics_addresses: tuple[Address, ...] = ()
    speaks_on_standard_output: bool = False


class Launcher:
    """Runs a plan.

    Args:
        plan: what to launch.
        on_serving: called with the path of Envoy's admin socket when a child serves, the first
            and every later one.
    """

    def __init__(self, plan: LaunchPlan, on_serving: Callable[[Path], None]) -> None:
        self._plan = plan
        self._on_serving = on_serving
        self._stop_asked = asyncio.Event()
        self._ever_served = False
        self._token = secrets.token_hex(16)
        self._relay_secret = secrets.token_hex(16) if plan.tls is not None else ""
        self._secret_files: SecretFiles | None = None

    def stop(self) -> None:
        """Ask for the end: drain, stop the child, return from `run`."""
        self._stop_asked.set()

    async def run(self) -> int:
        """Keep a child running until `stop` or until a child's exit is final.

        Returns:
            The exit status for this process: 0 after `stop`, else the child's.

        Raises:
            CannotStart: there is no shared libpython.
        """
        directory = Path(tempfile.mkdtemp(prefix="tianlu-registry-"))
        try:
            environment = child_environment(
                {
                    **self._plan.environment,
                    TOKEN_VARIABLE: self._token,
                    RELAY_SECRET_VARIABLE: self._relay_secret,
                    ADMIN_SOCKET_VARIABLE: str(directory / _ADMIN_SOCKET),
                }
            )
            with _stop_on_signals(self.stop):
                return await self._keep_running(directory, environment)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    async def _keep_running(self, directory: Path, environment: Mapping[str, str]) -> int:
        plan = EnvoyPlan(
            app=self._plan.app,
            addresses=self._plan.addresses,
            probe_socket=directory / "probe.sock",
            admin_socket=directory / _ADMIN_SOCKET,
            tls=self._tls_plan(directory),
            limits=self._plan.connections,
            metrics_addresses=self._plan.metrics_addresses,
        )
        config_path = _write_bootstrap(directory, plan)
        backoff = Backoff(self._plan.limits)
        while True:
            started = time.monotonic()
            status = await self._run_child(plan, config_path, environment)
            if self._stop_asked.is_set():
                return _EXIT_OK
            if is_final(status, ever_served=self._ever_served):
                _log.error("node_failed outcome=%r", describe_exit(status))
                return status
            backoff, pause = backoff.after_exit(time.monotonic() - started)
            _log.warning(
                "node_restarting after=%r pause_seconds=%.2f", describe_exit(status), pause
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_asked.wait(), pause)
            if self._stop_asked.is_set():
                return _EXIT_OK

    def _tls_plan(self, directory: Path) -> TlsPlan | None:
        tls = self._plan.tls
        if tls is None:
            return None
        self._secret_files = SecretFiles(tls, directory)
        return TlsPlan(
            transport_socket(tls, self._secret_files), directory / "relay.sock", self._relay_secret
        )

    async def _run_child(
        self, plan: EnvoyPlan, config_path: Path, environment: Mapping[str, str]
    ) -> int:
        """Start one child and stay with it to its end. Returns its exit status."""
        child = await Child.start(
            config_path,
            environment,
            self._plan.log_level,
            log_format=self._plan.log_format,
            standard_output=sys.stdout if self._plan.speaks_on_standard_output else sys.stderr,
        )
        exited = asyncio.create_task(child.wait())
        line = Line(plan.probe_socket, self._plan.connections.connections_max > 0)
        watching = asyncio.create_task(self._watch(child, plan, line))
        stopping = asyncio.create_task(self._stop_asked.wait())
        try:
            # The watch ends only after it has killed the child, or by an error.
            await asyncio.wait({exited, stopping, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
            elif not exited.done():
                watching.cancel()
                await asyncio.wait({watching})
                await self._stop_child(child, plan, line)
            return await exited
        finally:
            for task in (exited, watching, stopping):
                task.cancel()
            await asyncio.gather(exited, watching, stopping, return_exceptions=True)
            line.close()
            if child.exit_status is None:
                child.kill()
                await child.wait()

    async def _watch(self, child: Child, plan: EnvoyPlan, line: Line) -> None:
        """Probe the child until it is stuck, then kill it. Ends by cancellation otherwise."""
        await self._probe(line, child, plan)
        _log.error("node_stuck pid=%d outcome=killed", child.pid)
        child.kill()

    async def _probe(self, line: Line, child: Child, plan: EnvoyPlan) -> None:
        """Ask until the child is stuck."""
        limits = self._plan.limits
        health = Health(limits)
        started = time.monotonic()
        while not health.stuck(time.monotonic() - started):
            answered = await line.ask(ALIVE_PATH, {TOKEN_HEADER: self._token}, limits.probe_timeout)
            if answered and not health.served:
                self._ever_served = True
                _log.info("node_serving pid=%d seconds=%.2f", child.pid, time.monotonic() - started)
                self._tell_serving(plan.admin_socket)
            health = health.after_probe(answered)
            if self._secret_files is not None:
                self._secret_files.refresh()
            if health.failures:
                _log.warning("node_silent pid=%d probes=%d", child.pid, health.failures)
            await asyncio.sleep(limits.probe_interval if health.served else _STARTING_PROBE_SECONDS)

    def _tell_serving(self, admin_socket: Path) -> None:
        """Tell who wants to know. That a file cannot be written is no reason to stop probing."""
        try:
            self._on_serving(admin_socket)
        except OSError as error:
            _log.error("run_file_failed reason=%r", error.strerror or str(error))

    async def _stop_child(self, child: Child, plan: EnvoyPlan, line: Line) -> None:
        """Stop in order: streams are told to go elsewhere, calls in flight end, then the
        process."""
        limits = self._plan.limits
        patience = limits.stop_max
        headers = {TOKEN_HEADER: self._token}
        if not await line.ask(ALIVE_PATH, headers, _ADMIN_TIMEOUT_SECONDS):
            # It is starting or stuck: Envoy hears no signal then, and nobody waits for an answer.
            patience = limits.drain
        else:
            await line.ask(DRAIN_PATH, headers, _ADMIN_TIMEOUT_SECONDS, "POST")
            await request(
                plan.admin_socket,
                "POST",
                "/drain_listeners?graceful",
                timeout_seconds=_ADMIN_TIMEOUT_SECONDS,
            )
            await _until_idle(plan.admin_socket, limits.drain)
        status = await child.stop(patience)
        _log.info("node_stopped outcome=%r", describe_exit(status))


def _write_bootstrap(directory: Path, plan: EnvoyPlan) -> Path:
    path = directory / "envoy.json"
    path.write_text(json.dumps(bootstrap(plan), indent=1))
    return path


async def _until_idle(admin_socket: Path, seconds_max: float) -> None:
    """Wait until no call is in flight, or for `seconds_max`."""
    deadline = time.monotonic() + seconds_max
    while time.monotonic() < deadline:
        answer = await request(
            admin_socket,
            "GET",
            "/stats?filter=^http.clients.downstream_rq_active$",
            timeout_seconds=_ADMIN_TIMEOUT_SECONDS,
        )
        if answer is None or b"downstream_rq_active: 0" in answer[1]:
            return
        await asyncio.sleep(_STARTING_PROBE_SECONDS)


@contextlib.contextmanager
def _stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
