"""Framing and compression: any cutting of the bytes gives the same messages, and limits hold."""

from __future__ import annotations

import gzip
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.api.grpc_asgi import RpcError, StatusCode
from tianlu_registry.api.grpc_asgi.compression import compress, decompress
from tianlu_registry.api.grpc_asgi.frames import FrameBuffer, frame


@given(
    messages=st.lists(st.binary(max_size=300), max_size=20),
    cuts=st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_messages_survive_any_cutting(messages: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frame(message) for message in messages)
    buffer = FrameBuffer(300)
    found = []
    position = turn = 0
    while position < len(data):
        size = cuts[turn % len(cuts)]
        buffer.feed(data[position : position + size])
        position, turn = position + size, turn + 1
        while (one := buffer.next_message()) is not None:
            found.append(one)
    buffer.check_finished()
    assert found == [(0, message) for message in messages]


def test_large_stream_gives_its_memory_back() -> None:
    buffer = FrameBuffer(100_000)
    one = frame(b"x" * 99_999)
    buffer.feed(one * 3 + one[:-1])
    for _ in range(3):
        assert buffer.next_message() is not None
    assert buffer.next_message() is None
    assert len(buffer._buffer) < 2 * len(one)


def test_message_over_the_limit_is_refused_at_its_prefix() -> None:
    buffer = FrameBuffer(100)
    buffer.feed(struct.pack(">BI", 0, 101))
    with pytest.raises(RpcError, match=r"larger than max \(101 vs\. 100\)") as caught:
        buffer.next_message()
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED


def test_unknown_flag_and_truncated_stream_are_errors() -> None:
    buffer = FrameBuffer(100)
    buffer.feed(struct.pack(">BI", 7, 1) + b"x")
    with pytest.raises(RpcError, match="flag is 7"):
        buffer.next_message()
    buffer = FrameBuffer(100)
    buffer.feed(frame(b"xyz")[:-1])
    assert buffer.next_message() is None
    with pytest.raises(RpcError, match="ended inside a message"):
        buffer.check_finished()


@given(message=st.binary(max_size=2000), encoding=st.sampled_from([b"gzip", b"deflate"]))
def test_compression_round_trip(message: bytes, encoding: bytes) -> None:
    assert decompress(compress(message, encoding), encoding, len(message)) == message


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_a_bomb_stops_at_the_limit(encoding: bytes) -> None:
    bomb = compress(b"\0" * 10_000_000, encoding)
    with pytest.raises(RpcError, match="larger than max 1000") as caught:
        decompress(bomb, encoding, 1000)
    assert caught.value.code is StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("data", "encoding", "code", "text"),
    [
        (b"x", b"snappy", StatusCode.UNIMPLEMENTED, "'snappy' is not supported"),
        (b"x", None, StatusCode.INTERNAL, "names no encoding"),
        (b"x", b"identity", StatusCode.INTERNAL, "names no encoding"),
        (b"not gzip", b"gzip", StatusCode.INTERNAL, "not valid gzip"),
        (gzip.compress(b"abcdef", mtime=0)[:-9], b"gzip", StatusCode.INTERNAL, "ends inside"),
        (zlib.compress(b"abcdef")[:-5], b"deflate", StatusCode.INTERNAL, "ends inside"),
    ],
)
def test_what_cannot_be_decompressed(
    data: bytes, encoding: bytes | None, code: StatusCode, text: str
) -> None:
    with pytest.raises(RpcError, match=text) as caught:
        decompress(data, encoding, 1000)
    assert caught.value.code is code
