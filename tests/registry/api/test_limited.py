"""Limits per client around an application, at times that the test chooses."""

from __future__ import annotations

import asyncio
from typing import Any

from registry.api.asgi_fakes import FakeCall

from tianlu_registry.api.grpc_asgi import PACE
from tianlu_registry.api.limited import LimitedApp, LimitsCollector, limited_app
from tianlu_registry.limits import Concurrency, Rates
from tianlu_registry.limits.settings import ClientLimits

TEXT = "etcdserver: too many requests"


class Served:
    """An application that remembers what it was asked, and answers when it is let."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []
        self.let = asyncio.Event()
        self.let.set()
        self.quota: Any = None
        self.limited: LimitedApp | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if self.limited is not None:
            self.quota = self.limited.watch_quota()
        await self.let.wait()


def limited(served: Served, **limits: Any) -> tuple[LimitedApp, list[float]]:
    now = [100.0]
    app = LimitedApp(served, lambda scope: scope["client"][0], clock=lambda: now[0], **limits)
    return app, now


async def call(app: LimitedApp, path: str = "/p.S/M", host: str = "a", **options: Any) -> FakeCall:
    made = FakeCall(path, **options)
    made.scope["client"] = (host, 1)
    return await made.run(app)


async def test_a_rate() -> None:
    served = Served()
    app, now = limited(served, rates=Rates(2, 2))
    answers = [await call(app) for _ in range(3)]
    assert len(served.scopes) == 2
    assert (answers[2].code, answers[2].message) == (8, TEXT)
    assert answers[2].trailers[b"grpc-retry-pushback-ms"] == b"500"
    await call(app, host="b")
    now[0] += 0.5
    await call(app)
    assert len(served.scopes) == 4
    assert app.refused["requests"] == 1
    assert app.clients == 2


async def test_http_is_told_when_to_come_back() -> None:
    app, _ = limited(Served(), rates=Rates(0.25, 1))
    await call(app)
    answer = await call(app, "/v3/kv/put", headers=[(b"content-type", b"application/json")])
    assert answer.status == 429
    assert answer.headers[b"retry-after"] == b"4"
    assert TEXT.encode() in answer.body


async def test_who_asks_whether_the_node_lives_is_answered() -> None:
    served = Served()
    app, _ = limited(served, rates=Rates(1, 1), calls=Concurrency(1))
    paths = [
        "/-/alive",
        "/livez",
        "/readyz",
        "/readyz/x",
        "/health",
        "/grpc.health.v1.Health/Check",
    ]
    for path in paths * 2:
        await call(app, path)
    assert len(served.scopes) == 12


async def test_messages_on_streams_take_from_the_same_rate() -> None:
    served = Served()
    app, _ = limited(served, rates=Rates(10, 2))
    await call(app)
    pace = served.scopes[0][PACE]
    assert pace() == 0
    assert round(pace(), 3) == 0.1
    assert (await call(app)).code == 8


async def test_open_calls_are_counted_until_they_end() -> None:
    served = Served()
    app, _ = limited(served, calls=Concurrency(2))
    served.let.clear()
    running = [asyncio.create_task(call(app)) for _ in range(2)]
    while len(served.scopes) < 2:
        await asyncio.sleep(0)
    refused = await call(app)
    assert (refused.code, refused.message) == (8, TEXT)
    assert int(refused.trailers[b"grpc-retry-pushback-ms"]) == 1000
    running[0].cancel()
    await asyncio.gather(running[0], return_exceptions=True)
    served.let.set()
    await call(app)
    await running[1]
    assert len(served.scopes) == 3
    assert app.refused["streams"] == 1


async def test_watches_are_counted_for_whoever_calls() -> None:
    served = Served()
    app, _ = limited(served, watches=Concurrency(1))
    served.limited = app
    await call(app, host="a")
    of_a = served.quota
    await call(app, host="b")
    assert of_a.open()
    assert not of_a.open()
    assert served.quota.open()
    of_a.close()
    assert of_a.open()
    assert app.refused["watches"] == 1


def test_without_limits_there_is_nothing_around() -> None:
    assert limited_app(Served(), str, ClientLimits(max_connections_per_client=5)) is None
    assert limited_app(Served(), str, ClientLimits(max_watches_per_client=5)) is not None
    (refused, remembered) = LimitsCollector(None, None).collect()
    assert {sample.value for sample in refused.samples} == {0}
    assert [sample.value for sample in remembered.samples] == [0]
