"""Addresses as operators write them: HOST:PORT, http://HOST:PORT, unix:PATH; the registry's also
https://HOST:PORT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tianlu_mesher.errors import InvalidOption
from tianlu_mesher.resources.socket_address import SocketAddress

_TLS = "https://"
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
_HOST_NAME_BYTES_MAX = 253
_SOCKET_PATH_BYTES_MAX = 107
"""What a unix socket's path may have on Linux (unix(7): sun_path, less its final zero)."""


def parse_address(option: str, text: str, *, port_may_be_zero: bool = False) -> SocketAddress:
    """Read one address.

    Args:
        option: the flag that it was given with, for the message.

    Raises:
        InvalidOption: it cannot be read, or a socket's path is too long.
    """
    if text.startswith("unix:"):
        return _parse_unix(option, text.removeprefix("unix:"))
    url = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = url.port
    except ValueError:
        port = None
    if url.scheme != "http" or not url.hostname or port is None or url.path not in ("", "/"):
        wanted = "write HOST:PORT, http://HOST:PORT or unix:PATH"
        raise InvalidOption(option, f"{text!r} is no address; {wanted}")
    if port == 0 and not port_may_be_zero:
        raise InvalidOption(option, f"{text!r}: port 0 is no port to connect to")
    return SocketAddress(host=url.hostname, port=port)


@dataclass(frozen=True, slots=True)
class RegistryAddress:
    """Where a registry node serves. Its text is an endpoint as the SDK takes it.

    Attributes:
        tls: whether to speak TLS there.
    """

    address: SocketAddress
    tls: bool = False

    def __str__(self) -> str:
        return f"https://{self.address}" if self.tls else str(self.address)


def parse_registry(option: str, text: str) -> tuple[RegistryAddress, ...]:
    """Read the registry's addresses, separated by commas, at least one.

    Raises:
        InvalidOption: there is none, or one cannot be read.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise InvalidOption(option, "names no address")
    found = []
    for part in parts:
        tls = part.startswith(_TLS)
        plain = f"http://{part.removeprefix(_TLS)}" if tls else part
        found.append(RegistryAddress(parse_address(option, plain), tls))
    return tuple(dict.fromkeys(found))


def parse_host_names(option: str, text: str) -> tuple[str, ...]:
    """Read host names separated by commas; none is fine. They come back in lower case.

    Raises:
        InvalidOption: one is no host name.
    """
    names = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for name in names:
        if not _HOST_NAME.fullmatch(name) or len(name) > _HOST_NAME_BYTES_MAX:
            raise InvalidOption(option, f"{name!r} is no host name; write it without a port")
    return names


def _parse_unix(option: str, path: str) -> SocketAddress:
    if path.startswith("///"):
        path = path.removeprefix("//")
    if not path:
        raise InvalidOption(option, "unix: needs a path")
    absolute = str(Path(path).absolute())
    if len(absolute.encode()) > _SOCKET_PATH_BYTES_MAX:
        limit = _SOCKET_PATH_BYTES_MAX
        raise InvalidOption(option, f"{absolute}: a socket's path has at most {limit} bytes")
    return SocketAddress(path=absolute)
