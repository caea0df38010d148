"""Ranges of keys, as etcd v3 writes them."""

from __future__ import annotations

from typing import Final, TypeAlias

from tianlu._errors import InvalidInput

Bytes: TypeAlias = bytes | str
"""A key or value; text is encoded as UTF-8."""

ALL: Final = b"\0"
"""As a key: the first one. As the end of a range: none."""


def to_bytes(text: Bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def key_range(key: Bytes, prefix: bool, range_end: Bytes | None) -> tuple[bytes, bytes]:
    """Return where a range begins and ends; the end is empty for one key.

    Raises:
        InvalidInput: both a prefix and an end are asked for.
    """
    start = to_bytes(key)
    if prefix and range_end is not None:
        raise InvalidInput("range_end", "give prefix or range_end, not both")
    if prefix:
        return start or ALL, after_prefix(start)
    return start, b"" if range_end is None else to_bytes(range_end)


def after_prefix(prefix: bytes) -> bytes:
    """Return the first key behind all that begin with `prefix`; ALL means behind all keys."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else ALL
