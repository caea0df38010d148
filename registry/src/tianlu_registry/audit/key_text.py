"""Keys as text: readable, and still exact."""

from __future__ import annotations

from typing import Any, Final

KEY_BYTES_MAX: Final = 1024
"""Longest part of a key that stands in a line; of a longer one its length stands beside it."""


def key_text(key: bytes) -> str:
    r"""Return a key, or its beginning, as text in which ``\xNN`` is a byte that is no printable
    character of UTF-8, and ``\\`` a backslash."""
    text = key[:KEY_BYTES_MAX].replace(b"\\", rb"\\").decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def range_fields(operation: str, key: bytes, range_end: bytes = b"") -> dict[str, Any]:
    """Return what a line says of a key, or of a range of them."""
    fields: dict[str, Any] = {"op": operation, "key": key_text(key)}
    if len(key) > KEY_BYTES_MAX:
        fields["key_bytes"] = len(key)
    if range_end:
        fields["range_end"] = key_text(range_end)
    return fields


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())
