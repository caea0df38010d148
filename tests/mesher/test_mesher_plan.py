"""Catalogue view -> routing plan: the rules at the head of tianlu_mesher.routing.plan."""

from __future__ import annotations

import pytest
from hypothesis import given
from mesher.lab.generated import histories
from mesher.lab.views import ISOLATED, SUSPECT, changed, instance, view

from tianlu import CatalogView, InstanceStatus, LoadBalancer, Port, Service, ServiceKey
from tianlu_mesher.routing.ir import EnvoyClusterSpec, ServiceRoute, UpstreamProtocol
from tianlu_mesher.routing.plan import Planner

ORDERS = ServiceKey("default", "orders")
HTTP = Port("http", 80, "http")
GRPC = Port("grpc", 81, "grpc")
HTTP2 = Port("fast", 82, "http2")
TCP = Port("raw", 83, "tcp")


def planned(of: CatalogView, **addresses: str) -> ServiceRoute:
    return Planner().plan(of, addresses).services[ORDERS]


def only_cluster(route: ServiceRoute) -> EnvoyClusterSpec:
    (cluster,) = route.envoy_clusters
    return cluster


def ids(cluster: EnvoyClusterSpec) -> list[str]:
    return [each.instance_id for each in cluster.endpoints]


@pytest.mark.parametrize(
    "left_out",
    [{"status": InstanceStatus.DRAINING}, {"weight": 0}, {"override": ISOLATED}],
    ids=lambda each: next(iter(each)),
)
def test_rule_1_only_eligible_instances_are_endpoints(left_out: dict) -> None:
    route = planned(view(instance("a", 80), instance("b", 81, **left_out)))
    assert ids(only_cluster(route)) == ["a"]


def test_rule_1_a_suspect_instance_stays_and_is_unhealthy() -> None:
    route = planned(view(instance("a", 80), instance("b", 81, health=SUSPECT)))
    assert [each.healthy for each in only_cluster(route).endpoints] == [True, False]


def test_rule_2_isolating_the_last_instance_changes_no_route() -> None:
    before = planned(view(instance("a", (HTTP, GRPC))))
    after = planned(view(instance("a", (HTTP, GRPC), override=ISOLATED)))
    assert after.routes == before.routes
    assert all(not cluster.endpoints for cluster in after.envoy_clusters)


def test_rule_3_the_default_port_is_what_most_name_first() -> None:
    route = planned(view(*(instance(i, (HTTP2, HTTP)) for i in "ab"), instance("c", (HTTP, HTTP2))))
    assert route.routes[0].envoy_cluster == "default/orders/fast"


@pytest.mark.parametrize(
    ("ports", "wanted"),
    [
        ((HTTP, GRPC), "default/orders/grpc"),
        ((HTTP, HTTP2), "default/orders/fast"),
        ((HTTP2, GRPC), "default/orders/grpc"),
        ((HTTP,), "default/orders/http"),
        ((TCP, HTTP), "default/orders/http"),
    ],
)
def test_rule_3_grpc_goes_to_the_port_that_speaks_it(ports: tuple, wanted: str) -> None:
    assert planned(view(instance("a", ports))).routes[0].grpc_envoy_cluster == wanted


def test_rule_3_each_port_has_a_route_of_its_own() -> None:
    routes = planned(view(instance("a", (HTTP, GRPC, TCP)))).routes
    assert [(each.port_name, each.envoy_cluster) for each in routes] == [
        ("", "default/orders/http"),
        ("grpc", "default/orders/grpc"),
        ("http", "default/orders/http"),
    ]


def test_rule_4_the_majority_decides_on_a_protocol() -> None:
    other = Port("http", 80, "http2")
    one = instance("c", (other,), address="10.0.0.3")
    route = planned(view(instance("a", 80), instance("b", 81), one))
    cluster = only_cluster(route)
    assert (cluster.protocol, ids(cluster)) == (UpstreamProtocol.HTTP1, ["a", "b"])
    assert route.notes == ("instance c: port http is http2, not http1",)


def test_rule_5_the_last_registration_owns_an_address() -> None:
    old = instance("old", 80, create_revision=3, health=SUSPECT)
    new = instance("new", 80, create_revision=7)
    for order in ((old, new), (new, old)):
        assert ids(only_cluster(planned(view(*order)))) == ["new"]


def test_rule_6_host_names_are_replaced_by_what_they_resolve_to() -> None:
    of = view(instance("a", 80, address="db-1"), instance("b", 80, address="db-2"))
    assert Planner().plan(of).host_names == {"db-1", "db-2"}
    route = planned(of, **{"db-1": "10.0.0.7"})
    assert [each.address for each in only_cluster(route).endpoints] == ["10.0.0.7"]
    assert route.notes == ("instance b: db-2 has no known IP address",)


def test_a_service_without_instances_keeps_an_empty_cluster() -> None:
    route = planned(view(described=[Service("default", "orders")]))
    assert only_cluster(route).endpoints == ()
    assert route.routes[0].envoy_cluster == only_cluster(route).name


def test_the_load_balancer_is_least_request_unless_said_otherwise() -> None:
    robin = Service("default", "orders", load_balancer=LoadBalancer.ROUND_ROBIN)
    assert only_cluster(planned(view(instance("a", 80)))).load_balancer == "least_request"
    asked = only_cluster(planned(view(instance("a", 80), described=[robin])))
    assert asked.load_balancer == "round_robin"


def test_what_has_not_changed_keeps_its_object() -> None:
    planner = Planner()
    first = view(instance("a", 80), instance("x", 90, service="inventory"))
    before = planner.plan(first)
    grown = view(instance("a", 80), instance("b", 81))
    after = planner.plan(changed(first, {**first.services, **grown.services}))
    inventory = ServiceKey("default", "inventory")
    assert after.services[inventory] is before.services[inventory]
    assert after.services[ORDERS] is not before.services[ORDERS]


@given(histories())
def test_planning_step_by_step_equals_planning_from_nothing(views: list[CatalogView]) -> None:
    planner = Planner()
    for number, each in enumerate(views):
        addresses = {"host-1": "10.0.0.9"} if number % 2 else {}
        assert planner.plan(each, addresses) == Planner().plan(each, addresses)


@given(histories(size_max=1))
def test_every_route_leads_to_one_of_its_own_clusters(views: list[CatalogView]) -> None:
    for service in Planner().plan(views[-1]).services.values():
        names = {cluster.name for cluster in service.envoy_clusters}
        assert {route.envoy_cluster for route in service.routes} <= names
        assert {route.grpc_envoy_cluster for route in service.routes} <= names
