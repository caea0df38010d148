"""Streams and calls on a peer that accepts connections and says nothing, and on a closed client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tianlu import _stream
from tianlu._channel import Connection
from tianlu._endpoint import parse_endpoints
from tianlu._errors import ClientClosed, Unavailable
from tianlu._proto.v1 import catalog_pb2
from tianlu._rpc import DISCOVER, WATCH

REQUEST = catalog_pb2.WatchRequest()


@asynccontextmanager
async def silent_peer() -> AsyncIterator[Connection]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = f"127.0.0.1:{listening.getsockname()[1]}"
        connection = Connection(parse_endpoints(endpoint), timeout_seconds=30)
        yield connection
        await connection.close()


async def test_a_stream_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stream, "WRITE_SECONDS_MAX", 0.05)
    async with silent_peer() as connection:
        with pytest.raises(Unavailable, match=r"took nothing for 0\.05 s"):
            await (await connection.stream(WATCH)).write(REQUEST)


async def test_the_end_of_a_stream_is_not_the_end_of_the_task_that_uses_it() -> None:
    async with silent_peer() as connection:
        stream = await connection.stream(WATCH)
        reading = asyncio.create_task(stream.read())
        await asyncio.sleep(0)
        stream.cancel()
        with pytest.raises(Unavailable, match="the stream has ended"):
            await reading
        with pytest.raises(Unavailable, match="the stream has ended"):
            await stream.write(REQUEST)


async def test_a_task_that_is_cancelled_is_cancelled() -> None:
    async with silent_peer() as connection:
        first, second = await connection.stream(WATCH), await connection.stream(WATCH)
        for work in (first.read(), second.write(REQUEST)):
            task = asyncio.create_task(work)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()


async def test_a_call_under_way_is_told_that_the_client_was_closed() -> None:
    async with silent_peer() as connection:
        call = asyncio.create_task(connection.call(DISCOVER, catalog_pb2.DiscoverRequest()))
        await asyncio.sleep(0.05)
        await connection.close()
        with pytest.raises(ClientClosed):
            await call
