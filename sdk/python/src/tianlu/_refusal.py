"""What a refused call wanted, in words: "Put of '/shop/a' by user 'ann'"."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import Message

_KEY_CHARACTERS_MAX: Final = 200


def refused_text(reason: str, user: str, path: str, request: Message) -> str:
    """Return a text that names what was refused, and to whom.

    Args:
        reason: what the registry said.
        user: who has logged in; "" if that is not known here (a token, a certificate).
        path: of the method.
    """
    who = f" by user {user!r}" if user else ""
    return f"{reason} ({path.rpartition('/')[2]}{_what(request)}{who})"


def _what(request: Message) -> str:
    """Return the key or range that a request names itself, if it does."""
    key = getattr(request, "key", None)
    if not isinstance(key, bytes):
        return ""
    end = getattr(request, "range_end", b"")
    return f" of {_shown(key)}" + (f" up to {_shown(end)}" if end else "")


def _shown(key: bytes) -> str:
    return repr(key.decode(errors="backslashreplace")[:_KEY_CHARACTERS_MAX])
