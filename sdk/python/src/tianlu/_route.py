"""The parts of the httpx transports that do no I/O: what hosts name, what may be sent again."""

from __future__ import annotations

import os
from typing import Final

import httpx

from tianlu._errors import InvalidInput
from tianlu._model import Instance

ATTEMPTS_MAX: Final = 3
"""Instances tried for one request."""

LIMITS_DEFAULT: Final = httpx.Limits(
    max_connections=1000, max_keepalive_connections=100, keepalive_expiry=30.0
)

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Source: RFC 9110, section 9.2.2."""

MESHER_VARIABLE: Final = "TIANLU_MESHER"


def split_host(host: str) -> tuple[str | None, str]:
    """Return the port's name (or None) and the service as "name" or "name.namespace".

    Raises:
        InvalidInput: the host has no or more than three parts.
    """
    parts = host.split(".")
    if not all(parts) or len(parts) > 3:
        raise InvalidInput(
            "url", f"host {host!r} names no service: write http://service.namespace/..."
        )
    if len(parts) == 3:
        return parts[0], f"{parts[1]}.{parts[2]}"
    return None, host


def mesher_url(mesher: str | bool) -> httpx.URL | None:
    """Return the mesher's address, or None for direct calls.

    Raises:
        InvalidInput: it is no http:// address.
    """
    text = os.environ.get(MESHER_VARIABLE, "") if mesher is True else mesher or ""
    if not text:
        return None
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme != "http" or not url.host:
        raise InvalidInput("mesher", f"{text!r} is no address like http://127.0.0.1:15001")
    return url


def repeatable(request: httpx.Request, error: httpx.TransportError) -> bool:
    """Whether a request that failed may be sent to another instance; see `AsyncTransport`."""
    if not isinstance(request.stream, httpx.ByteStream):
        return False
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return True
    broken = isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)
    return broken and request.method in IDEMPOTENT


def redirected(request: httpx.Request, target: httpx.URL) -> httpx.Request:
    """Return the request, to be sent to `target`; its Host header stays."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=target.host, port=target.port),
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions,
    )


def instance_url(instance: Instance, port_name: str | None) -> httpx.URL:
    """Return where an instance serves.

    Raises:
        InvalidInput: it has no port of that name.
    """
    try:
        return httpx.URL(f"http://{instance.authority(port_name)}")
    except ValueError as error:
        raise InvalidInput("url", str(error)) from error
