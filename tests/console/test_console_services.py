"""The list of services: counting, filtering, sorting, paging, and its page."""

from __future__ import annotations

import re

import pytest
from conftest import BASE, Site, shop
from console_catalogue import HandFedCatalogue, instance, isolated, suspect
from hypothesis import given
from hypothesis import strategies as st

from tianlu import CatalogView, Rung, Service, ServiceKey, ServiceView
from tianlu_console.errors import InvalidForm
from tianlu_console.services.listing import (
    Condition,
    ServiceQuery,
    ServiceRow,
    Show,
    condition_of,
    count,
    select,
    summarise,
)
from tianlu_console.services.summaries import Summaries
from tianlu_console.web.listing import PageOf


def row(name: str, **changes: object) -> ServiceRow:
    values: dict[str, object] = {
        "namespace": "default",
        "name": name,
        "description": "",
        "owner": "",
        "instances": 2,
        "serving": 2,
        "isolated": 0,
        "suspect": 0,
        "versions": (),
    } | changes
    values.setdefault("condition", condition_of(values["instances"], values["serving"]))  # type: ignore[arg-type]
    return ServiceRow(**values)  # type: ignore[arg-type]


def test_each_instance_counts_once() -> None:
    both = suspect(isolated(instance(id="both")))
    view = ServiceView(
        Service("default", "orders"),
        (
            instance(id="a"),
            isolated(instance(id="b")),
            suspect(instance(id="c")),
            both,
            instance(id="d", weight=0),
        ),
    )
    counted = summarise(view)
    assert (counted.serving, counted.isolated, counted.suspect, counted.other) == (1, 2, 1, 1)
    assert counted.instances == 5
    assert counted.condition is Condition.PARTLY


@pytest.mark.parametrize(
    ("instances", "serving", "condition"),
    [
        (0, 0, Condition.EMPTY),
        (2, 0, Condition.NONE_SERVING),
        (2, 1, Condition.PARTLY),
        (2, 2, Condition.SERVING),
    ],
)
def test_condition(instances: int, serving: int, condition: Condition) -> None:
    assert condition_of(instances, serving) is condition


def test_lines_are_counted_anew_only_for_services_that_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[str] = []

    def spy(view: ServiceView) -> ServiceRow:
        counted.append(view.service.name)
        return summarise(view)

    monkeypatch.setattr("tianlu_console.services.summaries.summarise", spy)
    old = ServiceView(Service("default", "old"), (instance(service="old"),))
    gone = ServiceView(Service("default", "gone"), ())
    summaries = Summaries()

    def rows(*services: ServiceView) -> list[ServiceRow]:
        keyed = {ServiceKey("default", each.service.name): each for each in services}
        return summaries.rows(CatalogView(1, keyed, Rung.PROCESS, 0.0))

    assert rows(old, gone) == [summarise(old), summarise(gone)]
    new = ServiceView(old.service, (*old.instances, instance(service="old", id="second")))
    assert rows(new) == [summarise(new)]
    assert rows(new, gone) == [summarise(new), summarise(gone)]
    assert counted == ["old", "gone", "old", "gone"]


def test_search_looks_at_name_description_and_owner_without_case() -> None:
    rows = [
        row("orders"),
        row("stock", description="What ORDERS need"),
        row("web", owner="Orders team"),
        row("x"),
    ]
    found = select(rows, ServiceQuery(search="orders"))
    assert [each.name for each in found] == ["orders", "stock", "web"]


def test_attention_leaves_out_what_serves_wholly_and_what_is_empty() -> None:
    rows = [
        row("fine"),
        row("part", serving=1),
        row("none", serving=0),
        row("empty", instances=0, serving=0),
    ]
    found = select(rows, ServiceQuery(show=Show.ATTENTION))
    assert [each.name for each in found] == ["none", "part"]
    assert count(rows).attention == 2


def test_sorting_both_ways_and_by_namespace() -> None:
    rows = [row("b", serving=1), row("a", serving=2), row("c", serving=0, namespace="alpha")]
    by_serving = ServiceQuery(sort="serving", descending=True)
    assert [each.name for each in select(rows, by_serving)] == ["a", "b", "c"]
    assert [each.name for each in select(rows, ServiceQuery(sort="namespace"))] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"sort": "colour"}, "sort"),
        ({"sort": "--name"}, "sort"),
        ({"show": "some"}, "show"),
        ({"page": "0"}, "page"),
        ({"page": "-1"}, "page"),
        ({"page": "two"}, "page"),
        ({"page": "٣"}, "page"),
        ({"q": "x" * 201}, "q"),
    ],
)
def test_an_address_that_cannot_be_names_the_parameter(
    parameters: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidForm) as caught:
        ServiceQuery.parse(parameters)
    assert list(caught.value.fields) == [field]


@given(
    search=st.text(max_size=20).map(str.strip),
    namespace=st.text(max_size=10),
    show=st.sampled_from(Show),
    sort=st.sampled_from(["name", "namespace", "serving", "instances", "isolated", "suspect"]),
    descending=st.booleans(),
    page=st.integers(1, 10_000),
)
def test_a_query_survives_its_address(**values: object) -> None:
    from urllib.parse import parse_qsl

    query = ServiceQuery(**values)  # type: ignore[arg-type]
    address = query.address(page=query.page)
    parsed = dict(parse_qsl(address.removeprefix("?"), keep_blank_values=True))
    assert ServiceQuery.parse(parsed) == query


