"""HTTP/1.1 and JSON that nobody should send: each gets a clear error, soon."""

from __future__ import annotations

import asyncio
import json

import pytest
from hostile.attacked import Attacked
from hostile.calls import http1, post
from hostile.wire import dial

CLOSE = "connection: close"
MANY = 100_000

BODIES = {
    "lists without end": (b"[" * 1_000_000, "is nested too deeply"),
    "objects without end": (b'{"a":' * 200_000, "is nested too deeply"),
    "known objects without end": (b'{"success":[' * 50_000, "is nested too deeply"),
    "a number of a million digits": (b"1" * 1_000_000, "too many digits"),
    "a field of a million digits": (b'{"lease":' + b"9" * 1_000_000 + b"}", "too many digits"),
    "a number beyond 64 bits": (b'{"lease":1e300}', "lease: is 1"),
    "no number": (b'{"lease":NaN}', "NaN is not a number"),
    "no UTF-8": (b'{"key":"\xff"}', "is not UTF-8"),
    "half a character": (b'{"key":"\\ud800"}', "is not base64"),
    "a name twice": (b'{"key":"","key":""}', "key: is given twice"),
    "very many names, one twice": (
        b"{" + b",".join(b'"%x":0' % each for each in range(MANY)) + b',"1869f":0}',
        "1869f: is given twice",
    ),
    "very many names": (
        b"{" + b",".join(b'"%x":0' % each for each in range(MANY)) + b"}",
        "is not a field",
    ),
    "cut short": (b'{"key":"a', "is not JSON"),
    "two objects": (b"{}{}", "is not JSON"),
    "3 MiB of spaces and more": (b" " * (3 * 1024 * 1024 + 1), "longer than"),
    "NUL": (b"\0", "is not JSON"),
}


async def test_a_wrong_body_is_told_what_is_wrong_soon(node: Attacked) -> None:
    with node.unharmed(96 << 20):
        for name, (body, text) in BODIES.items():
            answer = await http1(node.target, post("/v3/kv/put", body, CLOSE))
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 429 ")), (name, answer[:300])
            assert text in _error(answer), (name, answer[-500:])


def _error(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"])


async def test_a_list_of_nothing_is_not_read_to_its_end(node: Attacked) -> None:
    body = b'{"success":[' + b",".join([b"{}"] * 500_000) + b"]}"
    with node.unharmed(128 << 20):
        answer = await http1(node.target, post("/v3/kv/txn", body, CLOSE))
        assert "success: has 500000 items" in _error(answer)


STREAMS = {
    "objects without end": (b'{"a":' * 100_000, "nested more than 1000 deep"),
    "braces without end": (b"{" * 2_000_000, "nested more than 1000 deep"),
    "a text without end": (b'{"a":"' + b"a" * 2_200_000, "longer than"),
    "something else": (b"[1]", "sequence of JSON objects"),
    "very many of nothing": (b"{}" * 50_000 + b"[", "sequence of JSON objects"),
    "spaces": (b" " * 2_000_000 + b"x", "sequence of JSON objects"),
}


async def test_a_wrong_stream_of_objects_ends(node: Attacked) -> None:
    with node.unharmed(96 << 20):
        for name, (body, text) in STREAMS.items():
            answer = await http1(node.target, post("/v3/watch", body, CLOSE), 60)
            assert text in answer.decode(), (name, answer[-500:])


MALFORMED = {
    "a length and chunks": b"POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /version HTTP/1.1\r\nhost: x\r\n\r\n",
    "two lengths": b"POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n"
    b"content-length: 2\r\n\r\nab",
    "a negative length": b"POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "a length with a sign": b"POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ncontent-length: +1\r\n\r\na",
    "a coding that is none": b"POST /v3/kv/put HTTP/1.1\r\nhost: x\r\n"
    b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a negative chunk": b"POST /v3/kv/put HTTP/1.1\r\nhost: x\r\n"
    b"transfer-encoding: chunked\r\n\r\n-1\r\na\r\n",
    "a space before a colon": b"POST /v3/kv/put HTTP/1.1\r\nhost : x\r\n\r\n",
    "a NUL in the method": b"G\0T /version HTTP/1.1\r\nhost: x\r\n\r\n",
    "a NUL in a value": b"GET /version HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n",
    "a method that is none": b"FETCHED /version HTTP/1.1\r\nhost: x\r\n\r\n",
    "a path that is none": b"GET version HTTP/1.1\r\nhost: x\r\n\r\n",
    "an unknown version": b"GET /version HTTP/9.9\r\nhost: x\r\n\r\n",
    "no version": b"GET /version\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n",
    "no header at all": b"\r\n\r\n\r\n\0\0\0\0",
    "a path in other bytes": b"GET /%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "TLS": bytes.fromhex("160301020001000 1fc0303".replace(" ", "")) + bytes(600),
}


async def test_malformed_http1_is_refused_and_closed(node: Attacked) -> None:
    with node.unharmed():
        answers = await asyncio.gather(*(http1(node.target, data) for data in MALFORMED.values()))
    for name, answer in zip(MALFORMED, answers, strict=True):
        # One answer, and it is a refusal: what stands behind is not taken for another request.
        assert answer.count(b"HTTP/1.1 ") <= 1, (name, answer)
        assert not answer.startswith(b"HTTP/1.1 2"), (name, answer)


async def test_headers_beyond_the_limit_are_refused(node: Attacked) -> None:
    with node.unharmed():
        for more in (b"a: " + b"x" * 70_000 + b"\r\n", b"a: x\r\n" * 200):
            head = b"GET /version HTTP/1.1\r\nhost: x\r\n" + more + b"\r\n"
            assert (await http1(node.target, head)).startswith(b"HTTP/1.1 431 ")


async def test_requests_one_after_another_are_answered_in_order(node: Attacked) -> None:
    body = b'{"key":"aG9zdGlsZQ=="}'
    with node.unharmed():
        data = post("/v3/kv/put", body) * 200 + post("/v3/kv/range", body, CLOSE)
        answer = await http1(node.target, data, 60)
    assert answer.count(b"HTTP/1.1 200 OK") == 201
    assert answer.rpartition(b"HTTP/1.1")[2].count(b"kvs") == 1


async def test_a_chunk_of_every_byte_is_put_together(node: Attacked) -> None:
    body = json.dumps({"key": "aG9zdGlsZQ==", "value": "eA==" * 500}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    head = b"POST /v3/kv/put HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
    with node.unharmed():
        answer = await http1(node.target, head + b"connection: close\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 400 ")  # the value is not base64: all of it was read
    assert b"value" in answer


@pytest.mark.parametrize("start", [b"GET /version HTTP/1.1\r\nhost: x\r\na: ", b"PRI * HT"])
async def test_headers_drop_by_drop_end(node: Attacked, start: bytes) -> None:
    """HTTP/1.1 is told so after ten seconds; what is not yet HTTP at all is kept for an hour."""
    with node.unharmed():
        async with dial(node.target) as wire:
            await wire.send(start)
            if start.startswith(b"PRI"):
                await wire.send(b"xx\r\n\r\n")
            assert (await wire.until_closed(30)).startswith((b"HTTP/1.1 408", b"HTTP/1.1 400"))
