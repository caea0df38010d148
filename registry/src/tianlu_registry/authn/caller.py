"""Who says what of himself: the credentials of the call that is being served.

The call stands in a context variable, which asyncio keeps apart for each task: set once where calls
come in, it reaches whatever the call does, through servicers that know nothing of it. What is done
outside of any call (by the node itself) has no caller.

Source: etcd api/v3rpc/rpctypes/metadatafields.go; Envoy docs, "x-forwarded-client-cert"; RFC 2253,
section 2.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from tianlu_registry.api.grpc_asgi.asgi import Scope

_TOKEN: Final = b"token"
_AUTHORIZATION: Final = b"authorization"
_BEARER: Final = "Bearer "
_CERTIFICATE: Final = b"x-forwarded-client-cert"

_SUBJECT: Final = re.compile(r'(?:^|;)\s*Subject="((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(r"(?:[^,+\\]|\\.)+")
_ESCAPED: Final = re.compile(rb"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)

_scope: ContextVar[Scope | None] = ContextVar("tianlu_registry_call", default=None)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a call brought along.

    Attributes:
        token: from its metadata.
        common_name: of its client certificate, which the listener has verified.
    """

    token: str | None = None
    common_name: str | None = None


NONE: Final = Credentials()


def serving(scope: Scope) -> None:
    """From here on this task serves the call of an ASGI scope."""
    _scope.set(scope)


def credentials() -> Credentials:
    """Return the credentials of the call that this task serves."""
    scope = _scope.get()
    return NONE if scope is None else read_credentials(scope["headers"])


def address() -> str:
    """Return where the call that this task serves comes from: an IP address; "unix" for a Unix
    socket; "-" for no call."""
    scope = _scope.get()
    if scope is None:
        return "-"
    client = scope.get("client")
    return str(client[0]) if client and client[0] else "unix"


def read_credentials(headers: Iterable[tuple[bytes, bytes]]) -> Credentials:
    """Return the credentials among a request's headers, of which the names are lower-case.

    Of several tokens the first counts, and one in `token` before one in `authorization`. Of several
    certificates the last: the nearest listener has appended it.
    """
    tokens: dict[bytes, str] = {}
    certificate: bytes | None = None
    for name, value in headers:
        if name in (_TOKEN, _AUTHORIZATION):
            tokens.setdefault(name, value.decode("latin-1"))
        elif name == _CERTIFICATE:
            certificate = value
    token = tokens.get(_TOKEN, tokens.get(_AUTHORIZATION))
    return Credentials(
        None if token is None else token.removeprefix(_BEARER),
        None if certificate is None else _common_name(certificate.decode("latin-1")),
    )


def _common_name(header: str) -> str | None:
    """Return the common name of a subject as RFC 2253 writes it, which Envoy puts between quotes
    as it is: a comma or plus sign after a backslash separates nothing. Of several the first counts:
    the last of the certificate, as in Go."""
    subject = _SUBJECT.search(_last_element(header))
    if subject is None:
        return None
    for attribute in _ATTRIBUTE.findall(subject[1]):
        kind, _, value = attribute.lstrip().partition("=")
        if kind == "CN":
            return _unescaped(value)
    return None


def _unescaped(value: str) -> str | None:
    """Return the text of an attribute's value; None if it has none, but bytes of an unknown type
    (which begin with #)."""
    if value.startswith("#"):
        return None
    try:
        return _ESCAPED.sub(_character, value.encode("latin-1")).decode()
    except UnicodeDecodeError:
        return None


def _character(escaped: re.Match[bytes]) -> bytes:
    """Return a byte that stands as two hexadecimal digits, or a character that means nothing."""
    return bytes.fromhex(escaped[1].decode()) if escaped[1] else escaped[2]


def _last_element(header: str) -> str:
    """Return what follows the last comma outside quotes."""
    start, quoted, escaped = 0, False, False
    for position, character in enumerate(header):
        if escaped:
            escaped = False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            start = position + 1
    return header[start:]