@given(total=st.integers(0, 500), number=st.integers(1, 100), size=st.integers(1, 60))
def test_pages_cover_a_list_without_overlap(total: int, number: int, size: int) -> None:
    everything = list(range(total))
    page = PageOf.of(everything, number, size)
    whole = [
        item
        for each in range(1, page.pages + 1)
        for item in PageOf.of(everything, each, size).items
    ]
    assert whole == everything
    assert page.number == min(number, page.pages)
    assert page.items == tuple(everything[page.first - 1 : page.last] if page.items else ())


async def test_the_page_shows_what_the_json_says(inside: Site) -> None:
    page = await inside.http.get(f"{BASE}/services")
    twin = (await inside.http.get(f"{BASE}/services.json")).json()
    accepted = await inside.http.get(f"{BASE}/services", headers={"accept": "application/json"})
    assert accepted.json() == twin
    assert twin["totals"] == {
        "services": 4,
        "instances": 11,
        "serving": 4,
        "isolated": 1,
        "suspect": 1,
        "attention": 2,
    }
    assert twin["source"]["revision"] == 10
    shown = re.findall(r'data-row-link href="[^"]*">([^<]+)<', page.text)
    assert shown == [each["name"] for each in twin["services"]["items"]]
    assert shown == ["inventory", "orders", "refunds", "web"]


async def test_filters_and_order_are_in_the_address(inside: Site) -> None:
    twin = await inside.http.get(f"{BASE}/services.json?namespace=default&show=attention")
    assert [each["name"] for each in twin.json()["services"]["items"]] == ["orders"]
    page = await inside.http.get(f"{BASE}/services?sort=-serving&q=r&namespace=default")
    assert "<option selected>default</option>" in page.text
    assert 'aria-sort="descending"' in page.text
    refresh = f'hx-get="{BASE}/services?q=r&amp;namespace=default&amp;sort=-serving"'
    assert refresh in page.text


async def test_htmx_gets_the_list_alone(inside: Site) -> None:
    headers = {"hx-request": "true", "hx-request-type": "partial"}
    answer = await inside.http.get(f"{BASE}/services", headers=headers)
    assert answer.text.lstrip().startswith('<div id="services"')
    assert "<html" not in answer.text
    assert "HX-Request" in answer.headers["vary"]
    assert answer.headers["cache-control"] == "no-store"


async def test_long_lists_come_in_pages(inside: Site) -> None:
    inside.catalogue.put(*(instance(service=f"svc-{number:03}") for number in range(120)))
    first = await inside.http.get(f"{BASE}/services")
    assert "1\u201350 of 124" in first.text
    assert 'rel="next" href="?page=2"' in first.text
    last = await inside.http.get(f"{BASE}/services?page=99")
    assert "101\u2013124 of 124" in last.text
    assert 'rel="prev" href="?page=2"' in last.text


@pytest.mark.parametrize(
    ("path", "status", "fields"),
    [("/services.json?sort=x", 422, ["sort"]), ("/services.json?page=x&q=y", 422, ["page"])],
)
async def test_errors_have_one_shape(
    inside: Site, path: str, status: int, fields: list[str]
) -> None:
    answer = await inside.http.get(BASE + path)
    assert answer.status_code == status
    body = answer.json()
    assert set(body) == {"error", "message", "fields"}
    assert body["error"] == "invalid"
    assert list(body["fields"]) == fields


class TestEmpty:
    @pytest.fixture
    def catalogue(self) -> HandFedCatalogue:
        return HandFedCatalogue()

    async def test_nothing_registered_says_what_to_do(self, inside: Site) -> None:
        page = await inside.http.get(f"{BASE}/services")
        assert "No services yet" in page.text
        assert "client.register" in page.text

    async def test_a_filter_that_leaves_nothing_says_so(self, inside: Site) -> None:
        page = await inside.http.get(f"{BASE}/services?q=zebra")
        assert "No service matches" in page.text

    async def test_no_registry_yet_says_so(self, inside: Site) -> None:
        inside.catalogue.revision = -1
        inside.catalogue.publish()
        page = await inside.http.get(f"{BASE}/services")
        assert "The registry has not answered yet" in page.text
        assert "Waiting for the registry" in page.text


async def test_pages_work_while_the_registry_is_away(inside: Site) -> None:
    inside.catalogue.age_seconds = 42.0
    page = await inside.http.get(f"{BASE}/services")
    assert page.status_code == 200
    assert "Registry away, last heard" in page.text
    twin = (await inside.http.get(f"{BASE}/services.json")).json()
    assert twin["source"]["state"] == "stale"
    assert twin["source"]["since_unix_ms"] == inside.clock() - 42_000
    assert twin["services"]["total"] == 4


def test_the_shop_has_every_state() -> None:
    """Page tests stand on it: a state that is missing from it would go untested."""
    from tianlu_console.instances.rows import TrafficState, traffic_state

    seen = {traffic_state(each) for each in shop().instances.values()}
    assert seen == set(TrafficState)
