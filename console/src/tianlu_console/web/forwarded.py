"""Where a request really came from, when the gateway stands in front.

Forwarding headers are believed only if the peer is on this host (a Unix socket or loopback), which
is where the gateway is. Anybody else could write them himself.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

LOCAL_PEER: Final = "local"
"""How a peer on a Unix socket without forwarding headers is named."""


def client_address(scope: Scope) -> str:
    """Return the address of whoever sent the request: the last one that the gateway appended."""
    peer = _peer(scope)
    if not _trusted(peer):
        return peer
    forwarded = Headers(scope=scope).get("x-forwarded-for", "").rpartition(",")[2].strip()
    return forwarded or peer


def is_https(scope: Scope) -> bool:
    """Return whether the browser's own connection is encrypted."""
    if scope["scheme"] == "https":
        return True
    return (
        _trusted(_peer(scope))
        and Headers(scope=scope).get("x-forwarded-proto", "").strip().lower() == "https"
    )


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client and client[0] else LOCAL_PEER


def _trusted(peer: str) -> bool:
    if peer == LOCAL_PEER:
        return True
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False
