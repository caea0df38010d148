"""The order of publication, against a model of Envoy, over every interleaving we can draw."""

from __future__ import annotations

import dataclasses
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesher.lab.generated import histories
from mesher.lab.model_envoy import ModelEnvoy
from mesher.lab.views import instance, view

from tianlu import CatalogView
from tianlu_mesher.resources.assemble import Assembler
from tianlu_mesher.resources.snapshot import (
    CLUSTER_TYPE,
    ENDPOINT_TYPE,
    ROUTE_TYPE,
    Resource,
    XdsSnapshot,
)
from tianlu_mesher.routing.plan import UNLOADED, Planner
from tianlu_mesher.routing.role import Role
from tianlu_mesher.xds.messages import DeltaRequest, DeltaResponse
from tianlu_mesher.xds.session import DeltaSession, SessionLimits

ROLE = Role("mesher", bare_namespace="default")
GRACE = 5.0
PATIENT = SessionLimits(ack_timeout_seconds=1e6, removal_grace_seconds=GRACE)


def snapshot_of(of: CatalogView) -> XdsSnapshot:
    return Assembler(ROLE).assemble(Planner().plan(of))


class Bench:
    """A session and a model Envoy, with both directions of the stream in our hands."""

    def __init__(self, limits: SessionLimits = PATIENT, envoy: ModelEnvoy | None = None) -> None:
        self.limits = limits
        self.envoy = envoy or ModelEnvoy()
        self.session = DeltaSession(limits)
        self.now = 100.0
        self.targets: dict[str, frozenset[str]] = {}
        self.sent: list[DeltaResponse] = []

    def offer(self, snapshot: XdsSnapshot) -> None:
        (routes,) = snapshot.routes.values()
        self.targets[routes.version_info] = snapshot.route_targets - snapshot.static_clusters
        self.session.offer(snapshot)

    def poll(self) -> None:
        step = self.session.poll(self.now)
        self.sent += step.responses
        self.envoy.inbox.extend(step.responses)

    def hear(self) -> None:
        if self.envoy.outbox:
            self.session.receive(self.envoy.outbox.popleft())

    def take(self) -> None:
        if self.envoy.inbox:
            self.envoy.take()

    def reconnect(self) -> None:
        """The agent dies: a new session knows nothing but the newest snapshot."""
        desired = self.session._desired
        self.session = DeltaSession(self.limits)
        if desired is not None:
            self.session.offer(desired)
        self.envoy.connect()

    def settle(self) -> None:
        """Run until nobody has anything to say."""
        for _ in count():
            self.poll()
            if not self.envoy.inbox and not self.envoy.outbox:
                return
            while self.envoy.outbox:
                self.hear()
            self.take()

    def require_no_dangling_route(self) -> None:
        if self.envoy.routes:
            missing = self.targets[self.envoy.routes] - self.envoy.usable
            assert not missing, f"routes lead to {missing}"


# Weighted, so that most drawn walks get as far as routes before the next change comes.
ACTIONS = {"poll": 8, "hear": 8, "take": 8, "offer": 2, "wait": 2, "reconnect": 1}


@given(histories(size_max=6), st.integers(0, 1 << 32))
@settings(max_examples=150)
def test_no_route_ever_leads_to_a_missing_cluster(views: list[CatalogView], seed: int) -> None:
    bench, waiting = Bench(), list(views)
    for action in Random(seed).choices(list(ACTIONS), list(ACTIONS.values()), k=150):
        if action == "offer":
            if waiting:
                bench.offer(snapshot_of(waiting.pop(0)))
        elif action == "wait":
            bench.now += GRACE / 2
        else:
            getattr(bench, action)()
        bench.require_no_dangling_route()
    last = snapshot_of(views[-1])
    bench.offer(last)
    bench.settle()
    bench.now += 2 * GRACE
    bench.settle()
    bench.now += 2 * GRACE
    bench.settle()
    bench.require_no_dangling_route()
    assert bench.session.settled_revision == last.revision
    assert bench.envoy.clusters == versions(last.clusters)
    assert bench.envoy.endpoints == versions(last.endpoints)
    assert bench.envoy.routes == last.routes["tianlu"].version_info


def versions(resources: dict[str, Resource]) -> dict[str, str]:
    return {name: resource.version_info for name, resource in resources.items()}


ONE = snapshot_of(view(instance("a", 80), revision=1))
TWO = snapshot_of(view(instance("a", 80), instance("x", 90, service="inventory"), revision=2))
MORE = snapshot_of(view(instance("a", 80), instance("b", 81), revision=2))


def bench_with(snapshot: XdsSnapshot) -> Bench:
    bench = Bench()
    bench.offer(snapshot)
    bench.settle()
    bench.sent.clear()
    return bench


def said(responses: list[DeltaResponse]) -> list[tuple[str, list[str], tuple[str, ...]]]:
    kinds = {CLUSTER_TYPE: "clusters", ENDPOINT_TYPE: "endpoints", ROUTE_TYPE: "routes"}
    return [
        (kinds[each.type_url], [resource.name for resource in each.resources], each.removed)
        for each in responses
    ]


def test_additions_go_clusters_endpoints_routes() -> None:
    bench = bench_with(ONE)
    bench.offer(TWO)
    bench.settle()
    assert said(bench.sent) == [
        ("clusters", ["default/inventory/http"], ()),
        ("endpoints", ["default/inventory/http"], ()),
        ("routes", ["tianlu"], ()),
    ]


def test_removals_go_routes_then_after_the_grace_clusters() -> None:
    bench = bench_with(TWO)
    bench.offer(dataclasses.replace(ONE, revision=3))
    bench.settle()
    assert said(bench.sent) == [("routes", ["tianlu"], ())]
    assert bench.session.settled_revision == 3
    assert bench.session.poll(bench.now).wake_at == bench.now + GRACE
    bench.now += GRACE
    bench.settle()
    assert said(bench.sent)[1:] == [("clusters", [], ("default/inventory/http",))]


