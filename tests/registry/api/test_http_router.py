"""The router, its error shape, and the pages on it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from registry.api.asgi_fakes import FakeCall
from registry.api.store_fakes import FakeStore

from tianlu._proto.etcd.rpc_pb2 import AlarmMember
from tianlu_registry.api.health import HealthPages
from tianlu_registry.api.http import HttpRequest, HttpResponse, HttpRouter, json_response
from tianlu_registry.errors import Compacted, InvalidArgument, Stopped


async def get(router: HttpRouter, path: str, method: str = "GET", query: bytes = b"") -> FakeCall:
    call = FakeCall(path, headers=[], method=method, query=query)
    return await call.run(router)


async def echo(request: HttpRequest) -> HttpResponse:
    body = await request.body(10)
    if body == b"wrong":
        raise InvalidArgument("field", "is wrong")
    if body == b"old":
        raise Compacted
    if body == b"crash":
        raise SystemExit(1)
    return json_response({"body": body.decode()})


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ([b"a", b"b"], 200, None),
        ([b"wrong"], 400, "field: is wrong"),
        ([b"old"], 400, Compacted.text),
        ([b"crash"], 500, "internal error: SystemExit"),
        ([b"x" * 11], 429, "body: is longer than 10 bytes"),
    ],
)
async def test_bodies_and_errors(body: list[bytes], status: int, error: str | None) -> None:
    router = HttpRouter()
    router.add("POST", "/echo", echo)
    call = await FakeCall("/echo", body, headers=[]).run(router)
    content = json.loads(call.body)
    assert call.status == status
    assert content.get("error") == content.get("message") == error
    assert error is not None or content == {"body": "ab"}


async def test_unknown_path_and_method() -> None:
    router = HttpRouter()
    router.add("POST", "/echo", echo)
    missing = await get(router, "/nope")
    wrong = await get(router, "/echo")
    assert (missing.status, json.loads(missing.body)["code"]) == (404, 5)
    assert "/nope" in json.loads(missing.body)["message"]
    assert (wrong.status, wrong.headers[b"allow"]) == (405, b"POST")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([(b"origin", b"http://127.0.0.1:2379")], 200),
        ([(b"sec-fetch-site", b"same-origin")], 200),
        ([(b"sec-fetch-site", b"cross-site")], 403),
        ([(b"origin", b"http://evil.example")], 403),
        ([(b"origin", b"null")], 403),
    ],
)
async def test_pages_of_other_sites_are_refused(
    headers: list[tuple[bytes, bytes]], status: int
) -> None:
    router = HttpRouter()
    router.add("POST", "/echo", echo)
    sent = [(b"host", b"127.0.0.1:2379"), *headers]
    call = await FakeCall("/echo", [b"a"], headers=sent).run(router)
    assert call.status == status


@pytest.mark.parametrize(
    ("host", "client", "status"),
    [
        (b"127.0.0.1:2379", ("127.0.0.1", 1), 200),
        (b"localhost:2379", ("127.0.0.1", 1), 200),
        (b"localhost", ("127.0.0.1", 1), 200),
        (b"[::1]:2379", ("::1", 1), 200),
        (b"[::1]", ("::1", 1), 200),
        (b"evil.example:2379", ("127.0.0.1", 1), 403),
        (b"evil.example", ("127.0.0.1", 1), 403),
        (b"", ("127.0.0.1", 1), 403),
        (b"tianlu.example", None, 200),
    ],
)
async def test_a_page_that_has_pointed_its_own_name_here_is_refused(
    host: bytes, client: tuple[str, int] | None, status: int
) -> None:
    router = HttpRouter()
    router.add("POST", "/echo", echo)
    for header in ((b"origin", b"http://" + host), (b"sec-fetch-site", b"same-origin")):
        call = FakeCall("/echo", [b"a"], headers=[(b"host", host), header])
        call.scope["client"] = client
        assert (await call.run(router)).status == status


async def test_mounts_and_streams() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    router = HttpRouter()
    router.mount("/v1/", app)
    router.add_stream("POST", "/v3/watch", app)
    assert (await get(router, "/v1/services")).body == b"/v1/services"
    assert (await get(router, "/v3/watch", "POST")).body == b"/v3/watch"
    assert (await get(router, "/v3/watch")).status == 405


def pages() -> tuple[FakeStore, HealthPages, HttpRouter]:
    store = FakeStore()
    health = HealthPages(store, "1.2.3", lambda: store.catalogue_is_ready)
    router = HttpRouter()
    health.add_to(router)
    return store, health, router


async def test_healthy_pages() -> None:
    _, _, router = pages()
    assert json.loads((await get(router, "/health")).body) == {"health": "true", "reason": ""}
    version = json.loads((await get(router, "/version")).body)
    assert version["tianlu"] == "1.2.3"
    assert version["etcdserver"].startswith("3.5.")
    assert (await get(router, "/livez")).body == b"ok\n"
    report = (await get(router, "/readyz", query=b"verbose")).body
    assert b"[+]linearizable_read ok\n" in report
    assert (await get(router, "/readyz/non_learner")).body == b"ok\n"


async def test_a_store_that_cannot_answer() -> None:
    store, _, router = pages()
    store.error = Stopped()
    for path in ("/livez", "/readyz", "/health"):
        call = await get(router, path)
        assert call.status == 503
        assert Stopped.text.encode() in call.body
    assert (await get(router, "/livez", query=b"exclude=serializable_read")).status == 200


async def test_a_catalogue_that_has_not_caught_up() -> None:
    store, _, router = pages()
    store.catalogue_is_ready = False
    call = await get(router, "/readyz")
    assert call.status == 503
    assert b"[-]catalogue failed: the catalogue is still loading" in call.body
    assert (await get(router, "/readyz", query=b"exclude=catalogue")).status == 200
    assert (await get(router, "/livez")).status == 200
    store.catalogue_is_ready = True
    assert (await get(router, "/readyz/catalogue")).body == b"ok\n"


async def test_alarm_leader_and_draining() -> None:
    store, health, router = pages()
    store.errors = ("memberID:1 alarm:NOSPACE ",)
    call = await get(router, "/health")
    assert (call.status, json.loads(call.body)["reason"]) == (503, "ALARM NOSPACE")
    assert (await get(router, "/health", query=b"exclude=NOSPACE")).status == 200
    assert (await get(router, "/readyz")).status == 200
    store.errors, store.leader_id = (), 0
    assert json.loads((await get(router, "/health")).body)["reason"] == "RAFT NO LEADER"
    assert (await get(router, "/health", query=b"serializable=true")).status == 200
    unknown: Any = 99
    store.alarms, store.leader_id = (AlarmMember(memberID=1, alarm=unknown),), 1
    assert json.loads((await get(router, "/health")).body)["reason"] == "ALARM 99"
    health.drain()
    assert b"[-]not_draining failed" in (await get(router, "/readyz")).body
    assert (await get(router, "/livez")).status == 200
