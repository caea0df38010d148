"""HTTP/2 frames that nobody should send."""

from __future__ import annotations

import asyncio

import pytest
from hostile import http2 as h2
from hostile.attacked import Attacked
from hostile.calls import PUT, ask, call, framed, grpc_headers, http2
from hostile.wire import dial

from tianlu._proto.etcd.rpc_pb2 import PutRequest

START = h2.PREFACE + h2.settings()
HEAD = grpc_headers(PUT)
HEAD_BLOCK = h2.block(HEAD)
PING = h2.frame(h2.Kind.PING, 0, 0, b"tianlu!!")

WRONG = {
    "no HTTP at all": b"\0\xff" * 500,
    "a ping before settings": h2.PREFACE + PING,
    "a frame of 16 MiB": START + b"\xff\xff\xff\0\0\0\0\0\1" + b"a" * 70_000,
    "a short ping": START + h2.frame(h2.Kind.PING, 0, 0, b"1"),
    "a short window update": START + h2.frame(h2.Kind.WINDOW_UPDATE, 0, 0, b"1"),
    "data on stream 0": START + h2.frame(h2.Kind.DATA, 0, 0, b"x"),
    "data on no stream": START + h2.data(5, b"x"),
    "a reset of no stream": START + h2.rst_stream(5),
    "an even stream": START + h2.headers(2, HEAD),
    "a push": START + h2.frame(h2.Kind.PUSH_PROMISE, h2.Flag.END_HEADERS, 1, b"\0\0\0\2"),
    "a window of more than 2 GiB": START + h2.window_update(0, 2**31 - 1) * 2,
    "a window update of nothing": START + h2.window_update(0, 0),
    "settings cut short": START + h2.frame(h2.Kind.SETTINGS, 0, 0, b"12345"),
    "settings of a stream": START + h2.frame(h2.Kind.SETTINGS, 0, 1),
    "a first window of 4 GiB": h2.PREFACE + h2.settings({4: 2**32 - 1}),
    "frames of a byte": h2.PREFACE + h2.settings({5: 1}),
    "a continuation of nothing": START + h2.frame(h2.Kind.CONTINUATION, 4, 1),
    "a ping within headers": START + h2.frame(h2.Kind.HEADERS, 0, 1, HEAD_BLOCK) + PING,
    "a header block of nonsense": START + h2.raw_headers(1, b"\xff" * 20),
    "an index beyond the tables": START + h2.raw_headers(1, h2.indexed(9999)),
    "a table of 16 MiB": START + h2.raw_headers(1, b"\x3f\xff\xff\xff\x07" + HEAD_BLOCK),
    "more padding than frame": START + h2.frame(h2.Kind.HEADERS, 12, 1, b"\xff" + HEAD_BLOCK),
    "upper case": START + h2.headers(1, [*HEAD, (b"X-Loud", b"1")]),
    "no path": START + h2.headers(1, grpc_headers(PUT, without={b":path"})),
    "two paths": START + h2.headers(1, [(b":path", b"/"), *HEAD]),
    "an empty path": START + h2.headers(1, grpc_headers(b"")),
    "a path behind the headers": START + h2.headers(1, [*HEAD, (b":path", b"/")]),
    "a header of HTTP/1": START + h2.headers(1, [*HEAD, (b"connection", b"close")]),
    "a line break in a value": START + h2.headers(1, [*HEAD, (b"x", b"a\r\nb: c")]),
    "a NUL in a value": START + h2.headers(1, [*HEAD, (b"x", b"a\0b")]),
    "a method that is none": START + h2.headers(1, [(b":method", b"P\xffT"), *HEAD[1:]]),
    "less than it says": START
    + h2.headers(1, [*HEAD, (b"content-length", b"3")])
    + h2.data(1, bytes(5), end=True),
    "trailers that do not end": START + h2.headers(1, HEAD) + h2.headers(1, [(b"x", b"y")]),
}


async def test_what_is_not_http2_ends_its_connection_or_stream(node: Attacked) -> None:
    with node.unharmed():
        refused = await asyncio.gather(*(_refused(node, data) for data in WRONG.values()))
    stayed = [name for name, ended in zip(WRONG, refused, strict=True) if not ended]
    assert not stayed, f"neither closed nor reset: {stayed}"


