"""Connections per client: counts those that this process has accepted, and ends the excess.

Envoy can limit connections in all, but not those of one address. So every second the kernel's table
is read (`/proc/self/net/tcp`), and an address that has more than its share loses its newest
connections: they are shut down, which Envoy takes for the peer's doing. An address can be over its
share for a second, and gains a closed connection.

Reading the table costs about a microsecond for each connection, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import re
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

INTERVAL_SECONDS: Final = 1.0

_TABLES: Final = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
_DESCRIPTORS: Final = Path("/proc/self/fd")
_ESTABLISHED: Final = "01"
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Connection:
    """An accepted connection: who is at the other end, and the kernel's number of our end."""

    host: str
    port: int
    inode: int


def read_table(text: str, ports: frozenset[int]) -> Iterator[Connection]:
    """Return the established connections to some local ports.

    Args:
        text: of `/proc/net/tcp` or `tcp6`.

    Source: Linux, Documentation/networking/proc_net_tcp.rst.
    """
    for line in text.splitlines()[1:]:
        _, local, remote, state, _, _, _, _, _, inode, *_ = line.split()
        if state == _ESTABLISHED and int(local.rpartition(":")[2], 16) in ports:
            host, _, port = remote.rpartition(":")
            yield Connection(_address(host), int(port, 16), int(inode))


def _address(text: str) -> str:
    """Return an address from words of four bytes in this machine's order, which is little-endian
    wherever Envoy's wheels run."""
    words = bytes.fromhex(text)
    data = b"".join(words[start : start + 4][::-1] for start in range(0, len(words), 4))
    address = ipaddress.ip_address(data)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def excess(
    connections: Iterable[Connection],
    known: frozenset[Connection],
    per_client_max: int,
    client_of: Callable[[str], str | None],
) -> list[Connection]:
    """Return the connections to end: of each client those beyond its share, the newest first.

    Args:
        known: connections that were there a while ago; they are older than the others.
        client_of: whose an address is; None for one that is not limited.
    """
    by_client: defaultdict[str, list[Connection]] = defaultdict(list)
    for connection in connections:
        client = client_of(connection.host)
        if client is not None:
            by_client[client].append(connection)
    ended = []
    for theirs in by_client.values():
        if len(theirs) > per_client_max:
            theirs.sort(key=lambda connection: connection not in known)
            ended += theirs[per_client_max:]
    return ended


class PeerConnections:
    """Keeps every client within its share, while its block runs.

    Args:
        ports: local ports where clients connect.
        per_client_max: connections of one client.
        client_of: see `excess`.

    Attributes:
        ended: connections ended so far.
    """

    def __init__(
        self, ports: Iterable[int], per_client_max: int, client_of: Callable[[str], str | None]
    ) -> None:
        self._ports = frozenset(ports)
        self._per_client_max = per_client_max
        self._client_of = client_of
        self._known: frozenset[Connection] = frozenset()
        self.ended = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look every second until the block ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Look once, and end what is too much."""
        try:
            found = [
                connection
                for table in _TABLES
                if table.exists()
                for connection in read_table(table.read_text(), self._ports)
            ]
            ended = excess(found, self._known, self._per_client_max, self._client_of)
            self._known = frozenset(found).difference(ended)
            if ended:
                self.ended += _end(ended)
                _log.warning("connections_ended count=%d reason=too_many_of_a_client", len(ended))
        except (OSError, ValueError) as error:
            _log.warning("connections_uncounted reason=%r", str(error))


def _end(connections: Iterable[Connection]) -> int:
    """Shut connections down; returns how many were still there."""
    by_inode = {connection.inode: connection for connection in connections}
    count = 0
    for descriptor in tuple(_DESCRIPTORS.iterdir()):
        with contextlib.suppress(OSError):  # it may be gone, or another's by now
            match = _SOCKET.fullmatch(str(descriptor.readlink()))
            connection = by_inode.get(int(match[1])) if match else None
            if connection is None:
                continue
            # A descriptor of our own: Envoy may close its one, and reuse the number, meanwhile.
            with socket.socket(fileno=os.dup(int(descriptor.name))) as own:
                if own.getpeername()[1] == connection.port:
                    own.shutdown(socket.SHUT_RDWR)
                    count += 1
    return count
