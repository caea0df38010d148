"""Which pages in a browser may use the JSON APIs, and under which names of this node.

The JSON APIs ask for no credentials while authentication is off: without a rule, any page that
somebody on this machine opens could write to them. Such a page is told by its origin; one that has
pointed its own name at this machine (DNS rebinding) by the name, which is neither an IP address nor
localhost. Programs other than browsers send neither header.

etcd answers every page and every name unless told otherwise (`--cors`, `--host-whitelist`); here
the flags open what is closed.

Source: W3C "Fetch Metadata Request Headers"; RFC 6454, section 7; CVE-2018-5702; etcd
server/embed/serve.go (`accessController`).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from tianlu_registry.api.grpc_asgi import RpcError, StatusCode
from tianlu_registry.api.grpc_asgi.asgi import Event, Scope, Send

ANY: Final = "*"

_ALLOWED_METHODS: Final = (
    b"access-control-allow-methods",
    b"POST, GET, OPTIONS, PUT, DELETE, PATCH",
)
_ALLOWED_HEADERS: Final = (b"access-control-allow-headers", b"accept, content-type, authorization")


class Misdirected(RpcError):
    """The request names a host that is not on the list: 421 in HTTP."""

    def __init__(self) -> None:
        super().__init__(
            StatusCode.PERMISSION_DENIED,
            "host: is not in --host-whitelist, which keeps out pages that have pointed their own "
            "name here; add it there, or use https",
        )


@dataclass(frozen=True, slots=True)
class WebAccess:
    """Rules for requests.

    Attributes:
        origins: of other sites whose pages may use the APIs, such as ``https://console.example``;
            ``*`` for every site. None by default.
        hosts: names that requests without TLS may give in Host. Empty: all, but pages only under an
            IP address or localhost. ``*``: all, pages too.
    """

    origins: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()

    def check(self, scope: Scope) -> None:
        """Refuse what a browser sends on behalf of a page that may not.

        Raises:
            Misdirected: the name is none of `hosts`.
            RpcError: PERMISSION_DENIED: the page is another site's.
        """
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"")
        origin = headers.get(b"origin", b"")
        if _is_plain_tcp(scope) and not self._is_listed(host):
            raise Misdirected
        if self._allows(origin):
            return
        site = headers.get(b"sec-fetch-site", b"")
        if not origin and not site:
            return
        foreign = origin != b"" and origin.partition(b"://")[2] != host  # "null" is foreign too
        rebound = _is_tcp(scope) and not self._is_own_name(host)
        if foreign or site == b"cross-site" or rebound:
            raise RpcError(
                StatusCode.PERMISSION_DENIED,
                "origin: this API does not answer pages of other sites; call it from its own "
                "origin, from a program, or allow the site by --cors",
            )

    def is_preflight(self, scope: Scope) -> bool:
        """Whether a browser only asks whether it may."""
        return scope["method"] == "OPTIONS" and self._allows(_origin(scope))

    def sending(self, scope: Scope, send: Send) -> Send:
        """Return what sends the answer, with the headers that let the page read it."""
        origin = _origin(scope)
        if not self._allows(origin):
            return send
        allowed = b"*" if ANY in self.origins else origin
        headers = [
            _ALLOWED_METHODS,
            (b"access-control-allow-origin", allowed),
            _ALLOWED_HEADERS,
            (b"vary", b"origin"),
        ]

        async def sending(event: Event) -> None:
            if event["type"] == "http.response.start":
                event = {**event, "headers": [*event.get("headers", ()), *headers]}
            await send(event)

        return sending

    def _allows(self, origin: bytes) -> bool:
        return bool(origin) and (ANY in self.origins or origin.decode("latin-1") in self.origins)

    def _is_listed(self, authority: bytes) -> bool:
        hosts = self.hosts
        return not hosts or ANY in hosts or _hostname(authority) in hosts

    def _is_own_name(self, authority: bytes) -> bool:
        """Whether a Host header names what nobody else's DNS can point here."""
        if ANY in self.hosts:
            return True
        name = _hostname(authority)
        if name == "localhost" or name in self.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _origin(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"origin"), b"")


def _is_tcp(scope: Scope) -> bool:
    """Who comes over a Unix socket is the gateway, which knows its own names."""
    client = scope.get("client")
    return client is not None and bool(client[0])


def _is_plain_tcp(scope: Scope) -> bool:
    return _is_tcp(scope) and scope.get("scheme") != "https"


def _hostname(authority: bytes) -> str:
    host = authority.decode("latin-1").lower()
    if not host.endswith("]"):  # an IPv6 address without a port
        host = host.rpartition(":")[0] or host
    return host.strip("[]")
