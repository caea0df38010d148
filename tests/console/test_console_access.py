"""Who gets in: first visit, sign-in, sessions, cross-site requests."""

from __future__ import annotations

import httpx
import pytest
from conftest import BASE, PASSWORD, Site
from sqlalchemy import select

from tianlu_console.access.attempts import PER_NAME_AND_ADDRESS, AttemptLimiter
from tianlu_console.access.gate import BACKGROUND_HEADER, SESSION_COOKIE
from tianlu_console.access.sessions import IDLE_SECONDS_MAX, LIFETIME_SECONDS_MAX
from tianlu_console.database.tables import first_visits, people, sessions

OPEN_PATHS = {"/first-visit", "/sign-in", "/preferences", "/static/{name}"}
HOME_PATHS = {"/", BASE, f"{BASE}/"}
PROBES = {"/livez", "/readyz", "/metrics"}
FRAGMENT = {"hx-request": "true", "hx-request-type": "partial"}


def session_cookie(answer: httpx.Response) -> str:
    return next(
        header
        for header in answer.headers.get_list("set-cookie")
        if header.startswith(f"{SESSION_COOKIE}=")
    )


async def sign_in(
    site: Site, name: str = "ada", password: str = PASSWORD, **form: str
) -> httpx.Response:
    fields = {"name": name, "password": password} | form
    return await site.http.post(f"{BASE}/sign-in", data=fields)


async def test_first_visit_creates_the_administrator_once(site: Site) -> None:
    token = site.console.access.issue_first_visit()
    page = await site.http.get(f"{BASE}/first-visit", params={"token": token})
    assert page.status_code == 200
    assert f'value="{token}"' in page.text

    form = {"token": token, "name": " Ada ", "password": PASSWORD, "repeated": PASSWORD}
    answer = await site.http.post(f"{BASE}/first-visit", data=form)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{BASE}/"
    assert (await site.http.get(f"{BASE}/services")).status_code == 200

    again = await site.http.post(f"{BASE}/first-visit", data=form | {"name": "eve"})
    assert again.status_code == 403
    assert "has been used" in again.text
    assert site.console.access.issue_first_visit() is None
    with site.engine.connect() as connection:
        assert [row.name for row in connection.execute(select(people))] == ["ada"]
        assert connection.execute(select(first_visits)).all() == []


async def test_a_newer_first_visit_link_voids_the_older(site: Site) -> None:
    older = site.console.access.issue_first_visit()
    newer = site.console.access.issue_first_visit()
    refused = await site.http.get(f"{BASE}/first-visit", params={"token": older})
    assert refused.status_code == 403
    assert (await site.http.get(f"{BASE}/first-visit", params={"token": newer})).status_code == 200


async def test_neither_token_nor_cookie_nor_password_is_stored(site: Site) -> None:
    token = site.console.access.issue_first_visit() or ""
    with site.engine.connect() as connection:
        stored = connection.execute(select(first_visits.c.token_hash)).scalar_one()
    answer = await site.create_first()
    cookie = session_cookie(answer).split("=")[1].split(";")[0]
    with site.engine.connect() as connection:
        session = connection.execute(select(sessions.c.token_hash)).scalar_one()
        password = connection.execute(select(people.c.password_hash)).scalar_one()
    assert token.encode() not in stored
    assert cookie.encode() not in session
    assert password.startswith("$argon2id$")
    assert PASSWORD not in password


@pytest.mark.parametrize(
    ("changes", "field", "problem"),
    [
        ({"name": ""}, "name", "1 to 64 letters"),
        ({"name": "-ada"}, "name", "begin with a letter"),
        ({"password": "short", "repeated": "short"}, "password", "at least 10"),
        ({"password": "x" * 257, "repeated": "x" * 257}, "password", "at most 256"),
        (
            {"name": "administrator", "password": "administrator"},
            "password",
            "must not be the name",
        ),
        ({"repeated": "something else"}, "repeated", "differ"),
    ],
)
async def test_first_visit_says_which_field_is_wrong(
    site: Site, changes: dict[str, str], field: str, problem: str
) -> None:
    answer = await site.create_first(**changes)
    assert answer.status_code == 422
    assert f'id="{field}-problem"' in answer.text
    assert problem in answer.text
    assert PASSWORD not in answer.text


async def test_sign_in_and_out(inside: Site) -> None:
    out = await inside.http.post(f"{BASE}/sign-out")
    assert out.headers["location"] == f"{BASE}/sign-in"
    lost = await inside.http.get(f"{BASE}/services?show=attention")
    assert lost.status_code == 303
    assert lost.headers["location"] == f"{BASE}/sign-in?next=%2Fconsole%2Fservices"

    answer = await sign_in(inside, "ADA", next=f"{BASE}/audit?q=x")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{BASE}/audit?q=x"
    assert (await inside.http.get(f"{BASE}/services")).status_code == 200


