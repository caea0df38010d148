"""The composition root of `tianlu up`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tianlu_standalone.datadir import DataDir, StartError
from tianlu_standalone.nodes import RegistryNodes, open_nodes
from tianlu_standalone.parts import Part, platform_parts, registry_endpoints
from tianlu_standalone.preflight import (
    ListenAddress,
    check_exposure,
    check_python,
    check_room,
    claim_port,
)
from tianlu_standalone.process import START_SECONDS, PartState
from tianlu_standalone.shop import shop_parts
from tianlu_standalone.status import StatusServer
from tianlu_standalone.supervisor import Supervisor
from tianlu_standalone.users import ROOT, Users, switch_off, switch_on

DEMO_REQUESTS_PER_SECOND = 20.0
START_ATTEMPTS_MAX = 3
"""A part that dies this often before the platform was ever ready will not come up by itself."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for."""

    data_dir: Path
    listen: ListenAddress
    demo: bool = False
    allow_insecure_listen: bool = False
    control_hosts: tuple[str, ...] = ()
    nodes: int | None = None
    """Registry nodes; None: as many as the data directory has, one in a new one."""
    auth: bool | None = None
    """Whether authentication is to be on; None: as it was, off in a new one."""


async def run(options: Options) -> int:
    """Run the platform until SIGINT or SIGTERM; returns the exit code.

    Raises:
        StartError: it could not be started; nothing is left running.
    """
    check_python()
    check_exposure(options.listen, allowed=options.allow_insecure_listen)
    data = DataDir.open(options.data_dir)
    try:
        nodes = open_nodes(data, options.nodes)
        new = [node for node in nodes.nodes if not data.part(node.name).exists()]
        check_room(data.root, new_nodes=len(new))
        listen = claim_port(options.listen)
        return await _run_held(options, data, nodes, listen)
    finally:
        data.close()


