"""Routing plan -> Envoy resources -> consistency check."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from mesher.lab.generated import histories
from mesher.lab.views import SUSPECT, instance, view

from tianlu import CatalogView, Service
from tianlu_mesher.envoy_api import message_class
from tianlu_mesher.errors import InconsistentPlan
from tianlu_mesher.resources.assemble import Assembler
from tianlu_mesher.resources.consistency import require_consistent
from tianlu_mesher.resources.snapshot import Resource, XdsSnapshot
from tianlu_mesher.routing.plan import UNLOADED, Planner
from tianlu_mesher.routing.role import ControlRoute, Role

MESHER = Role("mesher", bare_namespace="default")
GATEWAY = Role(
    "gateway",
    edge=True,
    path_prefix="/s",
    control_routes=(ControlRoute("/v1/", "tianlu_registry"),),
)
STATIC = frozenset({"tianlu_registry"})


def assembled(of: CatalogView, role: Role = MESHER) -> XdsSnapshot:
    return Assembler(role, STATIC).assemble(Planner().plan(of))


def route_configuration(snapshot: XdsSnapshot) -> Any:
    (resource,) = snapshot.routes.values()
    return message_class("envoy.config.route.v3.RouteConfiguration").FromString(resource.value)


def virtual_hosts(snapshot: XdsSnapshot) -> dict[str, Any]:
    hosts = route_configuration(snapshot).virtual_hosts
    return {domain: host for host in hosts for domain in host.domains}


def routes_of(host: Any) -> list[Any]:
    """Return a virtual host's routes, those in its tree of paths included, by prefix."""
    tree = host.matcher.matcher_tree.prefix_match_map.map
    listed = [
        message_class("envoy.config.route.v3.RouteList").FromString(
            tree[prefix].action.typed_config.value
        )
        for prefix in sorted(tree)
    ]
    return [*host.routes, *(route for each in listed for route in each.routes)]


def test_a_service_is_known_by_its_authority_its_ports_and_its_bare_name() -> None:
    hosts = virtual_hosts(assembled(view(instance("a", 80))))
    assert set(hosts) == {"orders.default", "orders", "http.orders.default", "*"}


def test_only_the_own_namespace_has_bare_names() -> None:
    assert "orders" not in virtual_hosts(assembled(view(instance("a", 80, namespace="shop"))))


def test_the_gateway_serves_control_routes_and_a_path_for_each_service() -> None:
    default = virtual_hosts(assembled(view(instance("a", 80)), GATEWAY))["*"]
    assert set(default.matcher.matcher_tree.prefix_match_map.map) == {
        "/", "/v1/", "/s/", "/s/default/orders",
    }  # fmt: skip
    rewritten = {
        route.match.prefix or route.match.path
        for route in routes_of(default)
        if route.route.prefix_rewrite == "/"
    }
    assert rewritten == {"/s/default/orders/", "/s/default/orders"}


def test_tunnels_are_for_the_host_only() -> None:
    def tunnels(role: Role) -> bool:
        host = virtual_hosts(assembled(view(instance("a", 80)), role))["orders.default"]
        return any(route.match.HasField("connect_matcher") for route in host.routes)

    assert tunnels(MESHER)
    assert not tunnels(GATEWAY)


def test_only_repeatable_requests_are_retried_after_they_may_have_arrived() -> None:
    host = virtual_hosts(assembled(view(instance("a", 80))))["orders.default"]
    by_method = {
        tuple(header.name for header in route.match.headers): route.route.retry_policy.retry_on
        for route in host.routes
        if not route.match.HasField("grpc")
    }
    assert "gateway-error" in by_method[(":method",)]
    assert by_method[()] == ""
    surely_unsent = "connect-failure,refused-stream,reset-before-request"
    assert host.retry_policy.retry_on == surely_unsent


def test_a_domain_that_two_services_want_goes_to_the_authority_before_the_port() -> None:
    snapshot = assembled(view(instance("a", 80), instance("b", 81, service="http.orders")))
    wanted = "default/http.orders/http"
    assert virtual_hosts(snapshot)["http.orders.default"].routes[-1].route.cluster == wanted
    require_consistent(snapshot)


