"""Which pages may use the JSON APIs: --cors and --host-whitelist."""

from __future__ import annotations

import pytest
from registry.api.asgi_fakes import FakeCall

from tianlu_registry.api.http import HttpRequest, HttpResponse, HttpRouter, json_response
from tianlu_registry.api.web_access import WebAccess

CONSOLE = b"https://console.example"


async def ask(
    access: WebAccess, *headers: tuple[bytes, bytes], method: str = "POST", scheme: str = "http"
) -> FakeCall:
    async def answer(request: HttpRequest) -> HttpResponse:
        return json_response({})

    router = HttpRouter(access)
    router.add("POST", "/v3/kv/put", answer)
    call = FakeCall("/v3/kv/put", [b"a"], headers=list(headers), method=method)
    call.scope["scheme"] = scheme
    return await call.run(router)


@pytest.mark.parametrize(
    ("origins", "origin", "status", "allowed"),
    [
        ({"https://console.example"}, CONSOLE, 200, CONSOLE),
        ({"https://console.example"}, b"http://console.example", 403, None),
        ({"https://console.example"}, b"null", 403, None),
        ({"*"}, b"https://anybody.example", 200, b"*"),
        ((), CONSOLE, 403, None),
    ],
)
async def test_sites_that_are_allowed_may_read_the_answer(
    origins: set[str], origin: bytes, status: int, allowed: bytes | None
) -> None:
    access = WebAccess(origins=frozenset(origins))
    headers = ((b"host", b"registry.example"), (b"origin", origin))
    call = await ask(access, *headers, (b"sec-fetch-site", b"cross-site"))
    assert call.status == status
    assert call.headers.get(b"access-control-allow-origin") == allowed


async def test_a_browser_that_asks_whether_it_may_is_told() -> None:
    access = WebAccess(origins=frozenset({"https://console.example"}))
    headers = ((b"host", b"registry.example"), (b"origin", CONSOLE))
    call = await ask(access, *headers, method="OPTIONS")
    assert call.status == 200
    assert b"authorization" in call.headers[b"access-control-allow-headers"]
    assert b"POST" in call.headers[b"access-control-allow-methods"]
    stranger = await ask(access, headers[0], (b"origin", b"https://x.example"), method="OPTIONS")
    assert stranger.status == 403
    assert (await ask(access, headers[0], method="OPTIONS")).status == 405


async def test_programs_get_no_such_headers() -> None:
    call = await ask(WebAccess(origins=frozenset({"*"})), (b"host", b"127.0.0.1"))
    assert call.status == 200
    assert not [name for name in call.headers if name.startswith(b"access-control")]


@pytest.mark.parametrize(
    ("host", "scheme", "status"),
    [
        (b"registry.example:2379", "http", 200),
        (b"REGISTRY.example", "http", 200),
        (b"[::1]:2379", "http", 200),
        (b"evil.example:2379", "http", 421),
        (b"127.0.0.1:2379", "http", 421),
        (b"", "http", 421),
        (b"evil.example:2379", "https", 200),
    ],
)
async def test_names_that_are_not_listed_are_refused(host: bytes, scheme: str, status: int) -> None:
    access = WebAccess(hosts=frozenset({"registry.example", "::1"}))
    assert (await ask(access, (b"host", host), scheme=scheme)).status == status


async def test_any_host_is_any_host() -> None:
    page = ((b"origin", b"http://some.example"), (b"sec-fetch-site", b"same-origin"))
    listed = WebAccess(hosts=frozenset({"some.example"}))
    for access, status in ((WebAccess(), 403), (WebAccess(hosts=frozenset({"*"})), 200)):
        assert (await ask(access, (b"host", b"some.example"), *page)).status == status
    assert (await ask(listed, (b"host", b"some.example"), *page)).status == 200


async def test_who_comes_over_a_unix_socket_names_what_he_likes() -> None:
    router = HttpRouter(WebAccess(hosts=frozenset({"registry.example"})))
    call = FakeCall("/nothing", headers=[(b"host", b"x")], method="GET")
    call.scope["client"] = None
    assert (await call.run(router)).status == 404
