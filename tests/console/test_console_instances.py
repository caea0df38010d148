"""A service's page and what is done on it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from conftest import BASE, Site
from console_catalogue import NOW, instance, isolated
from sqlalchemy import select

from tianlu import Conflict, DeadlinePassed, InvalidInput, NotAllowed, ProtocolError, Unavailable
from tianlu_console.database.tables import audit_entries
from tianlu_console.instances.query import InstanceQuery
from tianlu_console.instances.rows import newest

ORDERS = f"{BASE}/services/default/orders"
FRAGMENT = {"hx-request": "true", "hx-request-type": "partial"}


def form(action: str, instance_id: str = "orders-1") -> str:
    return f"{ORDERS}/instances/{instance_id}/{action}"


def audit(site: Site) -> list[tuple[str, str, str, int]]:
    columns = audit_entries.c
    query = select(columns.action, columns.reason, columns.outcome, columns.revision)
    with site.engine.connect() as connection:
        rows = connection.execute(query.where(columns.service != "").order_by(columns.id))
        return [tuple(each) for each in rows]  # type: ignore[misc]


async def test_the_page_shows_what_the_json_says(inside: Site) -> None:
    page = (await inside.http.get(ORDERS)).text
    twin = (await inside.http.get(f"{ORDERS}.json")).json()
    assert twin["service"]["owner"] == "checkout"
    assert twin["counts"]["serving"] == 2
    assert [each["state"] for each in twin["instances"]["items"]] == [
        "serving", "serving", "isolated", "suspect", "starting", "draining", "down", "no_weight",
    ]  # fmt: skip
    for row in twin["instances"]["items"]:
        assert f'id="instance-{row["id"]}"' in page
    for text in (
        "high error rate",
        "the session&#39;s stream broke",
        "8f3a2c1",
        "Weighted round robin",
        "5eed",
    ):
        assert text in page


async def test_an_unknown_service_is_named(inside: Site) -> None:
    answer = await inside.http.get(f"{BASE}/services/default/nothing")
    assert answer.status_code == 404
    assert "There is no service nothing in namespace default." in answer.text
    twin = await inside.http.get(f"{BASE}/services/default/nothing.json")
    assert twin.json()["error"] == "not_found"


async def test_an_open_page_shows_that_the_service_has_left(inside: Site) -> None:
    for number in (1, 2):
        inside.catalogue.remove("default", "inventory", f"inventory-{number}")
    del inside.catalogue.services["default", "inventory"]
    inside.catalogue.publish()
    path = f"{BASE}/services/default/inventory"
    assert (await inside.http.get(path)).status_code == 404
    refreshed = await inside.http.get(path, headers=FRAGMENT)
    assert refreshed.status_code == 200
    assert "all that was has left" in refreshed.text


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("q=Z2", ["orders-2"]),
        ("q=1.5.0", ["orders-2"]),
        ("q=team%3Dcheckout&show=attention", [f"orders-{number}" for number in (3, 4, 6, 7, 8)]),
        ("q=nothing", []),
    ],
)
async def test_instances_are_found(inside: Site, query: str, ids: list[str]) -> None:
    twin = (await inside.http.get(f"{ORDERS}.json?{query}")).json()
    assert [each["id"] for each in twin["instances"]["items"]] == ids
    page = await inside.http.get(f"{ORDERS}?{query}")
    assert ("No instance matches" in page.text) == (not ids)


def test_the_browsers_address_gives_the_query_back() -> None:
    query = InstanceQuery(search="a b", page=2)
    assert (
        InstanceQuery.of_address(f"http://x/console/services/d/s{query.address(page=2)}") == query
    )
    assert InstanceQuery.of_address("http://x/?page=zero") == InstanceQuery()
    assert InstanceQuery.of_address("http://[") == InstanceQuery()


async def test_isolate_and_restore(inside: Site) -> None:
    shown = await inside.http.get(form("isolate"))
    assert (
        "tianlu instance isolate orders orders-1 --namespace default --reason REASON" in shown.text
    )
    done = await inside.http.post(
        form("isolate"), data={"reason": " bad disk ", "expires_seconds": "900"}
    )
    assert done.status_code == 303
    assert done.headers["location"] == ORDERS
    override = inside.catalogue.instances["default", "orders", "orders-1"].override
    assert override is not None
    assert (override.reason, override.actor) == ("bad disk", "ada")
    assert override.expires_unix_ms == NOW + 900_000
    assert "bad disk" in (await inside.http.get(ORDERS)).text

    done = await inside.http.post(form("restore"), data={"reason": "disk replaced"})
    assert done.status_code == 303
    assert not inside.catalogue.instances["default", "orders", "orders-1"].isolated
    assert audit(inside) == [
        ("instance_isolated", "bad disk", "done", 11),
        ("instance_restored", "disk replaced", "done", 12),
    ]


async def test_htmx_gets_the_new_table_and_closes_the_dialog(inside: Site) -> None:
    headers = FRAGMENT | {"hx-current-url": f"http://console.test{ORDERS}?q=orders-1"}
    shown = await inside.http.get(form("isolate"), headers=headers)
    assert shown.text.lstrip().startswith("<form")
    done = await inside.http.post(form("isolate"), data={"reason": "bad disk"}, headers=headers)
    assert done.status_code == 200
    assert done.headers["hx-retarget"] == "#instances"
    assert done.headers["hx-trigger"] == "dialog-done"
    assert "bad disk" in done.text
    assert 'id="instance-orders-1"' in done.text
    assert 'id="instance-orders-2"' not in done.text


async def test_programs_get_the_new_state(inside: Site) -> None:
    headers = {"accept": "application/json"}
    done = await inside.http.post(form("isolate"), data={"reason": "bad disk"}, headers=headers)
    assert done.json()["state"] == "isolated"
    refused = await inside.http.post(form("isolate"), data={"reason": ""}, headers=headers)
    assert refused.status_code == 422
    assert list(refused.json()["fields"]) == ["reason"]


async def test_the_answer_shows_what_was_done_even_if_the_mirror_is_behind(
    inside: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tianlu_console.instances.overrides.VISIBLE_WITHIN_SECONDS", 0.01)
    inside.catalogue.lag = True
    done = await inside.http.post(form("isolate"), data={"reason": "bad disk"}, headers=FRAGMENT)
    assert "bad disk" in done.text
    assert "bad disk" not in (await inside.http.get(ORDERS)).text


def test_a_newer_mirror_wins_over_what_was_written() -> None:
    written = isolated(instance(mod_revision=5))
    held = instance(mod_revision=6)
    assert newest([held], written) == [held]
    assert newest([instance(mod_revision=4)], written) == [written]
    assert newest([], written) == [], "an instance that has left stays gone"


@pytest.mark.parametrize(
    ("data", "field", "problem"),
    [
        ({"reason": "  "}, "reason", "Say why"),
        ({"reason": "x" * 501}, "reason", "at most 500"),
        ({"reason": "ok", "expires_seconds": "7"}, "expires_seconds", "offered times"),
        ({"reason": "ok", "expires_seconds": "never"}, "expires_seconds", "offered times"),
    ],
)
@pytest.mark.parametrize("headers", [{}, FRAGMENT])
async def test_wrong_fields_are_said_in_the_form(
    inside: Site, data: dict[str, str], field: str, problem: str, headers: dict[str, str]
) -> None:
    answer = await inside.http.post(form("isolate"), data=data, headers=headers)
    assert answer.status_code == 422
    assert f'id="{field}-problem"' in answer.text
    assert problem in answer.text
    assert not inside.catalogue.instances["default", "orders", "orders-1"].isolated
    assert audit(inside) == []


async def test_an_overlong_reason_to_restore_is_refused(inside: Site) -> None:
    answer = await inside.http.post(form("restore", "orders-3"), data={"reason": "x" * 501})
    assert answer.status_code == 422
    assert inside.catalogue.instances["default", "orders", "orders-3"].isolated


@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [
        (Unavailable("gone"), 503, "nothing was changed"),
        (DeadlinePassed("slow"), 503, "not known"),
        (Conflict("isolated already"), 409, "isolated already"),
        (NotAllowed("no"), 403, "does not allow"),
        (InvalidInput("actor", "too long"), 422, "too long"),
        (ProtocolError("garbage"), 503, "cannot use"),
    ],
)
async def test_what_the_registry_refuses_is_said_in_the_form_and_in_the_audit(
    inside: Site, failure: Exception, status: int, text: str
) -> None:
    inside.catalogue.failure = failure  # type: ignore[assignment]
    answer = await inside.http.post(form("isolate"), data={"reason": "bad disk"}, headers=FRAGMENT)
    assert answer.status_code == status
    assert text in answer.text
    assert ">bad disk</textarea>" in answer.text, "what was typed is kept"
    assert audit(inside) == [("instance_isolated", "bad disk", "failed", 0)]


async def test_forms_for_an_instance_that_left(inside: Site) -> None:
    for action in ("isolate", "restore"):
        answer = await inside.http.get(form(action, "orders-99"))
        assert answer.status_code == 404
        assert "orders-99" in answer.text
    answer = await inside.http.post(form("isolate", "orders-99"), data={"reason": "x"})
    assert answer.status_code == 404
    assert audit(inside)[0][2] == "failed"


async def test_hostile_names_are_escaped(inside: Site) -> None:
    hostile = "<script>alert(1)</script> a/b?c"
    inside.catalogue.put(
        instance(id=hostile, zone='"><img src=x>', metadata={"<b>": "</td>"}),
    )
    page = (await inside.http.get(ORDERS)).text
    assert "<script>alert" not in page
    assert "<img src=x>" not in page
    assert "<b>" not in page
    address = f"{ORDERS}/instances/{quote(hostile, safe='')}/isolate"
    assert address in page
