"""Message compression: gzip and deflate, with a bound on what a small message may expand to.

Source: gRPC doc/compression.md; PROTOCOL-HTTP2.md, "Message-Encoding".
"""

from __future__ import annotations

import gzip
import zlib

from tianlu_registry.api.grpc_asgi.status import RpcError, StatusCode

ACCEPTED = b"identity,gzip,deflate"
"""What we say in grpc-accept-encoding."""

COMPRESS_FROM_BYTES = 1024
"""Smaller answers are not worth compressing; the protocol lets each message choose."""

_LEVEL = 1
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}


def can_compress(encoding: bytes | None) -> bool:
    return encoding in _WINDOW_BITS


def compress(message: bytes, encoding: bytes) -> bytes:
    """Return `message` in `encoding`, one that `can_compress` accepts."""
    if encoding == b"gzip":
        return gzip.compress(message, _LEVEL, mtime=0)
    return zlib.compress(message, _LEVEL)


def decompress(message: bytes, encoding: bytes | None, bytes_max: int) -> bytes:
    """Return the message that `encoding` hides, never producing more than `bytes_max` bytes.

    Raises:
        RpcError: UNIMPLEMENTED, unknown encoding; INTERNAL, not in that encoding or none was
            named; RESOURCE_EXHAUSTED, it expands beyond the limit.
    """
    if encoding is None or encoding == b"identity":
        raise RpcError(
            StatusCode.INTERNAL,
            "grpc: a message is flagged compressed, but grpc-encoding names no encoding",
        )
    window_bits = _WINDOW_BITS.get(encoding)
    if window_bits is None:
        raise RpcError(
            StatusCode.UNIMPLEMENTED,
            f"grpc: grpc-encoding {encoding.decode('latin-1')!r} is not supported; "
            f"use one of {ACCEPTED.decode()}",
            trailing_metadata=(("grpc-accept-encoding", ACCEPTED),),
        )
    inflate = zlib.decompressobj(window_bits)
    try:
        plain = inflate.decompress(message, bytes_max + 1)
    except zlib.error as error:
        raise RpcError(
            StatusCode.INTERNAL, f"grpc: a message is not valid {encoding.decode()}"
        ) from error
    if len(plain) > bytes_max:
        raise RpcError(
            StatusCode.RESOURCE_EXHAUSTED,
            f"grpc: received message after decompression larger than max {bytes_max}",
        )
    if not inflate.eof:
        raise RpcError(
            StatusCode.INTERNAL, f"grpc: a message ends inside its {encoding.decode()} data"
        )
    return plain
