"""A bug, or an answer that nobody thought of, ends neither the watch nor the session."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tianlu import AsyncClient, NotAllowed, _follow, _registrar
from tianlu._channel import Connection
from tianlu._endpoint import Endpoint
from tianlu._follow import Follower, Scope
from tianlu._proto.v1 import catalog_pb2
from tianlu._registrar import Registrar
from tianlu._retry import Deadline
from tianlu._session import State

TTL_SECONDS = 3


class Stream:
    """Answers each request that is no acknowledgement once, then is silent."""

    endpoint = Endpoint("127.0.0.1:1")

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self._asked: asyncio.Queue[Any] = asyncio.Queue()

    async def write(self, request: Any) -> None:
        if not (isinstance(request, catalog_pb2.WatchRequest) and request.HasField("ack")):
            self._asked.put_nowait(request)

    async def read(self, _silence_seconds: float | None = None) -> Any:
        await self._asked.get()
        return self._answer

    def cancel(self) -> None: ...


class Registry:
    """A connection whose streams all give one answer; sessions are opened at once."""

    endpoint = Stream.endpoint

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.streams = 0

    async def stream(self, _method: Any) -> Stream:
        self.streams += 1
        return Stream(self._answer)

    async def call(self, _method: Any, _request: Any, **_: Any) -> Any:
        return catalog_pb2.OpenSessionResponse(session_id=7, ttl_seconds=TTL_SECONDS)

    def turn_from(self, _endpoint: Endpoint) -> None: ...

    def served(self, _endpoint: Endpoint) -> None: ...


async def test_a_watch_that_fails_is_degraded_and_opened_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry(catalog_pb2.WatchResponse(revision=5, snapshot=True, snapshot_end=True))
    follower = Follower(
        cast("Connection", registry), Scope("default"), subscriber="", acknowledge=False
    )
    decode, failures = _follow.decode, [ValueError("a bug")]

    def decode_second_time(response: catalog_pb2.WatchResponse) -> _follow.Batch:
        if failures:
            raise failures.pop()
        return decode(response)

    monkeypatch.setattr(_follow, "decode", decode_second_time)
    seen = []
    async for _ in follower.changes():
        seen.append(follower.cache.degraded)
        if follower.cache.synced:
            break
    assert "the watch failed: ValueError('a bug')" in seen[0]
    assert seen[-1] == ""
    assert registry.streams == 2


async def test_a_refused_subscription_can_be_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry(catalog_pb2.WatchResponse(revision=5, snapshot=True, snapshot_end=True))
    async with AsyncClient("127.0.0.1:1", timeout_seconds=1) as client:
        monkeypatch.setattr(client._subscriptions, "_connection", registry)
        with monkeypatch.context() as refusing:
            refusing.setattr(_follow, "decode", _refuse)
            with pytest.raises(NotAllowed):
                await client.subscribe("orders")
        await client.subscribe("orders")
        assert client.subscribed("orders")


def _refuse(_: catalog_pb2.WatchResponse) -> _follow.Batch:
    raise NotAllowed("not from here")


async def test_a_session_that_fails_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(catalog_pb2.KeepAliveResponse(ttl_seconds=TTL_SECONDS))
    registrar = Registrar(cast("Connection", registry), name="", ttl_seconds=TTL_SECONDS)
    failures = [ValueError("in the first stream"), ValueError("in the first opening")]

    def fail_first(*_: Any) -> float:
        if failures:
            raise failures.pop()
        return 0.0

    open_, hold = Registrar._open, Registrar._hold

    async def open_second_time(self: Registrar) -> Any:
        fail_first()
        return await open_(self)

    monkeypatch.setattr(_registrar.Registrar, "_open", open_second_time)

    async def hold_second_time(self: Registrar) -> Any:
        fail_first()
        return await hold(self)

    monkeypatch.setattr(_registrar.Registrar, "_hold", hold_second_time)
    assert await registrar.held_session(Deadline.after(5)) == 7
    assert registrar.state is State.HELD
    assert not failures
    await registrar.close(Deadline.after(1))
