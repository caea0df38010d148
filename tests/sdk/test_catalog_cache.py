"""The cache's rules: whole revisions, never empty without proof, lost history."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tianlu import ChangeKind, Instance, Port, ProtocolError, Rung, Service, ServiceKey, ServiceView
from tianlu._cache import RETAIN_SECONDS_MAX, REWIND_GRACE_SECONDS, Batch, CatalogCache
from tianlu._view import Change

KEY = ServiceKey("default", "orders")


def instance(id_: str, revision: int = 1, service: str = "orders") -> Instance:
    return Instance("default", service, id_, "10.0.0.1", (Port("http", 80),), mod_revision=revision)


def put(id_: str, revision: int, service: str = "orders") -> Change:
    key = ServiceKey("default", service)
    return Change(ChangeKind.PUT, revision, key, id_, instance=instance(id_, revision, service))


def removed(id_: str, revision: int) -> Change:
    return Change(ChangeKind.REMOVED, revision, KEY, id_)


def described(revision: int) -> Change:
    return Change(ChangeKind.PUT, revision, KEY, service=Service("default", "orders", "text"))


def snapshot(revision: int, *changes: Change) -> Batch:
    return Batch(revision, changes, snapshot=True, snapshot_end=True)


def ids(cache: CatalogCache, key: ServiceKey = KEY) -> list[str]:
    view = cache.service(key)
    return [] if view is None else [one.id for one in view.instances]


def filled(revision: int = 10, *names: str) -> CatalogCache:
    cache = CatalogCache()
    cache.apply(snapshot(revision, *(put(name, revision) for name in names or ("a", "b"))), 0.0)
    return cache


def test_snapshot_takes_effect_at_its_end_all_at_once():
    cache = CatalogCache()
    assert cache.degraded
    assert cache.apply(Batch(9, (put("a", 3),), snapshot=True), 0.0) == ()
    assert (ids(cache), cache.revision, cache.filled) == ([], 0, False)
    changes = cache.apply(
        Batch(9, (put("b", 4), described(2)), snapshot=True, snapshot_end=True), 0.0
    )
    assert [(change.kind, change.instance_id) for change in changes] == [
        ("put", ""),
        ("put", "a"),
        ("put", "b"),
    ]
    assert (ids(cache), cache.revision, cache.degraded) == (["a", "b"], 9, "")


def test_events_are_applied_and_removals_completed():
    cache = filled(10, "a")
    changes = cache.apply(Batch(12, (put("b", 11), removed("a", 12))), 0.0)
    assert (ids(cache), cache.revision) == (["b"], 12)
    assert changes[1].instance == instance("a", 10)
    cache.apply(Batch(13, (removed("b", 13),)), 0.0)
    assert cache.service(KEY) is None


def test_views_are_immutable_and_shared_until_something_changes():
    cache = filled()
    before = cache.services()
    assert cache.services() is before
    cache.apply(Batch(11), 0.0)
    assert cache.services() is before
    cache.apply(Batch(12, (put("c", 12),)), 0.0)
    assert [one.id for one in before[KEY].instances] == ["a", "b"]
    assert [one.id for one in cache.services()[KEY].instances] == ["a", "b", "c"]


def test_a_broken_watch_changes_nothing_but_the_age():
    cache = filled()
    assert cache.age_seconds(100.0) == 0
    cache.lost("registry is gone", 100.0)
    assert (ids(cache), cache.degraded) == (["a", "b"], "registry is gone")
    assert cache.age_seconds(130.0) == 30.0
    cache.lost("still gone", 140.0)
    assert cache.age_seconds(150.0) == 50.0
    cache.apply(Batch(10), 160.0)
    assert (cache.degraded, cache.age_seconds(170.0)) == ("", 0.0)


def test_a_half_received_snapshot_is_forgotten_with_its_stream():
    cache = filled()
    cache.apply(Batch(20, (put("c", 20),), snapshot=True), 0.0)
    cache.lost("broken", 1.0)
    cache.apply(Batch(21, (put("d", 21),)), 2.0)
    assert ids(cache) == ["a", "b", "d"]


def test_a_newer_snapshot_is_the_truth_and_may_empty():
    cache = filled()
    cache.lost("gone", 0.0)
    changes = cache.apply(snapshot(11, put("b", 10)), 1.0)
    assert [(change.kind, change.instance_id) for change in changes] == [("removed", "a")]
    cache.apply(snapshot(12), 2.0)
    assert ids(cache) == []


def test_lost_history_empties_no_list():
    cache = filled(100, "a", "b")
    cache.apply(snapshot(3), 1000.0)
    assert (ids(cache), cache.revision) == (["a", "b"], 3)
    assert "2 instances" in cache.degraded
    cache.expire(1000.0 + REWIND_GRACE_SECONDS)
    assert ids(cache) == ["a", "b"]
    gone = cache.expire(1000.0 + RETAIN_SECONDS_MAX)
    assert [change.instance_id for change in gone] == ["a", "b"]
    assert (ids(cache), cache.degraded) == ([], "")


def test_after_the_grace_a_service_known_to_the_new_history_loses_what_did_not_return():
    cache = filled(100, "a", "b", "c")
    cache.apply(snapshot(3, put("a", 3)), 1000.0)
    assert (ids(cache), cache.retaining) == (["a", "b", "c"], True)
    cache.apply(Batch(4, (put("b", 4),)), 1001.0)
    assert cache.expire(1000.0 + REWIND_GRACE_SECONDS - 1) == ()
    cache.expire(1000.0 + REWIND_GRACE_SECONDS)
    assert (ids(cache), cache.retaining, cache.degraded) == (["a", "b"], False, "")


def test_the_new_history_may_remove_what_is_retained():
    cache = filled(100, "a", "b")
    cache.apply(snapshot(3), 1000.0)
    cache.apply(Batch(4, (removed("a", 4),)), 1001.0)
    assert ids(cache) == ["b"]
    cache.apply(snapshot(5, put("b", 5)), 1002.0)
    assert (ids(cache), cache.retaining) == (["b"], False)


def test_retained_instances_survive_further_snapshots_of_the_new_history():
    cache = filled(100, "a", "b")
    cache.apply(snapshot(3), 1000.0)
    cache.apply(snapshot(4, put("a", 4)), 1001.0)
    assert ids(cache) == ["a", "b"]


@pytest.mark.parametrize(
    ("before", "batch"),
    [
        ([], Batch(5, (put("a", 5),))),
        ([snapshot(10)], Batch(9)),
        ([snapshot(10), Batch(11, (), snapshot=True)], Batch(11)),
    ],
)
def test_what_cannot_follow_is_refused(before: list[Batch], batch: Batch):
    cache = CatalogCache()
    for one in before:
        cache.apply(one, 0.0)
    with pytest.raises(ProtocolError):
        cache.apply(batch, 0.0)


def test_host_snapshot_fills_only_an_empty_cache():
    view = ServiceView(Service("default", "orders"), (instance("old"),))
    cache = CatalogCache()
    cache.restore([view], 7, age_seconds=60.0, now=100.0)
    assert (ids(cache), cache.rung, cache.revision) == (["old"], Rung.SNAPSHOT, 7)
    assert cache.age_seconds(110.0) == 70.0
    assert cache.degraded
    cache.apply(snapshot(8, put("a", 8)), 120.0)
    assert (ids(cache), cache.rung, cache.age_seconds(130.0)) == (["a"], Rung.PROCESS, 0.0)
    cache.restore([view], 7, age_seconds=60.0, now=100.0)
    assert ids(cache) == ["a"]


def test_resuming_from_a_revision_takes_events_without_a_snapshot():
    cache = CatalogCache()
    cache.resume_at(40)
    assert cache.apply(Batch(41, (put("a", 41),)), 0.0)[0].instance_id == "a"


class CacheBesideModel(RuleBasedStateMachine):
    """A registry that lives, dies, comes back and loses its data, against a plain model."""

    names = st.sampled_from("abcdef")

    @initialize()
    def start(self) -> None:
        self.cache = CatalogCache()
        self.registry: dict[str, int] = {}
        self.revision = 1
        self.now = 0.0
        self.was_there: set[str] = set()
        self.connected = False
        self.connect()

    def connect(self) -> None:
        batch = snapshot(self.revision, *(put(name, at) for name, at in self.registry.items()))
        rewound = self.revision < self.cache.revision
        self.cache.apply(batch, self.now)
        self.connected = True
        if not rewound and not self.cache.retaining:
            self.was_there = set(self.registry)

    @rule(name=names)
    def register(self, name: str) -> None:
        self.revision += 1
        self.registry[name] = self.revision
        if self.connected:
            self.cache.apply(Batch(self.revision, (put(name, self.revision),)), self.now)
            self.was_there.add(name)

    @rule(name=names)
    def deregister(self, name: str) -> None:
        if self.registry.pop(name, None) is None:
            return
        self.revision += 1
        if self.connected:
            self.cache.apply(Batch(self.revision, (removed(name, self.revision),)), self.now)
            self.was_there.discard(name)

    @rule()
    def lose_the_watch(self) -> None:
        self.cache.lost("away", self.now)
        self.connected = False

    @rule()
    def come_back(self) -> None:
        self.connect()

    @rule()
    def lose_all_data(self) -> None:
        self.registry, self.revision = {}, 1
        self.cache.lost("away", self.now)
        self.connected = False

    @rule(seconds=st.sampled_from([1.0, REWIND_GRACE_SECONDS]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self.cache.expire(self.now)

    @invariant()
    def holds_the_registry_and_forgets_nothing_unproved(self) -> None:
        held = set(ids(self.cache))
        if self.connected:
            assert set(self.registry) <= held
        if self.connected and not self.cache.retaining:
            assert held == set(self.registry)
        if self.was_there and self.now < RETAIN_SECONDS_MAX:
            assert held, "a list became empty without proof"


CacheBesideModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None
)
TestCacheBesideModel = CacheBesideModel.TestCase
