"""Clients that do not read what they have asked for: they cost a bound, and only themselves."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from hostile import http2 as h2
from hostile.attacked import MIB, Attacked
from hostile.calls import (
    PUT,
    RANGE,
    SNAPSHOT,
    WATCH,
    ask,
    call,
    framed,
    grpc_headers,
    http2,
    post,
)
from hostile.wire import dial

from tianlu._proto.etcd.rpc_pb2 import (
    PutRequest,
    RangeRequest,
    SnapshotRequest,
    WatchCreateRequest,
    WatchRequest,
)

KEY = b"hostile/read"
STREAMS = 40
NO_ROOM = {h2.Setting.INITIAL_WINDOW_SIZE: 0}
A_BYTE = {h2.Setting.INITIAL_WINDOW_SIZE: 1}


async def _put(node: Attacked, size: int) -> None:
    body = framed(PutRequest(key=KEY, value=bytes(size)))
    answer = await ask(node.target, grpc_headers(PUT), body)
    assert answer.headers["grpc-status"] == "0"


@pytest.mark.parametrize("settings", [NO_ROOM, A_BYTE], ids=["nothing", "a byte"])
async def test_answers_that_nobody_takes(node: Attacked, settings: dict[int, int]) -> None:
    await _put(node, MIB)
    with node.unharmed(STREAMS * 3 * MIB):
        async with http2(node.target, settings, reads=False) as connection:
            body = framed(RangeRequest(key=KEY, serializable=True))
            for number in range(STREAMS):
                await call(connection, 2 * number + 1, grpc_headers(RANGE), body)
            assert await connection.until_pong(30)
    await _put(node, 1)


async def test_watches_that_nobody_reads_do_not_hold_what_they_miss(node: Attacked) -> None:
    """8 MiB of events for each of 40 streams would be 320 MiB."""
    await _put(node, 1)
    with node.unharmed(STREAMS * 2 * MIB):
        async with http2(node.target, NO_ROOM) as connection:
            create = framed(WatchRequest(create_request=WatchCreateRequest(key=KEY)))
            for number in range(STREAMS):
                stream = 2 * number + 1
                await connection.send(h2.headers(stream, grpc_headers(WATCH)))
                await connection.send_body(stream, create, end=False)
            assert await connection.until_pong(30)
            for _ in range(16):
                await _put(node, MIB // 2)
    await _put(node, 1)


async def test_a_snapshot_that_nobody_reads(node: Attacked) -> None:
    await _put(node, MIB)
    with node.unharmed():
        async with http2(node.target, NO_ROOM) as connection:
            for number in range(3):
                head = grpc_headers(SNAPSHOT)
                await call(connection, 2 * number + 1, head, framed(SnapshotRequest()))
            assert await connection.until_pong(30)
            await _put(node, 1)


async def test_json_that_nobody_reads(node: Attacked) -> None:
    """Requests one behind the other on one connection, and a watch, without reading a byte."""
    await _put(node, MIB)
    key = base64.b64encode(KEY).decode()
    body = json.dumps({"key": key}).encode()
    watch = json.dumps({"create_request": {"key": key}}).encode()
    with node.unharmed():
        async with dial(node.target) as reading, dial(node.target) as watching:
            await reading.send(post("/v3/kv/range", body) * 100)
            await watching.send(post("/v3/watch", watch))
            for _ in range(8):
                await _put(node, MIB // 2)
    await _put(node, 1)


async def test_who_reads_drop_by_drop_gets_all_of_it(node: Attacked) -> None:
    await _put(node, 20_000)
    with node.unharmed():
        async with http2(node.target, {h2.Setting.INITIAL_WINDOW_SIZE: 1000}) as connection:
            body = framed(RangeRequest(key=KEY, serializable=True))
            await call(connection, 1, grpc_headers(RANGE), body)
            await connection.until_over(1)
            answer = connection.answer(1)
    assert answer.headers["grpc-status"] == "0"
    assert len(answer.body) > 20_000


async def test_resets_in_the_middle_of_answers(node: Attacked) -> None:
    await _put(node, MIB)
    body = framed(RangeRequest(key=KEY, serializable=True))
    with node.unharmed():
        for _ in range(20):
            async with http2(node.target) as connection:
                await asyncio.gather(
                    *(call(connection, stream, grpc_headers(RANGE), body) for stream in (1, 3, 5))
                )
                await connection.wire.receive()
                connection.wire.reset()
    await _put(node, 1)
