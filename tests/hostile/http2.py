"""HTTP/2 without manners: frames as bytes, in any order and of any content.

Source: RFC 9113, sections 4 and 6; RFC 7541 for what a header block may say.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import partial

import hpack
from hostile.wire import Wire

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_BYTES = 9
FRAME_BYTES_MAX = 16_384


class Kind(IntEnum):
    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntFlag):
    NONE = 0
    END_STREAM = 1
    ACK = 1
    END_HEADERS = 4
    PADDED = 8


class Setting(IntEnum):
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return one frame; nothing is checked."""
    length = struct.pack(">I", len(payload))[1:]
    return length + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values: Mapping[int, int] | None = None) -> bytes:
    pairs = b"".join(struct.pack(">HI", key, value) for key, value in (values or {}).items())
    return frame(Kind.SETTINGS, 0, 0, pairs)


def window_update(stream: int, increment: int) -> bytes:
    return frame(Kind.WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst_stream(stream: int, code: int = 8) -> bytes:
    return frame(Kind.RST_STREAM, 0, stream, struct.pack(">I", code))


def data(stream: int, payload: bytes, *, end: bool = False) -> bytes:
    """Return DATA frames, as many as the payload needs."""
    pieces = [
        payload[start : start + FRAME_BYTES_MAX]
        for start in range(0, max(len(payload), 1), FRAME_BYTES_MAX)
    ]
    frames = [frame(Kind.DATA, 0, stream, piece) for piece in pieces[:-1]]
    frames.append(frame(Kind.DATA, Flag.END_STREAM if end else 0, stream, pieces[-1]))
    return b"".join(frames)


def block(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return a header block that needs no dynamic table."""
    return b"".join(literal(name, value) for name, value in pairs)


def literal(name: bytes, value: bytes) -> bytes:
    """Return a header field that is not to be indexed. Source: RFC 7541, 6.2.2."""
    return b"\0" + _string(name) + _string(value)


def indexed(index: int) -> bytes:
    """Return a reference into the tables. Source: RFC 7541, 6.1."""
    return _integer(index, 7, 0x80)


def added(name: bytes, value: bytes) -> bytes:
    """Return a header field that goes into the dynamic table. Source: RFC 7541, 6.2.1."""
    return b"\x40" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    return _integer(len(text), 7, 0) + text


def _integer(number: int, bits: int, first: int) -> bytes:
    limit = (1 << bits) - 1
    if number < limit:
        return bytes([first | number])
    encoded, rest = bytearray([first | limit]), number - limit
    while rest >= 128:
        encoded.append(rest % 128 | 128)
        rest //= 128
    encoded.append(rest)
    return bytes(encoded)


def headers(
    stream: int, pairs: Sequence[tuple[bytes, bytes]], *, end_stream: bool = False
) -> bytes:
    return raw_headers(stream, block(pairs), end_stream=end_stream)


def raw_headers(stream: int, header_block: bytes, *, end_stream: bool = False) -> bytes:
    """Return HEADERS and as many CONTINUATIONs as the block needs."""
    pieces = [
        header_block[start : start + FRAME_BYTES_MAX]
        for start in range(0, max(len(header_block), 1), FRAME_BYTES_MAX)
    ]
    end = Flag.END_STREAM if end_stream else 0
    if len(pieces) == 1:
        return frame(Kind.HEADERS, Flag.END_HEADERS | end, stream, pieces[0])
    first = frame(Kind.HEADERS, end, stream, pieces[0])
    middle = [frame(Kind.CONTINUATION, 0, stream, piece) for piece in pieces[1:-1]]
    last = frame(Kind.CONTINUATION, Flag.END_HEADERS, stream, pieces[-1])
    return b"".join([first, *middle, last])


@dataclass(slots=True)
class Answer:
    """What has come on one stream.

    Attributes:
        headers: of the response and its trailers, the later ones over the earlier.
        reset: the code of RST_STREAM.
        ended: END_STREAM has come.
    """

    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    reset: int | None = None
    ended: bool = False

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Http2:
    """One connection: sends what it is told, understands what comes.

    Args:
        wire: connected.
        reads: gives the other side room to send, as it uses it up.

    Attributes:
        answers: by stream.
        goaway: the code and text of GOAWAY.
        settings: what the other side has set.
    """

    def __init__(self, wire: Wire, *, reads: bool = True) -> None:
        self.wire = wire
        self.answers: dict[int, Answer] = {}
        self.goaway: tuple[int, str] | None = None
        self.settings: dict[int, int] = {}
        self.settings_acknowledged = 0
        self.pings_answered = 0
        self._reads = reads
        self._decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self._block = bytearray()
        self._rooms: dict[int, int] = {}  # granted by WINDOW_UPDATE, minus what was sent

    async def start(self, values: Mapping[int, int] | None = None) -> None:
        """Send the preface and our settings."""
        await self.wire.send(PREFACE + settings(values))

    async def send(self, *frames: bytes) -> bool:
        return await self.wire.send(b"".join(frames))

    async def send_body(self, stream: int, payload: bytes, *, end: bool = True) -> bool:
        """Send DATA as the other side grants room for it; returns whether all of it went."""
        start = 0
        while start < len(payload):
            room = min(self._room(stream), self._room(0), FRAME_BYTES_MAX)
            if room <= 0:
                await self._read_until(partial(self._can_send_or_is_over, stream), 10)
                if self.answer(stream).over or not self._can_send_or_is_over(stream):
                    return False
                continue
            piece = payload[start : start + room]
            start += len(piece)
            for one in (0, stream):
                self._rooms[one] = self._rooms.get(one, 0) - len(piece)
            last = end and start == len(payload)
            if not await self.send(data(stream, piece, end=last)):
                return False
        return True

    def _can_send_or_is_over(self, stream: int) -> bool:
        return min(self._room(stream), self._room(0)) > 0 or self.answer(stream).over

    def _room(self, stream: int) -> int:
        first = self.settings.get(Setting.INITIAL_WINDOW_SIZE, 65_535) if stream else 65_535
        return first + self._rooms.get(stream, 0)

    def answer(self, stream: int) -> Answer:
        return self.answers.setdefault(stream, Answer())

    @property
    def closed(self) -> bool:
        return self.wire.closed or self.goaway is not None

    async def until_over(self, *streams: int, seconds_max: float = 10) -> None:
        """Read until the streams are over, or the connection is, or the time."""
        await self._read_until(lambda: all(self.answer(one).over for one in streams), seconds_max)

    async def until_closed(self, seconds_max: float = 10) -> None:
        """Read until the other side says goodbye or closes."""
        await self._read_until(lambda: self.goaway is not None, seconds_max)

    async def until_refused(self, seconds_max: float = 10) -> None:
        """Read until a stream is over, or the connection is, or the time."""

        def refused() -> bool:
            return self.closed or any(answer.over for answer in self.answers.values())

        await self._read_until(refused, seconds_max)

    async def until_pong(self, seconds_max: float = 10) -> bool:
        """Send a ping and wait for its answer: all that was sent before has been read."""
        wanted = self.pings_answered + 1
        await self.send(frame(Kind.PING, 0, 0, b"tianlu!!"))
        await self._read_until(lambda: self.pings_answered >= wanted, seconds_max)
        return self.pings_answered >= wanted

    async def _read_until(self, done: Callable[[], bool], seconds_max: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds_max
        self._understand()
        while not done() and not self.wire.closed:
            remaining = deadline - loop.time()
            if remaining <= 0:
                return
            await self.wire.receive(remaining)
            replies = self._understand()
            if replies:
                await self.wire.send(replies)

    def _understand(self) -> bytes:
        """Take in what has come; returns what is to be said to it."""
        replies = bytearray()
        buffer = self.wire.received
        while len(buffer) >= HEADER_BYTES:
            length = int.from_bytes(buffer[:3], "big")
            if len(buffer) < HEADER_BYTES + length:
                break
            kind, flags = buffer[3], buffer[4]
            stream = int.from_bytes(buffer[5:9], "big") & 0x7FFFFFFF
            payload = bytes(buffer[HEADER_BYTES : HEADER_BYTES + length])
            del buffer[: HEADER_BYTES + length]
            replies += self._take(kind, flags, stream, payload)
        return bytes(replies)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        if kind == Kind.SETTINGS:
            if flags & Flag.ACK:
                self.settings_acknowledged += 1
                return b""
            for start in range(0, len(payload), 6):
                key, value = struct.unpack_from(">HI", payload, start)
                self.settings[key] = value
            return frame(Kind.SETTINGS, Flag.ACK)
        if kind == Kind.PING:
            if flags & Flag.ACK:
                self.pings_answered += 1
                return b""
            return frame(Kind.PING, Flag.ACK, 0, payload)
        if kind == Kind.WINDOW_UPDATE:
            self._rooms[stream] = self._rooms.get(stream, 0) + int.from_bytes(payload, "big")
            return b""
        if kind == Kind.GOAWAY:
            self.goaway = (int.from_bytes(payload[4:8], "big"), payload[8:].decode("latin-1"))
            return b""
        return self._take_stream(kind, flags, stream, payload)

    def _take_stream(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        answer = self.answer(stream)
        if kind == Kind.RST_STREAM:
            answer.reset = int.from_bytes(payload, "big")
            return b""
        replies = b""
        if kind == Kind.DATA:
            answer.body += payload
            if self._reads and payload:
                replies = window_update(stream, len(payload)) + window_update(0, len(payload))
        elif kind in (Kind.HEADERS, Kind.CONTINUATION):
            self._block += payload
            if flags & Flag.END_HEADERS:
                answer.headers.update(self._decoder.decode(bytes(self._block)))
                self._block.clear()
        if kind in (Kind.DATA, Kind.HEADERS) and flags & Flag.END_STREAM:
            answer.ended = True
        return replies
