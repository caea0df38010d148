"""The launcher: `python -m tianlu_mesher.launch.process PLAN`.

Its duties, in order:
1. hold the status socket, which `prepare` opened, so that its address outlives agents;
2. start Envoy and the agent; end with one clear line if Envoy cannot start at all;
3. learn Envoy's port, keep it for restarts, and write the run file once the proxy serves;
4. start again whichever child dies or is stuck;
5. on SIGTERM or SIGINT: tell callers to leave, wait for what is in flight, stop both.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from tianlu_mesher.launch import ports
from tianlu_mesher.launch.child import Child, ChildSpec
from tianlu_mesher.launch.plan import LaunchPlan
from tianlu_mesher.local_http import LocalAnswer, ask

logger = logging.getLogger("tianlu_mesher.launch.process")

_STARTING_PROBE_SECONDS = 0.02
_DRAIN_PROBE_SECONDS = 0.05
# Callers must have seen that we leave before the last idle moment ends the drain.
_DRAIN_SECONDS_MIN = 0.2
_LOG_FORMAT = "%(levelname)s %(name)s %(message)s"
_ENVOY_LOG_FORMAT = "%l envoy.%n %v"
_ENVOY_LOG_LEVELS = {"DEBUG": "info", "INFO": "warning", "WARNING": "warning", "ERROR": "error"}
_EXIT_FAILED = 1


class Launcher:
    """Runs one plan. Made inside the event loop."""

    def __init__(self, plan: LaunchPlan, status: socket.socket) -> None:
        self._plan = plan
        self._status = status
        self._status_address: tuple[str, int] = status.getsockname()[:2]
        self._stopping = asyncio.Event()
        self._envoy = Child(
            ChildSpec("envoy", self._envoy_arguments, self._envoy_answers, stop_seconds=3.0)
        )
        self._agent = Child(
            ChildSpec(
                "agent",
                self._agent_arguments,
                self._agent_answers,
                pass_fds=(status.fileno(),),
                stuck_seconds=30.0,  # its start counts, and a busy host takes its time
            )
        )

    async def run(self) -> int:
        """Run until told to stop; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._agent.run())
            tasks.create_task(self._envoy.run())
            starting = tasks.create_task(self._start())
            stopping = tasks.create_task(self._stopping.wait())
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and starting.result():
                await stopping
                await self._drain()
            starting.cancel()
            stopping.cancel()
            self._remove_run_file()
            await self._envoy.stop()
            await self._agent.stop()
        failed = starting.done() and not starting.cancelled() and not starting.result()
        return _EXIT_FAILED if failed and not self._stopping.is_set() else 0

    async def _start(self) -> bool:
        """Wait until the proxy serves and say so; False if a child cannot start at all."""
        listen = await self._listening_address()
        if listen:
            await self._until_ready()
        failed = self._failed_child()
        if failed:
            _complain(self._plan.part, f"{failed} could not start; what it said stands above")
            return False
        self._write_run_file(listen)
        logger.info("launch.start.complete part=%s listen=%s", self._plan.part, listen)
        return True

    async def _until_ready(self) -> None:
        """Return once the proxy serves, or never will."""
        while not self._failed_child():
            if (await self._ask_agent("/readyz")).status == HTTPStatus.OK:
                return
            await asyncio.sleep(_STARTING_PROBE_SECONDS)

    def _failed_child(self) -> str:
        """Return which child ended by itself; "" if none did. One that was killed is not blamed."""
        children = {"Envoy": self._envoy, "the agent": self._agent}
        return next((name for name, child in children.items() if (child.last_exit or 0) > 0), "")

    async def _listening_address(self) -> str:
        """Return where Envoy listens, as soon as it knows; "" if a child failed before."""
        if not self._plan.listen_host:
            return self._plan.listen
        while not self._failed_child():
            answer = await ask("/listeners?format=json", unix_socket=self._plan.admin_socket)
            port = _listener_port(answer.content)
            if port:
                self._keep_port(port)
                host = self._plan.listen_host
                return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            await asyncio.sleep(_STARTING_PROBE_SECONDS)
        return ""

    def _keep_port(self, port: int) -> None:
        path = Path(self._plan.bootstrap)
        content = json.loads(path.read_text())
        listener = content["static_resources"]["listeners"][0]
        listener["address"]["socket_address"]["port_value"] = port
        path.write_text(json.dumps(content, indent=1))
        ports.remember(
            Path(self._plan.ports_file), {"http": port, "admin": self._status_address[1]}
        )

    def _write_run_file(self, listen: str) -> None:
        if not self._plan.run_file:
            return
        host, port = self._status_address
        admin = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        content = {
            "part": self._plan.part,
            "pid": os.getpid(),
            "ready": True,
            "addresses": {"http": listen, "admin": admin},
        }
        path = Path(self._plan.run_file)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(content, indent=1))
        temporary.replace(path)

    def _remove_run_file(self) -> None:
        if self._plan.run_file:
            Path(self._plan.run_file).unlink(missing_ok=True)

    async def _drain(self) -> None:
        """Have callers leave, and wait for requests in flight, at most `drain_seconds`."""
        if self._plan.drain_seconds <= 0:
            return
        logger.info("launch.drain.started seconds=%.1f", self._plan.drain_seconds)
        admin = self._plan.admin_socket
        await ask("/healthcheck/fail", unix_socket=admin, method="POST")
        await ask("/drain_listeners?graceful&skip_exit", unix_socket=admin, method="POST")
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < self._plan.drain_seconds:
            if elapsed >= _DRAIN_SECONDS_MIN and await self._idle():
                break
            await asyncio.sleep(_DRAIN_PROBE_SECONDS)
        logger.info("launch.drain.complete seconds=%.1f", time.monotonic() - started)

    async def _idle(self) -> bool:
        name = f"http.{self._plan.part}.downstream_rq_active"
        answer = await ask(f"/stats?filter=^{name}$", unix_socket=self._plan.admin_socket)
        return answer.content.strip() in {f"{name}: 0".encode(), b""}

    def _envoy_arguments(self) -> tuple[str, ...]:
        plan = self._plan
        return (
            plan.envoy,
            *("--config-path", plan.bootstrap),
            *("--concurrency", str(plan.concurrency)),
            *("--drain-time-s", str(max(1, round(plan.drain_seconds)))),
            *("--log-level", _ENVOY_LOG_LEVELS[plan.log_level]),
            *("--log-format", _ENVOY_LOG_FORMAT),
            "--disable-hot-restart",
            "--reject-unknown-dynamic-fields",
        )

    def _agent_arguments(self) -> tuple[str, ...]:
        return (
            sys.executable,
            *("-m", "tianlu_mesher.agent.process"),
            self._plan.agent_config,
            str(self._status.fileno()),
        )

    async def _envoy_answers(self) -> bool:
        return (await ask("/ready", unix_socket=self._plan.admin_socket)).status != 0

    async def _agent_answers(self) -> bool:
        return (await self._ask_agent("/healthz")).status == HTTPStatus.OK

    async def _ask_agent(self, path: str) -> LocalAnswer:
        return await ask(path, address=self._status_address)


def _listener_port(content: bytes) -> int:
    """Return the port in the answer to /listeners?format=json; 0 while there is none."""
    with suppress(ValueError, KeyError):
        for listener in json.loads(content).get("listener_statuses", []):
            return int(listener["local_address"]["socket_address"]["port_value"])
    return 0


def _complain(part: str, text: str) -> None:
    print(f"tianlu {part}: {text}", file=sys.stderr, flush=True)


def main(path: str) -> int:
    """Run the plan in the file `path`."""
    plan = LaunchPlan.read(Path(path))
    logging.basicConfig(level=plan.log_level, format=_LOG_FORMAT, stream=sys.stderr)
    status = socket.socket(fileno=plan.status_fd)
    _allow_many_connections()

    async def run() -> int:
        return await Launcher(plan, status).run()

    return asyncio.run(run())


def _allow_many_connections() -> None:
    """Raise the limit on open files as far as it may be: each connection of Envoy is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
