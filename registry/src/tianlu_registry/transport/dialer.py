"""Opening connections to other members."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

from tianlu_registry.errors import InvalidArgument, RegistryError
from tianlu_registry.raft import MemberId
from tianlu_registry.transport.addresses import PeerAddress
from tianlu_registry.transport.connection import Connection, connecting
from tianlu_registry.transport.errors import PeerRefused, PeerUnreachable
from tianlu_registry.transport.handler import PeerIdentity
from tianlu_registry.transport.handshake import Remote, greet, silent_checks_max
from tianlu_registry.transport.limits import TransportLimits
from tianlu_registry.transport.tls import PeerTls, describe_tls_error

ConnectionMaker = Callable[[], Connection]


class Dialer:
    """Dials one member's URLs, another one at every attempt.

    Args:
        urls: at least one.
        receiver: who should be there; NO_MEMBER for anybody.
        make: makes the connection's protocol.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        identity: PeerIdentity,
        urls: Sequence[str],
        receiver: MemberId,
        *,
        tls: PeerTls | None,
        limits: TransportLimits,
        make: ConnectionMaker,
    ) -> None:
        self._loop = loop
        self._identity = identity
        self._urls = cycle(urls)
        self._receiver = receiver
        self._tls = tls
        self._limits = limits
        self._make = make

    async def dial(self, kind: int) -> tuple[Connection, Remote]:
        """Connect to the next URL and shake hands, within the limits' time.

        Raises:
            RegistryError: why there is no connection, with the URL.
        """
        url = next(self._urls)
        try:
            address = PeerAddress.parse(url)
            async with asyncio.timeout(self._limits.connect_seconds):
                sock = await _connect(self._loop, address)
            async with asyncio.timeout(self._limits.handshake_seconds):
                connection = await self._wrap(sock, address)
                remote = await self._greet(connection, kind)
        except TimeoutError as error:
            raise PeerUnreachable(f"tianlu: {url}: no answer in time") from error
        except OSError as error:
            raise PeerUnreachable(f"tianlu: {url}: {_describe(error)}") from error
        except ValueError as error:  # a host name that cannot be
            raise PeerUnreachable(f"tianlu: {url}: {error}") from error
        except InvalidArgument as error:
            raise PeerUnreachable(f"tianlu: {error}") from error
        except PeerRefused as error:
            raise PeerRefused(_at(url, error)) from error
        except RegistryError as error:
            raise PeerUnreachable(_at(url, error)) from error
        connection.establish(self._limits.frame_bytes_max, silent_checks_max(kind))
        return connection, remote

    async def _greet(self, connection: Connection, kind: int) -> Remote:
        try:
            return await greet(connection, self._identity, kind, self._receiver)
        except BaseException:
            connection.close()
            raise

    async def _wrap(self, sock: socket.socket, address: PeerAddress) -> Connection:
        """Make a connection of a connected socket, which it owns from now on."""
        try:
            context = self._context(address)
        except BaseException:
            sock.close()
            raise
        server_hostname = (address.host or "localhost") if context else None
        return await connecting(
            self._loop.create_connection(
                self._make, sock=sock, ssl=context, server_hostname=server_hostname
            )
        )

    def _context(self, address: PeerAddress) -> ssl.SSLContext | None:
        if not address.is_tls:
            return None
        if self._tls is None:
            raise PeerUnreachable("tianlu: this member has no TLS settings to dial https with")
        return self._tls.client_context()


class Backoff:
    """The waits between attempts: twice the last one, less up to half of it by chance.

    Args:
        jitter: returns a number in [0, 1).
    """

    def __init__(self, seconds_min: float, seconds_max: float, jitter: Callable[[], float]) -> None:
        self._seconds_min = seconds_min
        self._seconds_max = seconds_max
        self._jitter = jitter
        self._seconds = seconds_min

    def next(self) -> float:
        """Return how long to wait now."""
        seconds, self._seconds = self._seconds, min(self._seconds * 2, self._seconds_max)
        return seconds * (1 - self._jitter() / 2)

    def reset(self) -> None:
        """Begin with short waits again."""
        self._seconds = self._seconds_min


async def _connect(loop: asyncio.AbstractEventLoop, address: PeerAddress) -> socket.socket:
    """Return a socket that is connected to the address; a host name's addresses are tried in turn.

    Raises:
        OSError: of the last one.
    """
    if address.path:
        return await _connect_to(loop, socket.AF_UNIX, address.path)
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    for family, _, _, _, where in found[:-1]:
        try:
            return await _connect_to(loop, family, where)
        except OSError:
            continue
    family, _, _, _, where = found[-1]
    return await _connect_to(loop, family, where)


async def _connect_to(
    loop: asyncio.AbstractEventLoop, family: int, where: tuple[Any, ...] | str
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _describe(error: OSError) -> str:
    return describe_tls_error(error) if isinstance(error, ssl.SSLError) else _one_line(error)


def _one_line(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).splitlines()[0]


def _at(url: str, error: RegistryError) -> str:
    return f"tianlu: {url}: {str(error).removeprefix('tianlu: ')}"
