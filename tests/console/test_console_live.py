"""Live pages: the feed that notices, the hub that passes on, the stream's bytes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from conftest import BASE, SettableClock, Site, shop
from console_catalogue import HandFedCatalogue, instance

from tianlu import ServiceKey
from tianlu_console.access.gate import SESSION_COOKIE
from tianlu_console.catalogue.feed import CatalogueFeed, FeedChange, differing_services
from tianlu_console.errors import Overloaded
from tianlu_console.live import stream as stream_module
from tianlu_console.live.hub import (
    AUDIT_CHANGED,
    INSTANCES_CHANGED,
    SERVICES_CHANGED,
    SOURCE_CHANGED,
    LiveHub,
)
from tianlu_console.live.stream import EventStream, encode_event

ORDERS = ServiceKey("default", "orders")
STOCK = ServiceKey("default", "inventory")


async def allowed() -> bool:
    return True


async def until(condition: Any, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_client_hears_what_concerns_it() -> None:
    hub = LiveHub()
    with hub.client(ORDERS) as orders, hub.client(None) as everything:
        hub.catalogue_changed(FeedChange(7, frozenset({STOCK}), source_changed=False))
        assert orders.take() == {SERVICES_CHANGED: 7}
        assert everything.take() == {SERVICES_CHANGED: 7}
        hub.catalogue_changed(FeedChange(8, frozenset({ORDERS}), source_changed=False))
        assert orders.take() == {SERVICES_CHANGED: 8, INSTANCES_CHANGED: 8}
        hub.catalogue_changed(FeedChange(8, frozenset(), source_changed=True))
        assert everything.take() == {SERVICES_CHANGED: 8, SOURCE_CHANGED: 8}


def test_a_slow_client_costs_one_entry_for_each_name() -> None:
    hub = LiveHub()
    with hub.client(ORDERS) as client:
        for revision in range(1000):
            hub.catalogue_changed(FeedChange(revision, frozenset({ORDERS}), source_changed=False))
        assert client.take() == {SERVICES_CHANGED: 999, INSTANCES_CHANGED: 999}
        assert client.take() == {}


def test_clients_are_limited_and_forgotten() -> None:
    hub = LiveHub(clients_max=1)
    with hub.client(None):
        with pytest.raises(Overloaded) as caught, hub.client(None):
            pass
        assert caught.value.retry_after_seconds
    assert hub.clients == 0
    with hub.client(None):
        assert hub.clients == 1


def test_an_event_has_a_name_an_id_and_json() -> None:
    assert encode_event("services-changed", 12) == (
        b'event: services-changed\nid: 12\ndata: {"revision":12}\n\n'
    )


def test_differing_services() -> None:
    catalogue = shop()
    before = catalogue.view
    assert differing_services(before, before) == frozenset()
    catalogue.publish()
    assert differing_services(before, catalogue.view) == frozenset(), "only the revision differs"
    catalogue.remove("default", "inventory", "inventory-1")
    catalogue.put(instance(service="new"))
    catalogue.remove("staging", "web", "web-1")
    assert differing_services(before, catalogue.view) == {
        STOCK,
        ServiceKey("default", "new"),
        ServiceKey("staging", "web"),
    }


@asynccontextmanager
async def running(feed: CatalogueFeed) -> AsyncIterator[None]:
    task = asyncio.create_task(feed.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_feed_tells_of_changes_and_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tianlu_console.catalogue.feed.SOURCE_CHECK_SECONDS", 0.01)
    catalogue, heard = shop(), []
    feed = CatalogueFeed(catalogue, SettableClock())
    feed.listen(heard.append)
    async with running(feed):
        catalogue.put(instance(version="9"))
        await until(lambda: heard)
        assert heard.pop() == FeedChange(11, frozenset({ORDERS}), source_changed=False)
        catalogue.age_seconds = 1.0
        await until(lambda: heard)
        assert heard.pop() == FeedChange(11, frozenset(), source_changed=True)
        assert feed.source().state == "stale"


async def test_the_feed_survives_a_failing_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tianlu_console.catalogue.feed.RESTART_DELAY_SECONDS", 0.01)

    class FailsOnce(HandFedCatalogue):
        failed = False

        async def changes(self) -> AsyncIterator[Any]:
            if not self.failed:
                self.failed = True
                raise RuntimeError("broken once")
            async for view in super().changes():
                yield view

    catalogue, heard = FailsOnce([instance()]), []
    feed = CatalogueFeed(catalogue, SettableClock())
    feed.listen(heard.append)
    async with running(feed):
        catalogue.put(instance(version="2"))
        await until(lambda: heard)
    assert catalogue.failed


async def test_waiting_for_a_write_ends_when_the_view_has_it() -> None:
    catalogue = shop()
    feed = CatalogueFeed(catalogue, SettableClock())
    async with running(feed):
        waiting = asyncio.create_task(feed.wait_for(instance(mod_revision=12), 5))
        catalogue.put(instance(version="2"))
        await asyncio.sleep(0)
        assert not waiting.done()
        catalogue.put(instance(version="3"))
        assert await waiting
        assert not await feed.wait_for(instance(mod_revision=99), 0.01)


class Connection:
    """An ASGI server's side of one stream."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    @property
    def body(self) -> str:
        return b"".join(each.get("body", b"") for each in self.messages).decode()

    def events(self) -> list[tuple[str, int]]:
        found = re.findall(r"event: (\S+)\nid: \d+\ndata: (.*)\n", self.body)
        return [(name, json.loads(data)["revision"]) for name, data in found]


