"""The audit log and its page."""

from __future__ import annotations

from conftest import BASE, Site

from tianlu_console.audit.log import Action, Actor, AuditLog, Filter, Outcome, Subject


def log_of(site: Site) -> AuditLog:
    return AuditLog(
        site.engine, site.clock, on_change=lambda: None, on_outcome=lambda action, outcome: None
    )


async def test_sign_ins_and_failures_are_recorded(inside: Site) -> None:
    await inside.http.post(f"{BASE}/sign-in", data={"name": "Eve", "password": "guess"})
    await inside.http.post(f"{BASE}/sign-out")
    entries = log_of(inside).read(Filter(), offset=0, limit=10)
    assert [(each.actor.name, each.action) for each in entries] == [
        ("ada", Action.SIGNED_OUT),
        ("eve", Action.SIGN_IN_FAILED),
        ("ada", Action.FIRST_ADMINISTRATOR_CREATED),
    ]


async def test_the_page_shows_what_the_json_says(inside: Site) -> None:
    log = log_of(inside)
    actor, subject = Actor("bob", "10.0.0.9"), Subject("default", "orders", "orders-1")
    log.finish(
        log.begin(actor, Action.INSTANCE_ISOLATED, subject, "bad disk"),
        Outcome.FAILED,
        detail="no quorum",
    )
    log.begin(actor, Action.INSTANCE_RESTORED, subject, "")
    page = (await inside.http.get(f"{BASE}/audit")).text
    twin = (await inside.http.get(f"{BASE}/audit.json")).json()
    assert [each["outcome"] for each in twin["entries"]["items"]] == ["pending", "failed", "done"]
    for text in ("Outcome not known", "no quorum", "bad disk", "10.0.0.9", "orders.default"):
        assert text in page


async def test_filters(inside: Site) -> None:
    log = log_of(inside)
    for service in ("orders", "stock"):
        subject = Subject("default", service, f"{service}-1")
        log.begin(Actor("bob", ""), Action.INSTANCE_ISOLATED, subject, "100%_sure")
    for query, total in (
        ("service=orders&namespace=default", 1),
        ("q=STOCK", 1),
        ("q=100%25_", 2),
        ("q=100_", 0),
        ("q=bob", 2),
    ):
        twin = (await inside.http.get(f"{BASE}/audit.json?{query}")).json()
        assert twin["entries"]["total"] == total, query
    page = (await inside.http.get(f"{BASE}/audit?q=zebra")).text
    assert "No entry matches" in page


async def test_old_entries_are_on_later_pages(inside: Site) -> None:
    log = log_of(inside)
    for number in range(60):
        log.record(Actor(f"person-{number}", ""), Action.SIGNED_IN)
    first = (await inside.http.get(f"{BASE}/audit.json")).json()["entries"]
    second = (await inside.http.get(f"{BASE}/audit.json?page=2")).json()["entries"]
    assert (len(first["items"]), len(second["items"])) == (50, 11)
    assert first["items"][0]["actor"]["name"] == "person-59"
    assert second["items"][-1]["action"] == Action.FIRST_ADMINISTRATOR_CREATED
