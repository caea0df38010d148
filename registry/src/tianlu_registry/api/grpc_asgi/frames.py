"""Length-prefixed messages: one flag byte (compressed or not), four bytes of length, the message.

Source: gRPC over HTTP2 (doc/PROTOCOL-HTTP2.md), "Length-Prefixed-Message". No I/O here.
"""

from __future__ import annotations

from struct import Struct

from tianlu_registry.api.grpc_asgi.status import RpcError, StatusCode

PREFIX_BYTES = 5
_PREFIX = Struct(">BI")
_COMPACT_AT_BYTES = 64 * 1024

pack_prefix = _PREFIX.pack
unpack_prefix = _PREFIX.unpack_from


def frame(message: bytes, *, compressed: bool = False) -> bytes:
    """Return `message` with its prefix."""
    return pack_prefix(compressed, len(message)) + message


def too_large(size: int, limit: int) -> RpcError:
    """Return the error for a message over the limit, in the words of the gRPC library that etcd
    uses."""
    return RpcError(
        StatusCode.RESOURCE_EXHAUSTED,
        f"grpc: received message larger than max ({size} vs. {limit})",
    )


def check_flag(flag: int) -> None:
    """Refuse a flag byte that the protocol does not know.

    Raises:
        RpcError: INTERNAL.
    """
    if flag > 1:
        raise RpcError(StatusCode.INTERNAL, f"grpc: message flag is {flag}, it must be 0 or 1")


class FrameBuffer:
    """Cuts a byte stream into messages.

    Holds at most one incomplete message of `message_bytes_max` bytes and what came behind it in the
    same chunk; a longer message is refused as soon as its prefix is read.
    """

    __slots__ = ("_buffer", "_message_bytes_max", "_position")

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._buffer = bytearray()
        self._position = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_message(self) -> tuple[int, bytes] | None:
        """Return the next message's flag and bytes, or None until more is fed.

        Raises:
            RpcError: RESOURCE_EXHAUSTED, the message is over the limit; INTERNAL, bad flag.
        """
        available = len(self._buffer) - self._position
        if available < PREFIX_BYTES:
            return None
        flag, size = unpack_prefix(self._buffer, self._position)
        check_flag(flag)
        if size > self._message_bytes_max:
            raise too_large(size, self._message_bytes_max)
        if available < PREFIX_BYTES + size:
            return None
        start = self._position + PREFIX_BYTES
        message = bytes(memoryview(self._buffer)[start : start + size])
        self._consume(start + size)
        return flag, message

    def _consume(self, position: int) -> None:
        """Move on to `position`; give memory back without moving bytes for every small message."""
        if position == len(self._buffer):
            self._buffer = bytearray()
            self._position = 0
        elif position > _COMPACT_AT_BYTES:
            del self._buffer[:position]
            self._position = 0
        else:
            self._position = position

    def check_finished(self) -> None:
        """Call at the end of the stream.

        Raises:
            RpcError: INTERNAL, the stream ended inside a message.
        """
        if len(self._buffer) > self._position:
            raise RpcError(StatusCode.INTERNAL, "grpc: the request ended inside a message")
