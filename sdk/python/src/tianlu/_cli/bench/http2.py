"""As much of HTTP/2 as a load driver needs: frames, request headers, and gRPC status from trailers.

A gRPC library spends more on a request than the servers under measurement, and would measure
itself. Here a request's headers are a few bytes that are made once for each connection, and a
block of response headers that was seen before is not decoded again.

Source: RFC 9113 (frames, settings), RFC 7541 (header compression), gRPC PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import hpack

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    *(0, 1, 3, 4, 6, 7),
    *(8, 9),
)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 3, 4, 5

LARGEST_WINDOW: Final = 2**31 - 1
LARGEST_STREAM: Final = 2**31 - 1
PREFIX_BYTES: Final = 5
"""Size of gRPC's prefix of a message."""
_HEAD: Final = struct.Struct(">HBBBI")
_SETTING: Final = struct.Struct(">HI")

_INDEXED: Final = 0x80
_INCREMENTAL: Final = 0x40
_FIRST_DYNAMIC: Final = 62
_ENTRY_OVERHEAD_BYTES: Final = 32
_INTEGER_PREFIX_7: Final = 0x7F
_STATIC: Final = {
    (b":method", b"POST"): 3,
    (b":scheme", b"http"): 6,
    (b":scheme", b"https"): 7,
}
_KNOWN_BLOCKS_MAX: Final = 1024
_HEADER_LIST_BYTES_MAX: Final = 64 * 1024
_CODES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)

unpack_head = _HEAD.unpack_from
"""Returns a frame's (length >> 8, length & 255, type, flags, stream)."""


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """Return the head of a frame whose payload has `length` bytes."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return head(len(payload), kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*item) for item in values.items()))


def parse_settings(payload: bytes) -> dict[int, int]:
    return dict(_SETTING.iter_unpack(payload))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def grpc_message(message: bytes) -> bytes:
    """Return a message with gRPC's prefix, not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return the payload of DATA or HEADERS without padding and priority."""
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - payload[0]
    if flags & PRIORITY:
        start += 5
    return payload[start:end]


class RequestHeaders:
    """Header blocks of requests on one connection. Each field is written out once and enters the
    peer's table; from then on it is one byte.

    Args:
        fields: those that all requests have, after the path.
        table_bytes: size of the peer's table, as its settings say. What does not fit is written
            out each time.
    """

    def __init__(
        self, scheme: str, fields: Sequence[tuple[str, str]], table_bytes: int = 4096
    ) -> None:
        self._before = [(b":method", b"POST"), (b":scheme", scheme.encode())]
        self._after = [(name.encode(), value.encode()) for name, value in fields]
        self._room = table_bytes
        self._entered: dict[tuple[bytes, bytes], int] = {}
        self._blocks: dict[str, bytes] = {}

    def block(self, path: str) -> bytes:
        """Return the next request's block. It must be sent before the next is asked for."""
        found = self._blocks.get(path)
        if found is None:
            entries = len(self._entered)
            fields = [*self._before, (b":path", path.encode()), *self._after]
            found = b"".join(self._field(field) for field in fields)
            if len(self._entered) == entries:
                self._blocks[path] = found  # every byte of it means the same the next time
            else:
                self._blocks.clear()  # entries move back by one for each new one
        return found

    def _field(self, field: tuple[bytes, bytes]) -> bytes:
        if field in _STATIC:
            return bytes((_INDEXED | _STATIC[field],))
        entered = self._entered.get(field)
        if entered is not None:
            return integer(_INDEXED, _FIRST_DYNAMIC + len(self._entered) - 1 - entered)
        name, value = field
        literal = b"".join(integer(0, len(text)) + text for text in field)
        size = len(name) + len(value) + _ENTRY_OVERHEAD_BYTES
        if size > self._room:
            return b"\x00" + literal
        self._room -= size
        self._entered[field] = len(self._entered)
        return bytes((_INCREMENTAL,)) + literal


def integer(flags: int, value: int) -> bytes:
    """Return an integer of a prefix of seven bits, below the one bit in `flags`."""
    if value < _INTEGER_PREFIX_7:
        return bytes((flags | value,))
    out = bytearray((flags | _INTEGER_PREFIX_7,))
    value -= _INTEGER_PREFIX_7
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a block of response headers says.

    Attributes:
        status: gRPC's status; None in headers before the messages.
        text: what is said of it.
    """

    status: int | None
    text: str = ""

    @property
    def code(self) -> str:
        """The status by name; UNKNOWN if there is none or it has none."""
        known = self.status is not None and self.status < len(_CODES)
        return _CODES[self.status or 0] if known else "UNKNOWN"

    def __str__(self) -> str:
        return f"{self.code}: {self.text}" if self.text else self.code


class ResponseHeaders:
    """Reads blocks of response headers on one connection; each must be given, in order."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=_HEADER_LIST_BYTES_MAX)
        self._known: dict[bytes, Outcome] = {}

    def read(self, block: bytes) -> Outcome:
        """Return what a block says.

        Raises:
            hpack.HPACKError: it says nothing that can be understood.
        """
        found = self._known.get(block)
        if found is not None:
            return found
        table = self._decoder.header_table
        before = (table.maxsize, list(table.dynamic_entries))
        outcome = _outcome(self._decoder.decode(block, raw=True))
        # A block that leaves the table as it was means the same again, until one changes it.
        if before != (table.maxsize, list(table.dynamic_entries)):
            self._known.clear()
        elif len(self._known) < _KNOWN_BLOCKS_MAX:
            self._known[block] = outcome
        return outcome


def _outcome(fields: Iterable[hpack.HeaderTuple]) -> Outcome:
    found = {bytes(name): bytes(value) for name, value in fields}
    status = found.get(b"grpc-status")
    if status is not None:
        text = unquote(found.get(b"grpc-message", b"").decode("latin-1"))
        return Outcome(int(status) if status.isdigit() else 2, text)
    http_status = found.get(b":status", b"200")
    if http_status != b"200":
        return Outcome(2, f"HTTP status {http_status.decode('latin-1')}")
    return Outcome(None)
