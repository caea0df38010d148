"""gRPC and HTTP/1.1 requests made by hand, so that any part of them can be wrong."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from google.protobuf.message import Message
from hostile.http2 import Answer, Http2, headers
from hostile.wire import dial

PUT = b"/etcdserverpb.KV/Put"
RANGE = b"/etcdserverpb.KV/Range"
TXN = b"/etcdserverpb.KV/Txn"
WATCH = b"/etcdserverpb.Watch/Watch"
SNAPSHOT = b"/etcdserverpb.Maintenance/Snapshot"

Headers = list[tuple[bytes, bytes]]


def grpc_headers(
    path: bytes, *more: tuple[bytes, bytes], without: Collection[bytes] = ()
) -> Headers:
    """Return the headers of a call."""
    pairs = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    return [*(pair for pair in pairs if pair[0] not in without), *more]


def framed(message: Message | bytes, flag: int = 0) -> bytes:
    """Return a message with gRPC's prefix."""
    content = message if isinstance(message, bytes) else message.SerializeToString()
    return struct.pack(">BI", flag, len(content)) + content


@contextlib.asynccontextmanager
async def http2(
    target: str, settings: Mapping[int, int] | None = None, *, reads: bool = True
) -> AsyncIterator[Http2]:
    """Speak HTTP/2 with a node until the block ends."""
    async with dial(target) as wire:
        connection = Http2(wire, reads=reads)
        await connection.start(settings)
        yield connection


async def call(
    connection: Http2, stream: int, head: Sequence[tuple[bytes, bytes]], body: bytes = b""
) -> None:
    """Send a request, without waiting for the answer."""
    await connection.send(headers(stream, head, end_stream=not body))
    if body:
        await connection.send_body(stream, body)


async def ask(
    target: str, head: Sequence[tuple[bytes, bytes]], body: bytes = b"", seconds_max: float = 20
) -> Answer:
    """Make one call on a connection of its own; returns what came of it."""
    async with http2(target) as connection:
        await call(connection, 1, head, body)
        await connection.until_over(1, seconds_max=seconds_max)
        return connection.answer(1)


def post(path: str, body: bytes, *more: str, length: int | None = None) -> bytes:
    """Return an HTTP/1.1 request with a JSON body."""
    lines = [f"POST {path} HTTP/1.1", "host: localhost", "content-type: application/json", *more]
    lines.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def http1(target: str, request: bytes, seconds_max: float = 20) -> bytes:
    """Send bytes; returns all that comes until the other side closes."""
    async with dial(target) as wire:
        await wire.send(request)
        answer = await wire.until_closed(seconds_max)
        assert wire.closed, f"neither answered nor closed: {answer[:200]!r}"
        return answer
