"""Where members listen: etcd's peer URLs, and Unix sockets.

http://host:port    TCP, plaintext
https://host:port   TCP, TLS
unix:/path          a Unix socket, plaintext; also unix:///path
unixs:/path         a Unix socket, TLS
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from tianlu_registry.errors import InvalidArgument

UNIX_PATH_BYTES_MAX: Final = 107
"""Longest path of a Unix socket on Linux. Source: unix(7), sun_path."""


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """One address, to listen at or to dial.

    Attributes:
        host, port: of a TCP address; "" and 0 for a Unix socket. To listen, port 0 lets the kernel
            choose.
        path: of a Unix socket; "" for TCP.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    is_tls: bool = False

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            InvalidArgument: it is none that members can listen at; says what is wrong.
        """
        scheme, colon, rest = url.partition(":")
        if colon and scheme in ("http", "https"):
            return cls._parse_tcp(url, is_tls=scheme == "https")
        if colon and scheme in ("unix", "unixs"):
            path = rest.removeprefix("//")
            if not path or len(path.encode()) > UNIX_PATH_BYTES_MAX:
                raise _wrong(url, f"a socket's path has 1 to {UNIX_PATH_BYTES_MAX} bytes")
            return cls(path=path, is_tls=scheme == "unixs")
        raise _wrong(url, "write http://host:port, https://host:port, unix:/path or unixs:/path")

    @classmethod
    def _parse_tcp(cls, url: str, *, is_tls: bool) -> Self:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise _wrong(url, str(error)) from error
        if not host or port is None:
            raise _wrong(url, "it must have a host and a port")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
            raise _wrong(url, "it must have nothing but a host and a port")
        return cls(host=host, port=port, is_tls=is_tls)

    @property
    def url(self) -> str:
        secure = "s" if self.is_tls else ""
        if self.path:
            return f"unix{secure}:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{secure}://{host}:{self.port}"


def _wrong(url: str, problem: str) -> InvalidArgument:
    return InvalidArgument("peer_url", f"{url!r} cannot be: {problem}")