async def test_a_signed_out_session_cannot_be_used_again(inside: Site) -> None:
    stolen = inside.http.cookies[SESSION_COOKIE]
    await inside.http.post(f"{BASE}/sign-out")
    inside.http.cookies.set(SESSION_COOKIE, stolen, path=BASE)
    assert (await inside.http.get(f"{BASE}/services")).status_code == 303


@pytest.mark.parametrize(
    ("name", "password"), [("ada", "wrong"), ("eve", PASSWORD), ("ada", "x" * 3000)]
)
async def test_a_failed_sign_in_does_not_say_which_part_is_wrong(
    inside: Site, name: str, password: str
) -> None:
    answer = await sign_in(inside, name, password)
    assert answer.status_code == 422
    assert "Name and password do not belong together." in answer.text


async def test_failed_attempts_are_limited_and_forgiven_with_time(inside: Site) -> None:
    for _ in range(PER_NAME_AND_ADDRESS.failures_max):
        assert (await sign_in(inside, password="wrong")).status_code == 422
    limited = await sign_in(inside)
    assert limited.status_code == 429
    assert limited.headers["retry-after"] == "300"
    inside.clock.advance(PER_NAME_AND_ADDRESS.window_seconds)
    assert (await sign_in(inside)).status_code == 303


def test_attempts_from_one_address_and_at_one_name_are_limited_too() -> None:
    limiter = AttemptLimiter(lambda: 0)
    for number in range(30):
        limiter.failed(f"name-{number}", "10.0.0.1")
    assert limiter.wait_seconds("somebody", "10.0.0.1") == 300
    assert limiter.wait_seconds("somebody", "10.0.0.2") == 0
    for number in range(100):
        limiter.failed("ada", f"10.1.0.{number}")
    assert limiter.wait_seconds("ada", "10.9.9.9") == 300


def test_remembered_attempts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tianlu_console.access.attempts.KEYS_MAX", 6)
    limiter = AttemptLimiter(lambda: 0)
    for number in range(50):
        limiter.failed(f"name-{number}", f"address-{number}")
    assert len(limiter._failures) == 6


async def test_idle_sessions_end_and_live_refreshes_do_not_keep_them(inside: Site) -> None:
    inside.clock.advance(IDLE_SECONDS_MAX - 60)
    background = {BACKGROUND_HEADER: "1"}
    assert (await inside.http.get(f"{BASE}/services", headers=background)).status_code == 200
    inside.clock.advance(61)
    assert (await inside.http.get(f"{BASE}/services")).status_code == 303


async def test_a_click_keeps_a_session_but_not_for_ever(inside: Site) -> None:
    for _ in range(LIFETIME_SECONDS_MAX // (IDLE_SECONDS_MAX // 2) - 1):
        inside.clock.advance(IDLE_SECONDS_MAX // 2)
        assert (await inside.http.get(f"{BASE}/services")).status_code == 200
    inside.clock.advance(IDLE_SECONDS_MAX // 2)
    assert (await inside.http.get(f"{BASE}/services")).status_code == 303


async def test_the_cookie_is_for_the_console_alone(site: Site) -> None:
    cookie = session_cookie(await site.create_first())
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert f"Path={BASE}" in cookie
    assert "Secure" not in cookie


async def test_the_cookie_is_secure_behind_an_encrypting_gateway(site: Site) -> None:
    site.http.headers["x-forwarded-proto"] = "https"
    answer = await site.create_first()
    assert "Secure" in session_cookie(answer)
    assert answer.headers["strict-transport-security"]


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.test/console/services",
        "//evil.test/console/",
        "/console/../other",
        "/\\evil.test/console/",
        "javascript:alert(1)",
        "http://[",
        "",
    ],
)
async def test_signing_in_never_leads_to_another_site(inside: Site, address: str) -> None:
    location = (await sign_in(inside, next=address)).headers["location"]
    assert location.startswith(f"{BASE}/")
    assert "evil" not in location


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://evil.test", "sec-fetch-site": "same-origin"}, 303),
        ({"origin": "http://console.test"}, 303),
        ({"sec-fetch-site": "none"}, 303),
        ({}, 303),
    ],
)
async def test_posts_from_other_sites_are_refused(
    inside: Site, headers: dict[str, str], status: int
) -> None:
    answer = await inside.http.post(f"{BASE}/preferences", data={"theme": "dark"}, headers=headers)
    assert answer.status_code == status


async def test_every_page_but_the_open_ones_asks_who_is_there(site: Site) -> None:
    asked = 0
    for path, methods in site.console.app.openapi()["paths"].items():
        if path.removeprefix(BASE) in OPEN_PATHS or path in HOME_PATHS | PROBES:
            continue
        for method in methods:
            filled = path.format(namespace="default", service="orders", instance_id="orders-1")
            answer = await site.http.request(method, filled)
            expected = 401 if filled.endswith(".json") else 303
            assert answer.status_code == expected, (method, filled)
            assert (await site.http.request(method, filled, headers=FRAGMENT)).status_code == 401
            asked += 1
    assert asked >= 12
