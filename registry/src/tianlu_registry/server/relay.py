"""What a TLS listener tells the application: who the client is.

Two filter chains would be two Pythons (see `bootstrap`), so TLS is ended by a listener of its own,
which passes requests on to the one with Python. It says by headers where the client is and what
its certificate was; a secret that only Envoy and the application share tells them from headers
that a client has made up.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Final

from tianlu_registry.api.grpc_asgi.asgi import Scope

SECRET_HEADER: Final = "x-tianlu-tls-relay"  # noqa: S105 - the header's name

CLIENT_HEADER: Final = "x-tianlu-tls-client"
"""Where the client is. Not x-forwarded-for: there Envoy writes this machine's address for
loopback's."""

_SECRET: Final = SECRET_HEADER.encode()
_CERTIFICATE: Final = b"x-forwarded-client-cert"
_CLIENT: Final = CLIENT_HEADER.encode()
_OURS: Final = frozenset({_SECRET, _CERTIFICATE, _CLIENT})


class TlsRelay:
    """Reads the TLS listener's headers, and takes away those that are not its own.

    Args:
        secret: shared with Envoy alone.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def read(self, scope: Scope) -> None:
        """Bring a request's scope into the state that the application may believe: the client's
        address, and a certificate only if the TLS listener has seen one."""
        headers = scope["headers"]
        said = {name: value for name, value in headers if name in _OURS}
        if not said:
            return
        rest = [header for header in headers if header[0] not in _OURS]
        if hmac.compare_digest(said.get(_SECRET, b""), self._secret):
            if _CERTIFICATE in said:
                rest.append((_CERTIFICATE, said[_CERTIFICATE]))
            scope["scheme"] = "https"
            address = said.get(_CLIENT, b"").decode("latin-1")
            if _is_ip(address):  # else it is a Unix socket, which has none
                scope["client"] = (address, 0)
        scope["headers"] = rest


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
