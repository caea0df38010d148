"""The registry nodes of a data directory: how many, and where each is reached; kept in nodes.json.

Peer URLs are a part of a member's identity, so their ports are chosen once, when the directory is
made, and stay. They lie outside of the range from which the kernel gives ports to outgoing
connections: a node that is down for a moment must find its port free when it comes back.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import secrets
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tianlu_standalone.datadir import DataDir, StartError

COUNTS = (1, 3, 5)
"""Even numbers survive no more failures than the odd ones below them."""

HOST = "127.0.0.1"
_PORT_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_PORT_MIN = 10_000
_PORT_DRAWS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class RegistryNode:
    """One registry node.

    Attributes:
        name: of the part and of the member.
        client_port: on the loopback address; 0: the kernel chooses at each start.
        peer_port: where other members reach it; 0 for the only node.
    """

    name: str
    client_port: int = 0
    peer_port: int = 0

    @property
    def peer_url(self) -> str:
        return f"http://{HOST}:{self.peer_port}"


@dataclass(frozen=True, slots=True)
class RegistryNodes:
    """All registry nodes of a data directory.

    Attributes:
        token: keeps their cluster apart from those of other directories.
    """

    nodes: tuple[RegistryNode, ...]
    token: str

    @property
    def initial_cluster(self) -> str:
        """What `--initial-cluster` takes."""
        return ",".join(f"{node.name}={node.peer_url}" for node in self.nodes)


def open_nodes(data: DataDir, asked: int | None) -> RegistryNodes:
    """Return the nodes of a data directory; a new one gets as many as asked, or one.

    Args:
        data: a held data directory.
        asked: what --nodes says; None: as many as the directory has.

    Raises:
        StartError: the directory has another number of nodes, its nodes.json is damaged, or a
            peer port of it is taken.
    """
    kept = _kept(data)
    if kept is None:
        made = _made(asked or 1)
        _write(data, made)
        return made
    if asked is not None and asked != len(kept.nodes):
        count = len(kept.nodes)
        raise StartError(
            f"--nodes: data directory {data.root} was made with {count} registry"
            f" node{'s' if count > 1 else ''}, not {asked}; say --nodes {count} or leave it out,"
            " or choose another --data-dir for a new platform"
        )
    usable = _with_free_ports(kept)
    if usable != kept:
        _write(data, usable)
    return usable


def _kept(data: DataDir) -> RegistryNodes | None:
    path = _path(data)
    try:
        content = json.loads(path.read_text())
        nodes = tuple(RegistryNode(**each) for each in content["nodes"])
        kept = RegistryNodes(nodes, content["token"])
    except FileNotFoundError:
        # Made before there was a choice.
        return _made(1) if data.part("registry").exists() else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartError(
            f"cannot read {path} ({error}): it says at which ports the registry nodes know each"
            " other; restore it, or choose another --data-dir"
        ) from error
    # Nothing was ever started: whoever asks next may ask for another number.
    return kept if any(data.part(node.name).exists() for node in nodes) else None


def _made(count: int) -> RegistryNodes:
    token = f"tianlu-{secrets.token_hex(8)}"
    if count == 1:
        return RegistryNodes((RegistryNode("registry"),), token)
    with contextlib.ExitStack() as held:
        ports = [held.enter_context(_free_port()) for _ in range(2 * count)]
        nodes = tuple(
            RegistryNode(f"registry-{number}", ports.pop(), ports.pop())
            for number in range(1, count + 1)
        )
    return RegistryNodes(nodes, token)


def _with_free_ports(kept: RegistryNodes) -> RegistryNodes:
    """Return the nodes with client ports that are free now.

    Raises:
        StartError: a peer port is taken.
    """
    with contextlib.ExitStack() as held:
        nodes = []
        for node in kept.nodes:
            if node.peer_port and not _is_free(node.peer_port):
                raise StartError(
                    f"port {node.peer_port}, at which {node.name} is known to the other registry"
                    " nodes, is taken by another process; stop that one"
                )
            if node.client_port and not _is_free(node.client_port):
                nodes.append(replace(node, client_port=held.enter_context(_free_port())))
            else:
                nodes.append(node)
    return replace(kept, nodes=tuple(nodes))


def _write(data: DataDir, made: RegistryNodes) -> None:
    content: dict[str, Any] = {"token": made.token, "nodes": [asdict(node) for node in made.nodes]}
    temporary = _path(data).with_suffix(".tmp")
    try:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        temporary.replace(_path(data))
    except OSError as error:
        raise StartError(f"cannot write {_path(data)}: {error.strerror}") from error


def _path(data: DataDir) -> Path:
    return data.root / "nodes.json"


@contextlib.contextmanager
def _free_port() -> Iterator[int]:
    """Hold a free port, so that another call finds another one; the kernel's choice if need be."""
    with socket.socket() as holder:
        for port in itertools.chain(_candidates(), (0,)):
            try:
                holder.bind((HOST, port))
            except OSError:
                continue
            yield holder.getsockname()[1]
            return
    raise StartError("this machine has no free port for the registry nodes")


def _candidates() -> Iterator[int]:
    try:
        low = int(_PORT_RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return
    for _ in range(_PORT_DRAWS_MAX if low > _PORT_MIN else 0):
        yield random.randrange(_PORT_MIN, low)  # noqa: S311 -- spreads, guards nothing


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
