"""What can go wrong between members.

RegistryError
├── Unavailable
│   ├── PeerUnreachable       no connection to the member, or it ended
│   └── PeerRefused           the other side answered the handshake with a refusal
├── InputError
│   └── BadPeerMessage        the other side sent what cannot be: its connection is closed
└── CannotListen              an address cannot be bound: the node does not start
"""

from __future__ import annotations

from typing import Final

from tianlu_registry.errors import InputError, RegistryError, Unavailable


class PeerUnreachable(Unavailable):
    text = "tianlu: the member cannot be reached"


class PeerRefused(PeerUnreachable):
    """Trying again helps only once somebody has mended what the text names."""

    text = "tianlu: the member refuses the connection"


class BadPeerMessage(InputError):
    """Bytes that no member of this release sends."""

    text = "tianlu: bad message from a member"


class CannotListen(RegistryError):
    text = "tianlu: cannot listen for members"


_LINE_CHARS_MAX: Final = 256


def one_line(text: str) -> str:
    """Return what the other side has written as one short line, fit for a log."""
    return "".join(c if c.isprintable() else "?" for c in text[:_LINE_CHARS_MAX])
