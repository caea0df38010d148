"""Metadata as HTTP headers: binary values, and the grpc-timeout header.

Source: gRPC over HTTP2 (doc/PROTOCOL-HTTP2.md), "Custom-Metadata" and "Timeout".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence

Metadata = Sequence[tuple[str, str | bytes]]
"""Key and value pairs; the value is bytes where the key ends in ``-bin``, else text."""

RawHeaders = list[tuple[bytes, bytes]]
"""Headers as ASGI has them: lower-case names."""

_SECONDS_OF_UNIT = {
    b"H": 3600.0,
    b"M": 60.0,
    b"S": 1.0,
    b"m": 1e-3,
    b"u": 1e-6,
    b"n": 1e-9,
}
_TIMEOUT_DIGITS_MAX = 8
_RESERVED = frozenset({b"te", b"content-type", b"user-agent"})


def encode_metadata(pairs: Metadata) -> RawHeaders:
    """Return `pairs` as headers. Text is sent as UTF-8, ``-bin`` values as unpadded base64."""
    return [(key.lower().encode("ascii"), _encode_value(key, value)) for key, value in pairs]


def _encode_value(key: str, value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return base64.b64encode(raw).rstrip(b"=") if key.lower().endswith("-bin") else raw


def decode_metadata(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str | bytes]]:
    """Return what the caller put into its metadata, without gRPC's and HTTP's own headers.

    A ``-bin`` value that is not base64 is left out: it cannot have been sent by a gRPC library.
    """
    pairs: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name in _RESERVED or name.startswith((b"grpc-", b":")):
            continue
        if not name.endswith(b"-bin"):
            pairs.append((name.decode("latin-1"), value.decode("latin-1")))
            continue
        try:
            # One header may hold several values, joined with commas.
            pairs.extend(
                (name.decode("latin-1"), _decode_binary(part)) for part in value.split(b",")
            )
        except binascii.Error:
            continue
    return pairs


def _decode_binary(value: bytes) -> bytes:
    value = value.strip()
    return base64.b64decode(value + b"=" * (-len(value) % 4))


def parse_timeout_seconds(value: bytes) -> float | None:
    """Return the seconds that a grpc-timeout header grants; None if it is malformed."""
    amount, unit = value[:-1], value[-1:]
    seconds_of_unit = _SECONDS_OF_UNIT.get(unit)
    if seconds_of_unit is None or not amount.isdigit() or len(amount) > _TIMEOUT_DIGITS_MAX:
        return None
    return int(amount) * seconds_of_unit