@asynccontextmanager
async def open_stream(
    hub: LiveHub, still_allowed: Any = allowed, missed: tuple[tuple[str, int], ...] = ()
) -> AsyncIterator[tuple[Connection, asyncio.Task[None]]]:
    connection = Connection()
    response = EventStream(hub, ORDERS, missed, still_allowed)
    task = asyncio.create_task(response({"type": "http"}, connection.receive, connection.send))  # type: ignore[arg-type]
    await until(lambda: connection.body)
    try:
        yield connection, task
    finally:
        connection.gone.set()
        await asyncio.wait_for(task, 5)


async def test_a_stream_sends_events_and_leaves_with_its_reader() -> None:
    hub = LiveHub()
    async with open_stream(hub, missed=((SOURCE_CHANGED, 3),)) as (connection, _):
        headers = dict(connection.messages[0]["headers"])
        assert headers[b"content-type"].startswith(b"text/event-stream")
        assert b"content-length" not in headers
        await until(lambda: connection.events() == [(SOURCE_CHANGED, 3)])
        hub.audit_changed()
        await until(lambda: (AUDIT_CHANGED, 0) in connection.events())
        assert hub.clients == 1
    assert hub.clients == 0


async def test_a_stream_sends_at_most_four_batches_a_second() -> None:
    hub = LiveHub()
    loop = asyncio.get_running_loop()
    async with open_stream(hub) as (connection, _):
        started = loop.time()
        while loop.time() - started < 0.7:
            hub.catalogue_changed(
                FeedChange(int(loop.time() * 1e6), frozenset({STOCK}), source_changed=False)
            )
            await asyncio.sleep(0.001)
        assert 2 <= len(connection.events()) <= 4


async def test_a_stream_ends_with_the_session_that_opened_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_module, "HEARTBEAT_SECONDS", 0.02)
    holds = True

    async def still_allowed() -> bool:
        return holds

    async with open_stream(LiveHub(), still_allowed) as (connection, task):
        await until(lambda: connection.body.count(": heartbeat") >= 2)
        holds = False
        await asyncio.wait_for(task, 5)
        assert connection.messages[-1]["more_body"] is False


async def test_a_stream_ends_when_the_console_stops() -> None:
    hub = LiveHub()
    async with open_stream(hub) as (_, task):
        hub.close()
        await asyncio.wait_for(task, 5)
    with pytest.raises(Overloaded), hub.client(None):
        pass


async def first_events(site: Site, query: str, headers: dict[str, str]) -> list[tuple[str, int]]:
    """Open the endpoint through the whole application and return what it says at once."""
    connection = Connection()
    cookie = f"{SESSION_COOKIE}={site.http.cookies[SESSION_COOKIE]}"
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"{BASE}/live",
        "raw_path": f"{BASE}/live".encode(),
        "query_string": query.encode(),
        "headers": [
            (name.encode(), value.encode()) for name, value in {"cookie": cookie, **headers}.items()
        ],
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("console.test", 80),
        "app": site.console.app,
    }
    task = asyncio.create_task(site.console.app(scope, connection.receive, connection.send))  # type: ignore[arg-type]
    await until(connection.events)
    connection.gone.set()
    await asyncio.wait_for(task, 5)
    assert connection.messages[0]["status"] == 200
    return connection.events()


async def test_a_new_page_hears_what_it_missed(inside: Site) -> None:
    assert await first_events(inside, "since=10", {}) == [(SOURCE_CHANGED, 10)]
    assert await first_events(inside, "since=9", {}) == [
        (SOURCE_CHANGED, 10),
        (SERVICES_CHANGED, 10),
        (INSTANCES_CHANGED, 10),
    ]


async def test_a_page_that_comes_back_refreshes_everything(inside: Site) -> None:
    events = await first_events(inside, "since=10", {"last-event-id": "10"})
    assert {name for name, _ in events} == {
        SOURCE_CHANGED,
        SERVICES_CHANGED,
        INSTANCES_CHANGED,
        AUDIT_CHANGED,
    }


async def test_too_many_streams_are_refused_in_so_many_words(inside: Site) -> None:
    inside.console.hub.close()
    answer = await inside.http.get(f"{BASE}/live", headers={"accept": "application/json"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "3"
    assert answer.json()["error"] == "overloaded"


async def test_a_stream_refuses_what_it_cannot_read(inside: Site) -> None:
    answer = await inside.http.get(f"{BASE}/live?since=x", headers={"accept": "application/json"})
    assert answer.status_code == 422
    assert list(answer.json()["fields"]) == ["since"]
