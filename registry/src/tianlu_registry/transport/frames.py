"""Frames: how payloads follow each other on a connection. No I/O.

    preface   "TLPEER"  version u16              once in each direction, before the first frame
    frame     size u32  kind u8  body            size counts kind and body

Little-endian. The preface, HELLO and WELCOME never change, so that any two releases can tell each
other why they do not understand each other.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from tianlu_registry.transport.errors import BadPeerMessage

MAGIC: Final = b"TLPEER"
VERSION: Final = 1
"""Raise it when members of two releases must not talk to each other; else add fields."""

_VERSION = struct.Struct("<H")
_HEADER = struct.Struct("<IB")
PREFACE: Final = MAGIC + _VERSION.pack(VERSION)
HEADER_BYTES: Final = _HEADER.size


class FrameKind(IntEnum):
    """Never reuse a number."""

    HELLO = 1
    WELCOME = 2
    PING = 3
    PONG = 4
    MESSAGE = 5
    CALL = 6
    ANSWER = 7
    SNAPSHOT_OFFER = 8
    SNAPSHOT_RESUME = 9
    SNAPSHOT_DATA = 10
    SNAPSHOT_RESULT = 11


Frame = tuple[int, bytes]
"""Kind and body."""


def frame_header(kind: FrameKind, body_bytes: int) -> bytes:
    """Return what precedes a body of that size."""
    return _HEADER.pack(body_bytes + 1, kind)


class FrameReader:
    """Cuts the bytes of one direction into frames.

    It holds at most one incomplete frame, and no more of it than has arrived.

    Args:
        frame_bytes_max: largest kind and body together; may be changed between calls of `feed`.
    """

    def __init__(self, frame_bytes_max: int) -> None:
        self.frame_bytes_max = frame_bytes_max
        self.version = 0
        """The other side's; 0 until its preface is here."""

        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take what arrived; return the frames that are complete now.

        Raises:
            BadPeerMessage: this is not our protocol, or a frame is too large. Nothing more may be
                fed.
        """
        if not self._rest:
            frames, used = self._cut(data)
            if used < len(data):
                self._rest += memoryview(data)[used:]
            return frames
        self._rest += data
        if len(self._rest) < self._wanted():
            return []
        frames, used = self._cut(bytes(self._rest))
        del self._rest[:used]
        return frames

    def _wanted(self) -> int:
        """Return how many bytes are needed for anything to be complete, or found too large."""
        if not self.version or len(self._rest) < HEADER_BYTES:
            return 1
        size, _ = _HEADER.unpack_from(self._rest)
        return HEADER_BYTES - 1 + int(size) if size <= self.frame_bytes_max else 1

    def _cut(self, data: bytes) -> tuple[list[Frame], int]:
        """Return the whole frames at the start of `data`, and how long they are."""
        frames: list[Frame] = []
        position = 0
        if not self.version:
            position = self._read_preface(data)
            if not position:
                return frames, 0
        end = len(data)
        while end - position >= HEADER_BYTES:
            size, kind = _HEADER.unpack_from(data, position)
            if not 1 <= size <= self.frame_bytes_max:
                raise BadPeerMessage(
                    f"tianlu: a frame of {size} bytes; the limit is {self.frame_bytes_max}"
                )
            body = position + HEADER_BYTES
            if end - body < size - 1:
                break
            position = body + size - 1
            frames.append((kind, data[body:position]))
        return frames, position

    def _read_preface(self, data: bytes) -> int:
        """Return its length, or 0 while it is incomplete."""
        start = data[: len(MAGIC)]
        if start != MAGIC[: len(start)]:
            raise BadPeerMessage(f"tianlu: {_describe_stranger(start)}")
        if len(data) < len(PREFACE):
            return 0
        (version,) = _VERSION.unpack_from(data, len(MAGIC))
        if not version:
            raise BadPeerMessage("tianlu: the peer protocol's version cannot be 0")
        self.version = version
        return len(PREFACE)


def _describe_stranger(start: bytes) -> str:
    """Guess who speaks, for people who read the log."""
    if start[:1] in (b"\x15", b"\x16"):
        return "the other side speaks TLS, this one does not: compare the URLs (http, https)"
    if start[:4] in (b"GET ", b"POST", b"HTTP", b"PRI ", b"HEAD", b"PUT "):
        return "the other side speaks HTTP, not the peer protocol: is this a client's URL?"
    return "the other side does not speak the peer protocol"