def test_a_changed_endpoint_is_the_only_thing_sent() -> None:
    bench = bench_with(ONE)
    bench.offer(MORE)
    bench.settle()
    assert said(bench.sent) == [("endpoints", ["default/orders/http"], ())]


def test_an_envoy_that_has_everything_is_sent_nothing_after_a_reconnection() -> None:
    bench = bench_with(TWO)
    bench.reconnect()
    bench.settle()
    assert bench.sent == []
    assert bench.session.settled_revision == TWO.revision


def test_an_agent_without_a_view_takes_nothing_away() -> None:
    bench = bench_with(TWO)
    before = (dict(bench.envoy.clusters), bench.envoy.routes)
    bench.session = DeltaSession(PATIENT)
    bench.offer(Assembler(ROLE).assemble(UNLOADED))
    bench.envoy.connect()
    bench.settle()
    bench.now += 10 * GRACE
    bench.settle()
    assert bench.sent == []
    assert (bench.envoy.clusters, bench.envoy.routes) == before


def test_a_fresh_envoy_is_given_what_can_be_said_without_a_view() -> None:
    bench = Bench()
    bench.offer(Assembler(ROLE).assemble(UNLOADED))
    bench.settle()
    assert said(bench.sent) == [("clusters", [], ()), ("routes", ["tianlu"], ())]
    assert bench.session.settled_revision is None


def test_once_there_was_a_view_nothing_less_is_taken() -> None:
    bench = bench_with(ONE)
    bench.offer(Assembler(ROLE).assemble(UNLOADED))
    bench.settle()
    assert bench.sent == []


def test_an_updated_cluster_gets_its_endpoints_again() -> None:
    bench = bench_with(ONE)
    (name,) = ONE.clusters
    bench.offer(
        dataclasses.replace(ONE, clusters={name: Resource.of_bytes(name, b"another version")})
    )
    bench.settle()
    assert said(bench.sent) == [("clusters", [name], ()), ("endpoints", [name], ())]


def refuse(*names: str) -> ModelEnvoy:
    return ModelEnvoy(lambda kind, each: kind == CLUSTER_TYPE and each.name in names)


def test_a_refused_resource_is_named_and_not_sent_again() -> None:
    bench = Bench(envoy=refuse("default/orders/http"))
    bench.offer(ONE)
    bench.settle()
    assert bench.session.refused == ((CLUSTER_TYPE, "default/orders/http"),)
    assert bench.session.settled_revision is None
    bench.sent.clear()
    bench.settle()
    assert bench.sent == []


def test_one_bad_resource_does_not_hold_back_the_good_ones() -> None:
    bench = Bench(
        SessionLimits(ack_timeout_seconds=2, removal_grace_seconds=GRACE),
        envoy=refuse("default/inventory/http"),
    )
    bench.offer(TWO)
    bench.settle()
    assert bench.envoy.clusters.keys() == {"default/orders/http"}
    bench.now += 2
    bench.settle()
    assert bench.envoy.routes == TWO.routes["tianlu"].version_info


def test_a_newer_version_of_a_refused_resource_is_tried() -> None:
    bench = bench_with(ONE)
    (name,) = ONE.clusters
    bad = Resource.of_bytes(name, b"bad")
    bench.envoy.refuses = lambda _kind, each: each == bad
    bench.offer(dataclasses.replace(ONE, clusters={name: bad}))
    bench.settle()
    assert bench.envoy.clusters[name] == ONE.clusters[name].version_info
    assert bench.session.refused
    bench.offer(dataclasses.replace(ONE, clusters={name: Resource.of_bytes(name, b"good")}))
    bench.settle()
    assert bench.session.refused == ()
    assert bench.session.settled_revision == ONE.revision


def test_a_verdict_that_does_not_come_stops_blocking() -> None:
    bench = Bench(SessionLimits(ack_timeout_seconds=2, removal_grace_seconds=GRACE))
    bench.offer(ONE)
    while bench.envoy.outbox:
        bench.hear()
    bench.poll()
    bench.offer(TWO)
    bench.poll()
    assert said(bench.sent) == [("clusters", ["default/orders/http"], ())]
    assert bench.session.poll(bench.now).wake_at == bench.now + 2
    bench.now += 2
    bench.poll()
    assert ("clusters", ["default/inventory/http"], ()) in said(bench.sent)


def test_a_late_verdict_on_what_was_superseded_changes_nothing() -> None:
    bench = bench_with(ONE)
    verdict = bench.session.receive(DeltaRequest(CLUSTER_TYPE, response_nonce="999"))
    assert verdict is None
    assert bench.session.settled_revision == ONE.revision


@pytest.mark.parametrize("type_url", ["", "type.googleapis.com/envoy.config.listener.v3.Listener"])
def test_a_type_that_we_do_not_serve_is_ignored(type_url: str) -> None:
    session = DeltaSession(PATIENT)
    session.offer(ONE)
    session.receive(DeltaRequest(type_url))
    assert session.poll(0).responses == ()


def test_endpoints_of_a_cluster_that_is_to_go_are_answered_as_absent() -> None:
    bench = bench_with(TWO)
    bench.offer(dataclasses.replace(ONE, revision=3))
    bench.settle()
    bench.sent.clear()
    (name,) = TWO.clusters.keys() - ONE.clusters.keys()
    bench.session.receive(DeltaRequest(ENDPOINT_TYPE, subscribe=(name,)))
    bench.settle()
    assert said(bench.sent) == [("endpoints", [], (name,))]