def test_without_a_view_the_answer_is_not_ready_instead_of_unknown() -> None:
    snapshot = Assembler(GATEWAY, STATIC).assemble(UNLOADED)
    last = routes_of(virtual_hosts(snapshot)["*"])[-1]
    assert (snapshot.loaded, last.direct_response.status) == (False, 503)
    require_consistent(snapshot)


def test_an_endpoint_says_weight_health_and_instance() -> None:
    (resource,) = assembled(view(instance("a", 80, weight=7, health=SUSPECT))).endpoints.values()
    assignment = message_class("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(
        resource.value
    )
    (endpoint,) = assignment.endpoints[0].lb_endpoints
    assert endpoint.load_balancing_weight.value == 7
    assert endpoint.health_status == 2  # UNHEALTHY
    assert endpoint.metadata.filter_metadata["tianlu"]["instance"] == "a"


def test_a_new_endpoint_changes_one_assignment_and_nothing_else() -> None:
    planner, assembler = Planner(), Assembler(MESHER)
    first = assembler.assemble(planner.plan(view(instance("a", 80))))
    second = assembler.assemble(planner.plan(view(instance("a", 80), instance("b", 81))))
    assert second.routes == first.routes
    assert second.clusters == first.clusters
    assert second.endpoints.keys() == first.endpoints.keys()
    assert second.endpoints != first.endpoints


def test_the_same_content_has_the_same_version_in_every_process() -> None:
    of = view(instance("a", 80), instance("b", 81, service="inventory"))
    assert assembled(of) == assembled(of)
    # Written down, because an Envoy that outlives an upgraded agent compares against it.
    assert Resource.of_bytes("x", b"content").version_info == "b14a99127497aba3"


@given(histories())
def test_assembling_step_by_step_equals_assembling_from_nothing(views: list[CatalogView]) -> None:
    for role in (MESHER, GATEWAY):
        planner, assembler = Planner(), Assembler(role, STATIC)
        for each in views:
            assert assembler.assemble(planner.plan(each)) == assembled(each, role)


@given(histories(size_max=2))
def test_every_view_gives_a_consistent_snapshot(views: list[CatalogView]) -> None:
    for role in (MESHER, GATEWAY):
        for each in views:
            snapshot = assembled(each, role)
            require_consistent(snapshot)
            assert_consistent_as_decoded(snapshot)


def assert_consistent_as_decoded(snapshot: XdsSnapshot) -> None:
    """Check the serialized resources, apart from what the assembler says of them."""
    hosts = route_configuration(snapshot).virtual_hosts
    domains = Counter(domain for host in hosts for domain in host.domains)
    assert set(domains.values()) == {1}
    assert len({host.name for host in hosts}) == len(hosts)
    targets = {
        route.route.cluster
        for host in hosts
        for route in routes_of(host)
        if route.WhichOneof("action") == "route"
    }
    assert targets <= snapshot.clusters.keys() | STATIC
    assert snapshot.clusters.keys() == snapshot.endpoints.keys()


SOUND = assembled(view(instance("a", 80), described=[Service("default", "inventory")]))


@pytest.mark.parametrize(
    ("fault", "broken"),
    [
        ("route uses the missing cluster nowhere", {"route_targets": frozenset({"nowhere"})}),
        ("cluster default/orders/http has no endpoint", {"endpoints": {}}),
        ("assignment has no cluster default/orders/http", {"clusters": {}}),
        ("domain * occurs 2 times", {"domains": ("*", "*")}),
        ("is static and dynamic", {"static_clusters": frozenset({"default/orders/http"})}),
        ("is filed under", {"routes": {"other": next(iter(SOUND.routes.values()))}}),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_an_inconsistent_snapshot_is_refused(fault: str, broken: dict[str, Any]) -> None:
    require_consistent(SOUND)
    with pytest.raises(InconsistentPlan, match=fault.replace("*", r"\*")):
        require_consistent(dataclasses.replace(SOUND, **broken))


def test_two_resources_of_one_name_are_refused() -> None:
    with pytest.raises(InconsistentPlan, match="two resources are named default/a/b/http"):
        assembled(
            view(
                instance("x", 80, service="a/b"),
                instance("y", 80, namespace="default/a", service="b"),
            )
        )
