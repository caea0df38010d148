"""Choosing an instance: distribution, health, load, exclusion."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu import (
    Health,
    Instance,
    InstanceStatus,
    Liveness,
    LoadBalancer,
    Override,
    Service,
    ServiceView,
)
from tianlu._balancer import Balancer, candidates


def instance(id_: str, weight: int = 100, *, suspect: bool = False) -> Instance:
    liveness = Liveness.SUSPECT if suspect else Liveness.ALIVE
    return Instance("default", "s", id_, "10.0.0.1", weight=weight, health=Health(liveness))


def view(*instances: Instance, by: LoadBalancer = LoadBalancer.ROUND_ROBIN) -> ServiceView:
    return ServiceView(Service("default", "s", load_balancer=by), instances)


def balancer(seed: int = 1) -> Balancer:
    return Balancer(random.Random(seed).random)


def picks(one: Balancer, of: ServiceView, count: int) -> list[str]:
    chosen = [one.pick(of) for _ in range(count)]
    return [instance.id for instance in chosen if instance is not None]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_a_full_round_picks_each_exactly_by_its_weight(weights: list[int]):
    instances = [instance(str(index), weight) for index, weight in enumerate(weights)]
    counts = Counter(picks(balancer(), view(*instances), sum(weights)))
    assert counts == {str(index): weight for index, weight in enumerate(weights)}


def test_round_robin_is_spread_evenly():
    spread = picks(balancer(), view(instance("a", 5), instance("b", 1), instance("c", 1)), 7)
    assert "".join(spread) == "aabacaa"


def test_round_robin_goes_on_when_the_view_changes():
    one = balancer()
    both = view(instance("a"), instance("b"))
    first = picks(one, both, 1)
    second = picks(one, view(*both.instances, instance("c", 1)), 1)
    assert first != second


def test_idle_least_request_follows_weights():
    of = view(instance("a", 300), instance("b", 100), by=LoadBalancer.LEAST_REQUEST)
    counts = Counter(picks(balancer(), of, 4000))
    assert counts["a"] / counts["b"] == pytest.approx(3, rel=0.15)


def test_least_request_avoids_the_loaded_one():
    of = view(instance("a"), instance("b"), by=LoadBalancer.UNSPECIFIED)
    one = balancer()
    for _ in range(5):
        one.begin("a")
    assert set(picks(one, of, 50)) == {"b"}
    for _ in range(6):
        one.end("a")
    assert set(picks(one, of, 50)) == {"a", "b"}


def test_only_eligible_instances_are_candidates():
    good = instance("good")
    bad = [
        replace(instance("down"), status=InstanceStatus.DOWN),
        replace(instance("draining"), status=InstanceStatus.DRAINING),
        replace(instance("isolated"), override=Override(isolated=True)),
        instance("weightless", 0),
    ]
    assert candidates([*bad, good]) == [good]
    assert balancer().pick(view(*bad)) is None
    assert balancer().pick(view()) is None


@pytest.mark.parametrize(
    ("suspects", "total", "used"), [(1, 4, 3), (2, 4, 2), (3, 4, 4), (4, 4, 4), (1, 1, 1)]
)
def test_suspects_are_left_out_unless_too_few_remain(suspects: int, total: int, used: int):
    instances = [instance(str(index), suspect=index < suspects) for index in range(total)]
    assert len(candidates(instances)) == used


def test_excluded_ones_are_left_out_while_anything_else_is_left():
    of = view(instance("a"), instance("b"))
    one = balancer()
    assert {one.pick(of, {"a"}).id for _ in range(10)} == {"b"}  # type: ignore[union-attr]
    assert one.pick(of, {"a", "b"}) is not None
