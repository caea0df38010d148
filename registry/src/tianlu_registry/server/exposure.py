"""Refuses to listen without TLS where others than this machine can connect."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from tianlu_registry.server.errors import EXIT_USAGE, CannotStart

_PLAIN_SCHEMES = frozenset({"http", ""})


def check_loopback(flag: str, urls: Iterable[str]) -> None:
    """Check that plaintext URLs are on loopback addresses.

    Raises:
        CannotStart: one is not, and names how to go on.
    """
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme in _PLAIN_SCHEMES and parts.hostname and not _is_loopback(parts.hostname):
            raise CannotStart(
                f"{flag}: {url} can be reached from other machines, and without TLS whoever "
                "reaches it reads and writes everything; use https with certificates, a loopback "
                "address, or --allow-insecure-listen if the network itself is trusted",
                EXIT_USAGE,
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return True  # cannot be bound: whoever tries says so better
    return all(ipaddress.ip_address(item[4][0]).is_loopback for item in found)