async def _run_held(
    options: Options, data: DataDir, nodes: RegistryNodes, listen: ListenAddress
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # Children get their parent's death signal only while the parent lives; say what is going on.
    _say(f"tianlu {version('tianlu-standalone')}, data in {data.root}")
    entrance = f"http://{listen}"
    supervisor = Supervisor(data, entrance, _say)
    status_socket = data.socket("status")
    status_socket.unlink(missing_ok=True)
    status = StatusServer(supervisor, status_socket)
    status.start()
    try:
        users = Users.open(data, options.auth)

        def parts() -> tuple[Part, ...]:
            hosts = options.control_hosts
            return platform_parts(data, nodes, str(listen), status_socket, hosts, users)

        if await _registry_ready(options, supervisor, data, parts(), users, stop):
            supervisor.start(part for part in parts() if not part.registry)
            await _first_ready(supervisor, data, stop)
        if not stop.is_set():
            _announce(supervisor, entrance)
            if users.wanted:
                _say(_how_to_log_in(users, entrance))
            if options.demo:
                _start_demo(supervisor, data, nodes, users, entrance)
            await _until_stopped(supervisor, stop)
            _say("stopping")
    finally:
        await supervisor.stop()
        await status.stop()
    _say("stopped")
    return 0


async def _registry_ready(
    options: Options,
    supervisor: Supervisor,
    data: DataDir,
    parts: tuple[Part, ...],
    users: Users,
    stop: asyncio.Event,
) -> bool:
    """Start the registry, and see to authentication before anything that calls it is started, so
    that nothing is served to just anybody in between. False if somebody stops us first.

    Raises:
        StartError: a node keeps dying, or authentication cannot be switched.
    """
    nodes = [part for part in parts if part.registry]
    supervisor.start(nodes)
    if not users.wanted:
        return True
    if not await _first_ready(supervisor, data, stop):
        return False
    registry = ",".join(f"unix:{data.socket(part.name)}" for part in nodes)
    if options.auth is False:
        await switch_off(users, registry)
        _say("authentication is off: whoever reaches the registry may do everything")
    else:
        await switch_on(users, registry)
    return True


def _how_to_log_in(users: Users, entrance: str) -> str:
    return (
        "authentication is on; to call the registry as root:\n"
        f"  tianlu service list --endpoints {entrance.removeprefix('http://')} --user {ROOT}"
        f" --password-file {_relative(users.password_file(ROOT))}"
    )


async def _first_ready(supervisor: Supervisor, data: DataDir, stop: asyncio.Event) -> bool:
    """Wait until all parts serve; False if somebody stops us first.

    Raises:
        StartError: a part keeps dying.
    """
    ready = asyncio.ensure_future(supervisor.wait_started(START_ATTEMPTS_MAX))
    stopped = asyncio.ensure_future(stop.wait())
    patience = time.monotonic() + START_SECONDS
    try:
        while not ready.done() and not stopped.done():
            if time.monotonic() > patience:
                patience += START_SECONDS
                _say(f"still waiting for {_waited_for(supervisor)}; see logs/ in {data.root}")
            await asyncio.wait({ready, stopped}, timeout=0.2, return_when="FIRST_COMPLETED")
            process = supervisor.hopeless(START_ATTEMPTS_MAX)
            if process is not None:
                log = f"logs/{process.part.name}.log"
                raise StartError(
                    f"{process.part.name} does not start (its reason is above and in {log});"
                    " everything was stopped again"
                )
    finally:
        ready.cancel()
        stopped.cancel()
    return not stop.is_set()


def _waited_for(supervisor: Supervisor) -> str:
    return ", ".join(
        f"{process.part.name} ({process.state.value})"
        for process in supervisor.processes
        if process.state is not PartState.SERVING
    )


async def _until_stopped(supervisor: Supervisor, stop: asyncio.Event) -> None:
    while not stop.is_set():
        failed = supervisor.failed()
        if failed is not None:
            failed.result()
            raise RuntimeError(f"the task of {failed.get_name()} ended by itself")
        try:
            await asyncio.wait_for(stop.wait(), 1.0)
        except TimeoutError:
            continue


def _announce(supervisor: Supervisor, entrance: str) -> None:
    """Print a line a part, and the link for the first visit while the console has no user."""
    places = {
        "gateway": f"{entrance}  console, control APIs and service traffic",
        "console": f"{entrance}/console/",
    }
    first_visit = ""
    for process in supervisor.processes:
        name = process.part.name
        place = places.get(name) or ", ".join(_shown(process.addresses))
        _say(f"  {name:<10} {process.state.value:<8} {place}")
        if process.state is PartState.SERVING:
            first_visit = str(process.addresses.get("first_visit_path") or first_visit)
    if first_visit:
        _say(f"first visit: {entrance}{first_visit}")


def _shown(addresses: dict[str, object]) -> list[str]:
    shown: list[str] = []
    for key in ("client_urls", "http"):
        value = addresses.get(key)
        urls = value if isinstance(value, list) else [value]
        shown += [url for url in urls if isinstance(url, str) and url.startswith("http")]
    return shown


def _start_demo(
    supervisor: Supervisor, data: DataDir, nodes: RegistryNodes, users: Users, entrance: str
) -> None:
    addresses = {process.part.name: process.addresses for process in supervisor.processes}
    supervisor.start(
        shop_parts(
            data,
            entrance=entrance,
            registry=registry_endpoints(data, nodes),
            mesher=str(addresses["mesher"]["http"]),
            requests_per_second=DEMO_REQUESTS_PER_SECOND,
            users=users,
        )
    )
    _say(
        f"  demo       web -> orders -> inventory; try: curl {entrance}/s/default/web/\n"
        f"             kill one: tianlu demo kill orders --data-dir {_relative(data.root)}"
    )


def _relative(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _say(line: str) -> None:
    print(line, file=sys.stdout, flush=True)
