"""Which address of this host callers on other hosts can reach."""

from __future__ import annotations

import os
import socket
from typing import Final

from tianlu._endpoint import Endpoint

ADVERTISE_VARIABLE: Final = "TIANLU_ADVERTISE_ADDRESS"
_ELSEWHERE: Final = "192.0.2.1"
"""An address that is never on this host (RFC 5737): its route shows the default interface."""


def advertised_address(explicit: str | None, endpoint: Endpoint) -> str:
    """Return the address to register.

    In this order: what the caller said; TIANLU_ADVERTISE_ADDRESS; the address of the interface that
    leads to the registry (for a registry on a Unix socket: the interface of the default route); the
    loopback address. Nothing is sent to find it out.
    """
    return explicit or os.environ.get(ADVERTISE_VARIABLE) or _towards(endpoint)


def _towards(endpoint: Endpoint) -> str:
    host, port = _ELSEWHERE, 9
    if not endpoint.target.startswith("unix:"):
        host, _, number = endpoint.target.rpartition(":")
        port = int(number)
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_DGRAM)
    except OSError:
        found = []
    for family, kind, protocol, _, address in found:
        # Connecting a datagram socket only looks up the route.
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.connect(address)
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return "127.0.0.1"
