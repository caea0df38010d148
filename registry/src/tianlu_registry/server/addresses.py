"""Listen addresses: etcd's URL flags, made into what Envoy binds and other programs dial.

Ports are reserved before Envoy starts, with a bound socket that never listens: port 0 becomes a
real number that the node can advertise, and the same one after every restart of the child.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tianlu_registry.server.errors import (
    EXIT_CANNOT_CREATE,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    CannotStart,
)

UNIX_PATH_BYTES_MAX = 107
"""Longest path of a Unix socket on Linux. Source: unix(7), sun_path."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A numeric host and a port; port 0 lets the kernel choose."""

    host: str
    port: int
    is_tls: bool = False

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """An absolute path of a Unix socket."""

    path: Path
    is_tls: bool = False

    @property
    def url(self) -> str:
        return f"{'unixs' if self.is_tls else 'unix'}:{self.path}"


Address = TcpAddress | UnixAddress


def parse_listen_urls(flag: str, text: str) -> tuple[Address, ...]:
    """Return the addresses of a comma-separated list of ``http://host:port``, ``https://host:port``,
    ``unix:path`` and ``unixs:path``.

    Args:
        flag: the flag's name, for the error.

    Raises:
        CannotStart: names the flag and the URL that cannot be.
    """
    urls = [url.strip() for url in text.split(",") if url.strip()]
    if not urls:
        raise CannotStart(
            f"{flag}: give at least one URL, such as http://127.0.0.1:2379", EXIT_USAGE
        )
    addresses = tuple(_parse_listen_url(flag, url) for url in urls)
    for address in addresses:
        if addresses.count(address) > 1 and not _kernel_chooses(address):
            raise CannotStart(f"{flag}: {address.url} is given twice", EXIT_USAGE)
    return addresses


def _kernel_chooses(address: Address) -> bool:
    return isinstance(address, TcpAddress) and address.port == 0


def _parse_listen_url(flag: str, url: str) -> Address:
    if url.startswith(("unix:", "unixs:")):
        return _unix_address(flag, url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise CannotStart(f"{flag}: {url} is not a URL: {error}", EXIT_USAGE) from error
    is_web = parts.scheme in ("http", "https")
    if not is_web or not host or port is None or parts.path not in ("", "/"):
        raise CannotStart(
            f"{flag}: {url} is not of the form http://host:port, https://host:port, unix:/path or "
            "unixs:/path",
            EXIT_USAGE,
        )
    return TcpAddress(_numeric_host(flag, url, host), port, parts.scheme == "https")


def _unix_address(flag: str, url: str) -> UnixAddress:
    scheme, _, rest = url.partition(":")
    text = rest.removeprefix("//")
    path = Path(text).absolute()
    if not text or len(os.fsencode(path)) > UNIX_PATH_BYTES_MAX:
        raise CannotStart(
            f"{flag}: {url} needs a path of 1 to {UNIX_PATH_BYTES_MAX} bytes", EXIT_USAGE
        )
    return UnixAddress(path, scheme == "unixs")


def _numeric_host(flag: str, url: str, host: str) -> str:
    """Return the IP address to bind; of a name with several, the first IPv4 one."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise CannotStart(f"{flag}: {url}: cannot resolve {host}: {error}", EXIT_USAGE) from error
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    return str(found[0][4][0])


class Reservation:
    """Holds the ports of a set of addresses, so that Envoy and only Envoy of this user can bind
    them.

    Both the reserving sockets and Envoy's set SO_REUSEPORT, which lets them share the port; the
    kernel gives connections only to the one that listens. Use as a context manager.
    """

    def __init__(self, flag: str, addresses: tuple[Address, ...]) -> None:
        """Reserve every address.

        Raises:
            CannotStart: one is taken or may not be bound; nothing stays reserved.
        """
        self._sockets: list[socket.socket] = []
        reserved: list[Address] = []
        try:
            for address in addresses:
                if isinstance(address, TcpAddress):
                    reserved.append(self._reserve(flag, address))
                else:
                    _check_unix_path(flag, address)
                    reserved.append(address)
        except BaseException:
            self.close()
            raise
        self.addresses: tuple[Address, ...] = tuple(reserved)

    def _reserve(self, flag: str, address: TcpAddress) -> TcpAddress:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        try:
            if address.port != 0:
                _check_free(family, address)
            holder = socket.socket(family, socket.SOCK_STREAM)
            self._sockets.append(holder)
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind((address.host, address.port))
        except OSError as error:
            raise _cannot_bind(flag, address, error) from error
        return replace(address, port=holder.getsockname()[1])

    def close(self) -> None:
        """Give the ports back."""
        for holder in self._sockets:
            holder.close()
        self._sockets.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _check_free(family: int, address: TcpAddress) -> None:
    """Bind without SO_REUSEPORT: fails if anybody has the port, even another node of this user."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address.host, address.port))


def _cannot_bind(flag: str, address: TcpAddress, error: OSError) -> CannotStart:
    if error.errno == errno.EADDRINUSE:
        problem = "the port is taken by another process; stop that one or choose another port"
    elif error.errno == errno.EADDRNOTAVAIL:
        problem = "this machine does not have that address"
    elif error.errno == errno.EACCES:
        problem = "this user may not bind that port; choose one above 1023"
    else:
        problem = str(error.strerror or error)
    return CannotStart(f"{flag}: {address.url}: {problem}", EXIT_UNAVAILABLE)


def _check_unix_path(flag: str, address: UnixAddress) -> None:
    """Refuse a socket that somebody serves; a left-over one is replaced by Envoy."""
    directory = address.path.parent
    if not os.access(directory, os.W_OK | os.X_OK):
        problem = "is not writable" if directory.is_dir() else "does not exist"
        raise CannotStart(
            f"{flag}: {address.url}: directory {directory} {problem}", EXIT_CANNOT_CREATE
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(address.path))
        except OSError:
            return
    raise CannotStart(
        f"{flag}: {address.url}: another process serves this socket", EXIT_UNAVAILABLE
    )
