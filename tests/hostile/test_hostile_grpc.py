"""gRPC calls that nobody should make: each gets a clear status."""

from __future__ import annotations

import asyncio
import gzip
import struct
import zlib

import pytest
from hostile import http2 as h2
from hostile.attacked import Attacked
from hostile.calls import PUT, RANGE, TXN, WATCH, ask, call, framed, grpc_headers, http2

from tianlu._proto.etcd.rpc_pb2 import PutRequest, PutResponse, RequestOp, TxnRequest

BOMB_BYTES = 1 << 26
MESSAGE_BYTES_MAX = 2 * 1024 * 1024
OK = framed(PutRequest(key=b"hostile"))


def _bomb(window_bits: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, window_bits)
    piece = bytes(1 << 20)
    parts = [deflate.compress(piece) for _ in range(BOMB_BYTES // len(piece))]
    return b"".join([*parts, deflate.flush()])


@pytest.mark.parametrize(("encoding", "window_bits"), [(b"gzip", 31), (b"deflate", 15)])
async def test_a_bomb_is_not_unpacked(node: Attacked, encoding: bytes, window_bits: int) -> None:
    bomb = framed(await asyncio.to_thread(_bomb, window_bits), 1)
    head = grpc_headers(PUT, (b"grpc-encoding", encoding))
    with node.unharmed(32 << 20):
        answers = await asyncio.gather(*(ask(node.target, head, bomb) for _ in range(3)))
    for answer in answers:
        assert answer.headers["grpc-status"] == "8"
        assert "after decompression larger than max" in answer.headers["grpc-message"]


WRONG_BODIES = {
    "no message": (b"", "13", "no message"),
    "half a prefix": (b"\0\0", "13", "no message"),
    "4 GiB to come": (b"\0\xff\xff\xff\xffabc", "8", "larger than max"),
    "a flag that is none": (b"\7\0\0\0\0", "13", "flag"),
    "less than it says": (b"\0\0\0\0\x09abc", "13", "prefix says 9 bytes"),
    "more than it says": (OK + b"abc", "13", "prefix says"),
    "two messages": (OK + OK, "13", "prefix says"),
    "compressed with nothing": (b"\1\0\0\0\1a", "13", "names no encoding"),
    "no protobuf": (framed(b"\xff" * 40), "13", "unmarshal"),
    "a group without end": (framed(b"\x0b" * 500), "13", "unmarshal"),
    "a length beyond the end": (framed(b"\x0a\xff\xff\xff\x7f"), "13", "unmarshal"),
    "unknown fields without end": (framed(b"\xf8\x3f\x01" * 300_000), "3", "key is not provided"),
}


async def test_a_wrong_body_is_told_what_is_wrong(node: Attacked) -> None:
    head = grpc_headers(PUT)
    with node.unharmed():
        bodies = [body for body, _, _ in WRONG_BODIES.values()]
        answers = await asyncio.gather(*(ask(node.target, head, body) for body in bodies))
    for (name, (_, code, text)), answer in zip(WRONG_BODIES.items(), answers, strict=True):
        assert answer.headers.get("grpc-status") == code, (name, answer)
        assert text in answer.headers["grpc-message"], name


WRONG_HEADS = {
    "no te": (grpc_headers(PUT, without={b"te"}), "13", "te: must be trailers"),
    "an unknown method": (grpc_headers(b"/etcdserverpb.KV/Pat"), "12", "unknown method Pat"),
    "an unknown service": (grpc_headers(b"/a.B/C"), "12", "unknown service a.B"),
    "a path of dots": (grpc_headers(b"/../../etc/passwd"), "12", "unknown service"),
    "a path of 20 KB": (grpc_headers(b"/" + b"a" * 20_000), "12", "unknown"),
    "an unknown encoding": (
        grpc_headers(PUT, (b"grpc-encoding", b"zstd")),
        "12",
        "'zstd' is not supported",
    ),
}
WRONG_TIMEOUTS = (b"", b"S", b"-1S", b"999999999S", b"1x", b"1S, 2S", b"1.5S", b"\xef\xbc\x91S")


async def test_a_wrong_head_is_told_what_is_wrong(node: Attacked) -> None:
    body = framed(PutRequest(key=b"hostile"), 0)
    packed = framed(gzip.compress(b""), 1)
    with node.unharmed():
        answers = await asyncio.gather(
            *(
                ask(node.target, head, packed if name == "an unknown encoding" else body)
                for name, (head, _, _) in WRONG_HEADS.items()
            ),
            *(
                ask(node.target, grpc_headers(PUT, (b"grpc-timeout", value)), body)
                for value in WRONG_TIMEOUTS
            ),
        )
    for (name, (_, code, text)), answer in zip(WRONG_HEADS.items(), answers, strict=False):
        assert answer.headers.get("grpc-status") == code, (name, answer)
        assert text in answer.headers["grpc-message"], name
    for value, answer in zip(WRONG_TIMEOUTS, answers[len(WRONG_HEADS) :], strict=True):
        assert answer.headers.get("grpc-status") == "3", (value, answer)


async def test_another_content_type_calls_nothing(node: Attacked) -> None:
    with node.unharmed():
        for kind in (b"application/json", b"application/x-www-form-urlencoded", b""):
            head = grpc_headers(PUT, (b"content-type", kind), without={b"content-type"})
            answer = await ask(node.target, head, OK)
            assert answer.headers[":status"] == "415", kind


@pytest.mark.parametrize("path", [PUT, WATCH], ids=["one", "stream"])
async def test_a_message_over_the_limit_is_refused_before_it_is_there(
    node: Attacked, path: bytes
) -> None:
    with node.unharmed():
        async with http2(node.target) as connection:
            await connection.send(h2.headers(1, grpc_headers(path)))
            prefix = struct.pack(">BI", 0, MESSAGE_BYTES_MAX + 1)
            await connection.send_body(1, prefix + bytes(MESSAGE_BYTES_MAX), end=False)
            await connection.until_over(1)
            head = connection.answer(1).headers
            assert head["grpc-status"] == "8"
            assert "larger than max (2097153 vs. 2097152)" in head["grpc-message"]


async def test_a_transaction_within_transactions(node: Attacked) -> None:
    """Far deeper than protobuf reads, as deep as it reads, and very wide."""
    deep = b""
    for _ in range(20_000):
        inner = b"\x22" + _varint(len(deep)) + deep  # RequestOp.request_txn
        deep = b"\x12" + _varint(len(inner)) + inner  # TxnRequest.success
    nested = TxnRequest()
    for _ in range(40):
        nested = TxnRequest(success=[RequestOp(request_txn=nested)])
    wide = b"\x12\x00" * 500_000
    with node.unharmed():
        heads = [grpc_headers(TXN)] * 3
        bodies = [framed(deep), framed(nested), framed(wide)]
        answers = await asyncio.gather(
            *(ask(node.target, head, body) for head, body in zip(heads, bodies, strict=True))
        )
    assert [answer.headers["grpc-status"] for answer in answers] == ["13", "0", "3"]
    assert "too many operations" in answers[2].headers["grpc-message"]


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number >= 128:
        encoded.append(number % 128 | 128)
        number //= 128
    encoded.append(number)
    return bytes(encoded)


async def test_thousands_of_calls_on_one_connection(node: Attacked) -> None:
    streams = range(1, 4_001, 2)
    with node.unharmed(96 << 20):
        async with http2(node.target) as connection:
            for first in range(0, len(streams), 100):
                await connection.send(
                    *(
                        h2.headers(stream, grpc_headers(PUT)) + h2.data(stream, OK, end=True)
                        for stream in streams[first : first + 100]
                    )
                )
            await connection.until_over(*streams, seconds_max=60)
            codes = {connection.answer(stream).headers.get("grpc-status") for stream in streams}
            assert codes == {"0"}


async def test_streams_that_never_say_anything(node: Attacked) -> None:
    """Watches without a request, renewals without a lease, half-closed and not."""
    paths = [WATCH, b"/etcdserverpb.Lease/LeaseKeepAlive", b"/tianlu.v1.Catalog/Watch"]
    with node.unharmed(96 << 20):
        async with http2(node.target) as connection:
            for number in range(600):
                head = grpc_headers(paths[number % len(paths)])
                end = number % 2 == 0
                await connection.send(h2.headers(2 * number + 1, head, end_stream=end))
            assert await connection.until_pong(30)
            stream = 2 * 600 + 1
            await call(connection, stream, grpc_headers(PUT), OK)
            await connection.until_over(stream)
            answer = connection.answer(stream)
            assert answer.headers["grpc-status"] == "0"
            assert PutResponse.FromString(bytes(answer.body[5:])).header.revision > 1


async def test_very_many_messages_in_one_piece_let_others_have_their_turn(node: Attacked) -> None:
    with node.unharmed():
        async with http2(node.target) as connection:
            await connection.send(h2.headers(1, grpc_headers(WATCH)))
            await connection.send_body(1, framed(b"") * 200_000, end=False)
            await connection.until_pong()
            await call(connection, 3, grpc_headers(RANGE), framed(b"\x0a\x01a"))
            await connection.until_over(3)
