"""Where a load driver connects, and how."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from typing import Final

from tianlu._credentials import Credentials, tls_context
from tianlu._endpoint import Endpoint
from tianlu._errors import NotAllowed, Unavailable

_TOKEN_FIELD: Final = "token"  # noqa: S105 - the name, as etcd's clients send it
_ALPN: Final = "h2"


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint with all that a connection to it needs. Can be sent to another process.

    Attributes:
        credentials: certificates and whom to trust; users are logged in before.
        token: that every call carries; "" for none.
        timeout_seconds: for connecting, and for one call.
    """

    endpoint: Endpoint
    credentials: Credentials
    token: str = field(repr=False)
    timeout_seconds: float

    @property
    def scheme(self) -> str:
        return "https" if self.endpoint.tls else "http"

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The fields that all requests have, but method, scheme and path."""
        address = self.endpoint.target
        authority = "localhost" if address.startswith("unix:") else address
        fields = [(":authority", authority), ("content-type", "application/grpc")]
        fields.append(("te", "trailers"))
        if self.token:
            fields.append((_TOKEN_FIELD, self.token))
        return fields

    def connect(self) -> socket.socket:
        """Return a connected socket, with TLS if the endpoint wants it; it still blocks.

        Raises:
            Unavailable: nobody answers there.
            NotAllowed: one side does not trust the other.
        """
        try:
            plain = self._connect()
            return self._secure(plain) if self.endpoint.tls else plain
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", None) or error.reason or error
            raise NotAllowed(f"{self.endpoint}: TLS: {reason}") from error
        except OSError as error:
            raise Unavailable(f"{self.endpoint}: {error.strerror or error}") from error

    def _connect(self) -> socket.socket:
        address = self.endpoint.target
        if address.startswith("unix:"):
            local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            local.settimeout(self.timeout_seconds)
            local.connect(address.removeprefix("unix:"))
            return local
        host, _, port = address.rpartition(":")
        found = socket.create_connection((host.strip("[]"), int(port)), self.timeout_seconds)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found

    def _secure(self, plain: socket.socket) -> ssl.SSLSocket:
        context = tls_context(self.credentials)
        context.set_alpn_protocols([_ALPN])
        host = self.endpoint.target.rpartition(":")[0].strip("[]")
        secured = context.wrap_socket(plain, server_hostname=self.credentials.server_name or host)
        if secured.selected_alpn_protocol() != _ALPN:
            secured.close()
            raise Unavailable(f"{self.endpoint}: the server does not speak HTTP/2 over TLS")
        return secured
