"""By what name a client is known to the limits: its user, its certificate, or its address.

Many users may stand behind one address, so the nearest thing to a person counts: the user who has
logged in, else the common name of the client's certificate, else the address. Users of a proxy
share its address unless the proxy is trusted to say theirs: the last address of its
``x-forwarded-for``, the only one that the proxy itself has written.

An IPv6 client can take any address of its network, so there the network (/64) counts. Clients of a
Unix socket share one name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from tianlu_registry.api.grpc_asgi.asgi import Scope
from tianlu_registry.authn.caller import read_credentials
from tianlu_registry.authn.guard import Guard
from tianlu_registry.errors import InvalidArgument, InvalidAuthToken

UNIX: Final = "unix"
"""The name of whoever comes by a Unix socket, as a client and among trusted proxies."""

_FORWARDED_FOR: Final = b"x-forwarded-for"
_IPV6_PREFIX_BITS: Final = 64
_NAMES_MAX: Final = 10_000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Proxies:
    """Which connections are a proxy's, whose word counts.

    Args:
        names: networks such as ``10.0.0.0/8``, addresses, and ``unix``.

    Raises:
        InvalidArgument: one of them is neither; field ``trusted_proxies``.
    """

    def __init__(self, names: Iterable[str]) -> None:
        wanted = set(names)
        self._unix = UNIX in wanted
        self._networks = tuple(_network(name) for name in wanted - {UNIX})

    def trusts(self, host: str) -> bool:
        """Whether the host at the other end of a connection, or `UNIX`, is trusted."""
        if host == UNIX:
            return self._unix
        if not self._networks:
            return False
        address = ipaddress.ip_address(host)
        return any(address in network for network in self._networks)


def _network(name: str) -> Network:
    try:
        return ipaddress.ip_network(name)
    except ValueError as error:
        raise InvalidArgument(
            "trusted_proxies",
            f"{name!r} is neither an address, nor a network such as 10.0.0.0/8, nor unix",
        ) from error


class ClientNames:
    """Names the client of a request.

    Args:
        guard: knows users; None if there are none.
        proxies: whose ``x-forwarded-for`` counts.
        client_certificates: whether certificates are verified, so that their names count.
    """

    def __init__(self, guard: Guard | None, proxies: Proxies, *, client_certificates: bool) -> None:
        self._guard = guard
        self._proxies = proxies
        self._client_certificates = client_certificates
        self._by_host: dict[str, str] = {}

    def name(self, scope: Scope) -> str:
        """Return the client's name, such as ``user root`` or ``address 192.0.2.1``."""
        if self._guard is not None and self._guard.enabled:
            user = self._user(self._guard)
            if user:
                return f"user {user}"
        if self._client_certificates:
            common_name = read_credentials(scope["headers"]).common_name
            if common_name:
                return f"certificate {common_name}"
        return self._address(scope)

    def limited_address(self, host: str) -> str | None:
        """Return whose connections come from an address; None if it is a trusted proxy's, behind
        which many clients are."""
        return None if self._proxies.trusts(host) else self._address_name(host)

    def _user(self, guard: Guard) -> str:
        try:
            return guard.claim_now().user
        except InvalidAuthToken:
            return ""  # whoever makes up tokens is known by his address

    def _address(self, scope: Scope) -> str:
        client = scope.get("client")
        host = client[0] if client and client[0] else UNIX
        if self._proxies.trusts(host):
            host = _forwarded_for(scope) or host
        return self._address_name(host)

    def _address_name(self, host: str) -> str:
        name = self._by_host.get(host)
        if name is None:
            name = _address_name(host)
            if len(self._by_host) >= _NAMES_MAX:
                self._by_host.clear()  # only saves work
            self._by_host[host] = name
        return name


def _forwarded_for(scope: Scope) -> str:
    """Return the last address that the last header names; empty if there is none."""
    last = b""
    for name, value in scope["headers"]:
        if name == _FORWARDED_FOR:
            last = value
    return last.rpartition(b",")[2].strip().decode("latin-1")


def _address_name(host: str) -> str:
    if host == UNIX:
        return UNIX
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "address unknown"  # a trusted proxy that writes nonsense: one client, for safety
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return f"address {address.ipv4_mapped}"
        return f"address {ipaddress.ip_network((int(address), _IPV6_PREFIX_BITS), strict=False)}"
    return f"address {address}"