async def _refused(node: Attacked, data: bytes) -> bool:
    async with dial(node.target) as wire:
        connection = h2.Http2(wire)
        await wire.send(data)
        await connection.until_refused()
        answers = connection.answers.values()
        assert all("grpc-status" not in one.headers for one in answers)
        return connection.closed or any(one.reset is not None for one in answers)


FLOODS = {
    "settings": (b"", h2.settings()),
    "pings": (b"", PING),
    "priorities": (b"", h2.frame(h2.Kind.PRIORITY, 0, 1, b"\0\0\0\3\1")),
    "window updates": (b"", h2.window_update(0, 1)),
    "empty data": (h2.headers(1, HEAD), h2.data(1, b"")),
    "continuations": (
        h2.frame(h2.Kind.HEADERS, 0, 1, HEAD_BLOCK),
        h2.frame(h2.Kind.CONTINUATION, 0, 1, h2.literal(b"x", b"a" * 100)),
    ),
    "empty continuations": (
        h2.frame(h2.Kind.HEADERS, 0, 1, HEAD_BLOCK),
        h2.frame(h2.Kind.CONTINUATION, 0, 1),
    ),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_ends_its_connection(node: Attacked, name: str) -> None:
    first, again = FLOODS[name]
    with node.unharmed():
        async with dial(node.target) as wire:
            await wire.send(START + first)
            for _ in range(200):
                if wire.closed or not await wire.send(again * 1000):
                    break
                await wire.receive(0.001)
            await wire.until_closed()
            assert wire.closed


async def test_rapid_resets_end_their_connection(node: Attacked) -> None:
    """Source: CVE-2023-44487."""
    with node.unharmed():
        async with http2(node.target) as connection:
            for first in range(1, 40_001, 400):
                streams = range(first, first + 400, 2)
                frames = [h2.headers(one, HEAD) + h2.rst_stream(one) for one in streams]
                if not await connection.send(*frames) or connection.wire.closed:
                    break
                await connection.wire.receive(0.001)
            await connection.wire.until_closed()
            assert connection.wire.closed


@pytest.mark.parametrize(
    "more",
    [[(b"x", b"a" * 100_000)], [(b"x-%d" % number, b"a") for number in range(500)]],
    ids=["long", "many"],
)
async def test_huge_headers_are_not_taken(node: Attacked, more: list[tuple[bytes, bytes]]) -> None:
    with node.unharmed():
        async with http2(node.target) as connection:
            await call(connection, 1, [*HEAD, *more], framed(PutRequest(key=b"a")))
            await connection.until_refused()
            assert connection.closed or connection.answer(1).reset is not None
            assert "grpc-status" not in connection.answer(1).headers


async def test_a_header_bomb_of_references_is_not_taken(node: Attacked) -> None:
    """A field of 4 KB in the table, named ten thousand times by a byte each."""
    with node.unharmed():
        async with http2(node.target) as connection:
            entry = h2.added(b"x", b"a" * 3900)
            await connection.send(h2.raw_headers(1, HEAD_BLOCK + entry, end_stream=True))
            await connection.until_over(1)
            bomb = HEAD_BLOCK + h2.indexed(62) * 10_000
            await connection.send(h2.raw_headers(3, bomb, end_stream=True))
            await connection.until_over(3)
            assert connection.closed or connection.answer(3).reset is not None


async def test_a_name_in_any_bytes_is_answered(node: Attacked) -> None:
    """Python reads paths as UTF-8; what is none must not be left without an answer."""
    with node.unharmed():
        for path in (b"/%ff", b"/\xff", b"/%c3", b"/%e4%b8", b"/%ed%a0", b"/%F5%80%80%80"):
            async with http2(node.target) as connection:
                await call(connection, 1, grpc_headers(path), framed(b""))
                await connection.until_refused()
                answer = connection.answer(1)
                assert connection.closed or answer.over, path
                assert answer.headers.get("grpc-status", "13") == "13", path
        for path in ("/none", "/%25", "/%e4%b8%ad", "/%7e%00"):
            answer = await ask(node.target, grpc_headers(path.encode()), framed(b""))
            assert answer.headers["grpc-status"] == "12", path
