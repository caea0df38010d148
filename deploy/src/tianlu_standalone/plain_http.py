"""Short questions to the platform's own parts, over plain HTTP on sockets and loopback."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import httpx

_NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody. httpx's own context reads all of the system's certificates each time a client is
made: some 20 ms of a processor for every probe of every part."""


def plain_client(socket: Path | None, timeout_seconds: float) -> httpx.AsyncClient:
    """Return a client for `http://` addresses only.

    Args:
        socket: the Unix socket to connect to, whatever the address says; None: the address.
        timeout_seconds: for connecting, and for each wait afterwards.
    """
    path = None if socket is None else str(socket)
    return httpx.AsyncClient(
        transport=httpx.AsyncHTTPTransport(verify=_NO_TLS, uds=path),
        timeout=timeout_seconds,
        trust_env=False,
    )
