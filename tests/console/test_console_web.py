"""What all pages share: languages, assets, headers, errors, addresses behind the gateway."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import httpx
import pytest
from conftest import BASE, PASSWORD, SettableClock, Site, quick_passwords, shop

import tianlu
from tianlu_console import errors
from tianlu_console.app import build_console
from tianlu_console.database import open_database
from tianlu_console.errors import ConsoleError, InvalidForm, from_sdk
from tianlu_console.text import Text
from tianlu_console.web.assets import Assets, read_manifest
from tianlu_console.web.forwarded import client_address, is_https
from tianlu_console.web.languages import choose_language


@pytest.mark.parametrize(
    ("cookie", "accept", "tag"),
    [
        (None, "", "en"),
        (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        (None, "zh", "zh-Hans"),
        (None, "zh-TW,en;q=0.5", "en"),
        (None, "zh-Hant-HK", "en"),
        (None, "fr,zh;q=0.4,en;q=0.5", "en"),
        (None, "fr,zh;q=0.5,en;q=0.4", "zh-Hans"),
        (None, "zh;q=0,fr", "en"),
        (None, ";;q=x,,zh;q=nonsense", "en"),
        ("zh-Hans", "en", "zh-Hans"),
        ("klingon", "zh", "zh-Hans"),
    ],
)
def test_language(cookie: str | None, accept: str, tag: str) -> None:
    assert choose_language(cookie, accept).tag == tag


def scope(peer: str | None, **headers: str) -> dict[str, object]:
    return {
        "type": "http",
        "scheme": "http",
        "client": (peer, 1) if peer is not None else None,
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ],
    }


@pytest.mark.parametrize(
    ("given", "address", "https"),
    [
        (
            scope("127.0.0.1", x_forwarded_for="6.6.6.6, 10.0.0.8", x_forwarded_proto="https"),
            "10.0.0.8",
            True,
        ),
        (scope(None, x_forwarded_for="10.0.0.8", x_forwarded_proto="HTTPS"), "10.0.0.8", True),
        (scope("", x_forwarded_proto="http"), "local", False),
        (scope("::1"), "::1", False),
        (
            scope("10.9.9.9", x_forwarded_for="127.0.0.1", x_forwarded_proto="https"),
            "10.9.9.9",
            False,
        ),
        (scope("testclient", x_forwarded_proto="https"), "testclient", False),
    ],
)
def test_forwarding_headers_are_believed_from_this_host_only(
    given: dict[str, object], address: str, https: bool
) -> None:
    assert client_address(given) == address
    assert is_https(given) is https


def all_kinds(kind: type[Exception]) -> set[type[Exception]]:
    return {kind} | {each for sub in kind.__subclasses__() for each in all_kinds(sub)}


def test_every_error_of_the_sdk_has_an_answer() -> None:
    for kind in all_kinds(tianlu.TianluError):
        error = kind("a", "b") if kind is tianlu.InvalidInput else kind("a")
        answer = from_sdk(error)  # type: ignore[arg-type]
        assert isinstance(answer, ConsoleError)
        assert 400 <= answer.status < 600, kind


def test_every_error_has_a_status_and_a_code_of_its_own() -> None:
    kinds = [kind for kind in all_kinds(ConsoleError) if kind.__module__ == errors.__name__]
    assert len({kind.code for kind in kinds}) == len(kinds)  # type: ignore[attr-defined]
    for kind in kinds:
        error = InvalidForm({}) if kind is InvalidForm else kind(Text("x"))
        assert str(error)


async def test_every_answer_binds_the_browser(site: Site) -> None:
    for path in ("/sign-in", "/nope", "/services", "/static/nope"):
        answer = await site.http.get(BASE + path)
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"


async def test_pages_have_neither_inline_script_nor_inline_style(inside: Site) -> None:
    for path in ("/services", "/services/default/orders", "/audit"):
        text = (await inside.http.get(BASE + path)).text
        assert "style=" not in text
        assert "onclick" not in text
        assert "<script>" not in text


async def test_unknown_pages_say_so_in_both_forms(inside: Site) -> None:
    page = await inside.http.get(f"{BASE}/nope")
    assert page.status_code == 404
    assert "There is no such page." in page.text
    twin = await inside.http.get(f"{BASE}/nope.json")
    assert twin.json() == {"error": "not_found", "message": "There is no such page."}
    wrong = await inside.http.post(f"{BASE}/services", headers={"accept": "application/json"})
    assert wrong.status_code == 405
    assert set(wrong.json()) == {"error", "message"}


async def test_a_bug_is_logged_and_tells_nothing(
    inside: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("tianlu_console.services.endpoints.count", fail)
    answer = await inside.http.get(f"{BASE}/services")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    assert "The console made a mistake" in answer.text


async def test_overlong_form_fields_are_refused(site: Site) -> None:
    answer = await site.http.post(f"{BASE}/sign-in", data={"name": "x" * 5000})
    assert answer.status_code == 422


@pytest.mark.parametrize("path", ["/", BASE, f"{BASE}/"])
async def test_the_ways_in_lead_to_the_services(site: Site, path: str) -> None:
    answer = await site.http.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{BASE}/services"


async def test_the_console_may_stand_at_the_root(tmp_path: Path, clock: SettableClock) -> None:
    engine = open_database(tmp_path)
    console = build_console(shop(), engine, base_path="", clock=clock, passwords=quick_passwords())
    transport = httpx.ASGITransport(console.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://console.test") as http:
        assert (await http.get("/")).headers["location"] == "/services"
        token = console.access.issue_first_visit() or ""
        form = {"token": token, "name": "ada", "password": PASSWORD, "repeated": PASSWORD}
        entered = await http.post("/first-visit", data=form)
        assert entered.headers["location"] == "/"
        assert "Path=/;" in entered.headers["set-cookie"]
        page = await http.get("/services")
        assert 'href="/services/default/orders"' in page.text
    engine.dispose()


async def test_probes_need_nobody(site: Site) -> None:
    for path in ("/livez", "/readyz"):
        answer = await site.http.get(path)
        assert answer.json() == {"status": "ok", "source": "live"}


async def test_metrics_say_what_happened_and_are_documented(inside: Site) -> None:
    await inside.http.post(f"{BASE}/sign-in", data={"name": "x"})
    inside.catalogue.age_seconds = 3.0
    lines = (await inside.http.get("/metrics")).text.splitlines()
    for line in (
        'tianlu_console_audited_actions_total{action="sign_in_failed",outcome="done"} 1.0',
        'tianlu_console_requests_total{status_class="4xx"} 1.0',
        "tianlu_console_live_streams 0.0",
        "tianlu_console_catalogue_revision 10.0",
        "tianlu_console_catalogue_age_seconds 3.0",
    ):
        assert line in lines
    names = {line.split()[2] for line in lines if line.startswith("# HELP")}
    documented = (Path(__file__).parents[2] / "docs" / "console.md").read_text(encoding="utf-8")
    for name in names:
        assert name.removesuffix("_created") in documented


async def test_the_source_has_a_twin(inside: Site) -> None:
    twin = (await inside.http.get(f"{BASE}/source.json")).json()
    assert twin == {
        "source": {"state": "live", "revision": 10, "rung": "process", "since_unix_ms": None}
    }


class TestAssets:
    @pytest.fixture
    def dist(self, tmp_path: Path) -> Path:
        (tmp_path / "app-AB12.js").write_bytes(b"plain")
        (tmp_path / "app-AB12.js.gz").write_bytes(gzip.compress(b"plain"))
        (tmp_path / "inter-CD34.woff2").write_bytes(b"font")
        manifest = {"inputs": "x", "files": {"app.js": "app-AB12.js"}}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        return tmp_path

    def test_names(self, dist: Path) -> None:
        assets = Assets("/base", dist)
        assert assets.url("app.js") == "/base/static/app-AB12.js"
        assert assets.url("other.js") == ""

    def test_without_a_build_pages_are_plain(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert read_manifest(tmp_path) == {}
        assert "front end not built" in caplog.text

    async def test_serving(self, dist: Path) -> None:
        from fastapi import FastAPI

        app = FastAPI()
        app.include_router(Assets("", dist).router())
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            packed = await http.get("/static/app-AB12.js", headers={"accept-encoding": "gzip"})
            assert packed.headers["content-encoding"] == "gzip"
            assert packed.text == "plain"
            assert "immutable" in packed.headers["cache-control"]
            assert packed.headers["content-type"].startswith("text/javascript")
            plain = await http.get("/static/app-AB12.js", headers={"accept-encoding": "identity"})
            assert "content-encoding" not in plain.headers
            assert plain.text == "plain"
            for name in ("..%2f..%2fetc%2fpasswd", "app-AB12.js.gz", "nothing"):
                assert (await http.get(f"/static/{name}")).status_code >= 400


async def test_the_built_assets_are_there_and_served(site: Site) -> None:
    page = (await site.http.get(f"{BASE}/sign-in")).text
    for ending in (".css", ".js", ".svg"):
        address = next(part for part in page.split('"') if part.endswith(ending))
        assert (await site.http.get(address)).status_code == 200
