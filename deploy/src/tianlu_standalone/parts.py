"""Which processes make up the platform, and how each is started and probed. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tianlu_standalone.datadir import DataDir
from tianlu_standalone.nodes import HOST, RegistryNode, RegistryNodes
from tianlu_standalone.users import Users


@dataclass(frozen=True, slots=True)
class Probe:
    """Where a part answers 200 while it serves, and another status while it lives but cannot.

    Attributes:
        path: of a GET request.
        socket: the unix socket to ask; None asks the address that the part's run file names.
        address_key: which of the run file's addresses to ask.
    """

    path: str
    socket: Path | None = None
    address_key: str = "http"


@dataclass(frozen=True, slots=True)
class Part:
    """A process to keep running.

    Attributes:
        name: unique; names its log and directory.
        arguments: the whole command.
        environment: set beside the supervisor's own.
        run_file: where the part says its addresses once it serves; None for one that never does.
        probe: how to ask whether it serves; None if it is not asked.
        stop_order: parts with the lowest number are stopped first.
        stop_seconds: how long it may take to end after SIGTERM before SIGKILL.
        stuck_seconds: how long it may leave its probe unanswered before it is killed. Parts with
            a launcher of their own get longer: that one knows better which process is stuck, and
            what need not die with it.
        group: parts of one group stand in for each other: the platform serves while more than half
            of them do. "" for a part that nothing stands in for.
        registry: whether it is a registry node, which the others call.
        demo: belongs to the demo shop, so its state does not count for the platform's readiness.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    run_file: Path | None = None
    probe: Probe | None = None
    stop_order: int = 0
    stop_seconds: float = 10.0
    stuck_seconds: float = 10.0
    group: str = ""
    registry: bool = False
    demo: bool = False


HISTORY_RETENTION = "1h"
"""Old revisions that the registry keeps. Without compaction its database would grow with every
write until the quota refuses more, on a platform that nobody looks after."""


def tianlu(*arguments: str) -> tuple[str, ...]:
    """Return the command that runs `tianlu ARGUMENTS` with this interpreter."""
    return (sys.executable, "-m", "tianlu", *arguments)


REGISTRY_GROUP = "registry"


def registry_endpoints(data: DataDir, nodes: RegistryNodes, first: int = 0) -> str:
    """Return the registry nodes' unix sockets, with commas between.

    Args:
        first: which of them comes first; round and round.
    """
    sockets = [f"unix:{data.socket(node.name)}" for node in nodes.nodes]
    turn = first % len(sockets)
    return ",".join(sockets[turn:] + sockets[:turn])


def platform_parts(
    data: DataDir,
    nodes: RegistryNodes,
    listen: str,
    status_socket: Path,
    control_hosts: tuple[str, ...] = (),
    users: Users | None = None,
) -> tuple[Part, ...]:
    """Return the registry nodes, mesher, console and gateway of one host.

    They find each other by unix sockets in the run directory, so none depends on a port that
    another one gets from the kernel and would lose in a restart. Each of them prefers another
    registry node.

    Args:
        data: a held data directory.
        nodes: its registry nodes.
        listen: HOST:PORT of the entrance.
        status_socket: where the supervisor answers /healthz, /readyz and /metrics.
        control_hosts: names under which the control plane is served besides IP addresses and
            localhost.
        users: who they are towards the registry; nobody while authentication is off.
    """
    console = f"unix:{data.socket('console')}"

    def run_file(name: str) -> Path:
        return data.run / f"{name}.json"

    def who(name: str) -> tuple[str, ...]:
        return users.flags(name) if users is not None else ()

    def common(name: str) -> tuple[str, ...]:
        return ("--data-dir", str(data.part(name)), "--run-file", str(run_file(name)))

    def registry(node: RegistryNode) -> Part:
        urls = f"http://{HOST}:{node.client_port},unix:{data.socket(node.name)}"
        return Part(
            node.name,
            tianlu(
                "registry",
                *common(node.name),
                *("--listen-client-urls", urls),
                *("--auto-compaction-mode", "periodic"),
                *("--auto-compaction-retention", HISTORY_RETENTION),
                *_cluster_flags(node, nodes),
            ),
            run_file=run_file(node.name),
            probe=Probe("/readyz", socket=data.socket(node.name)),
            stop_order=4,
            stuck_seconds=20.0,
            group=REGISTRY_GROUP if len(nodes.nodes) > 1 else "",
            registry=True,
        )

    return (
        *(registry(node) for node in nodes.nodes),
        Part(
            "mesher",
            tianlu(
                "mesher",
                *common("mesher"),
                *who("mesher"),
                *("--listen", "127.0.0.1:0", "--registry", registry_endpoints(data, nodes)),
                *("--snapshot-dir", str(data.root / "snapshot" / "mesher")),
            ),
            run_file=run_file("mesher"),
            probe=Probe("/readyz", address_key="admin"),
            stop_order=3,
            stuck_seconds=40.0,
        ),
        Part(
            "console",
            tianlu(
                "console",
                *common("console"),
                *who("console"),
                *("--listen", console, "--registry", registry_endpoints(data, nodes, 1)),
            ),
            run_file=run_file("console"),
            probe=Probe("/readyz", socket=data.socket("console")),
            stop_order=2,
        ),
        Part(
            "gateway",
            tianlu(
                "gateway",
                *common("gateway"),
                *who("gateway"),
                *("--listen", listen, "--console", console),
                *("--registry", registry_endpoints(data, nodes, 2)),
                *("--status", f"unix:{status_socket}"),
                *("--control-host", ",".join(control_hosts)),
                *("--snapshot-dir", str(data.root / "snapshot" / "gateway")),
            ),
            run_file=run_file("gateway"),
            probe=Probe("/readyz", address_key="admin"),
            stop_order=1,
            stuck_seconds=40.0,
        ),
    )


def _cluster_flags(node: RegistryNode, nodes: RegistryNodes) -> tuple[str, ...]:
    """Return what makes a node one of several; the only one needs no name and no peer URL, and
    had neither when directories were made before there was a choice."""
    if len(nodes.nodes) == 1:
        return ()
    return (
        *("--name", node.name),
        *("--listen-peer-urls", node.peer_url),
        *("--initial-advertise-peer-urls", node.peer_url),
        *("--initial-cluster", nodes.initial_cluster),
        *("--initial-cluster-state", "new"),
        *("--initial-cluster-token", nodes.token),
    )
