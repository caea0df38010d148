"""Messages put together on the wire are those that protobuf would have made."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tianlu._proto.v1.catalog_pb2 import (
    CatalogEvent,
    DiscoverResponse,
    InstanceKey,
    ListInstancesResponse,
    ServiceKey,
    WatchResponse,
)
from tianlu._proto.v1.model_pb2 import Instance, InstanceStatus, Service
from tianlu_registry.catalog import answers, events, messages, wire
from tianlu_registry.catalog.entries import Joined, ServiceSnapshot
from tianlu_registry.catalog.history import Change, RevisionChanges, WatchFilter

numbers = st.integers(0, 2**63 - 1)
instances = st.builds(
    Instance,
    namespace=st.text(max_size=5),
    id=st.text(max_size=200),
    weight=st.sampled_from([None, 0, 7]),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
    mod_revision=numbers,
)


@given(value=numbers, boolean=st.booleans())
def test_numbers(value: int, boolean: bool) -> None:
    tag = wire.tag(WatchResponse, "revision")
    assert wire.number(tag, value) == WatchResponse(revision=value).SerializeToString()
    tag = wire.tag(WatchResponse, "snapshot_end")
    assert wire.number(tag, boolean) == WatchResponse(snapshot_end=boolean).SerializeToString()


@given(instance=instances, revision=numbers)
def test_events(instance: Instance, revision: int) -> None:
    encoded = events.instance_put(Joined(instance), revision)
    assert CatalogEvent.FromString(encoded) == CatalogEvent(
        instance_put=instance, revision=revision
    )
    gone = CatalogEvent.FromString(events.instance_removed("a", "b", "c", revision))
    assert gone.instance_removed == InstanceKey(namespace="a", service="b", id="c")
    removed = CatalogEvent.FromString(events.service_removed("a", "b", revision))
    assert removed.service_removed == ServiceKey(namespace="a", name="b")
    put = CatalogEvent.FromString(events.service_put(Service(name="x"), revision))
    assert put.service_put == Service(name="x")
    assert put.revision == gone.revision == removed.revision == revision


@given(
    revision=numbers,
    snapshot=st.booleans(),
    end=st.booleans(),
    held=st.lists(instances, max_size=5),
)
@settings(deadline=None)
def test_parts(revision: int, snapshot: bool, end: bool, held: list[Instance]) -> None:
    expected = WatchResponse(
        revision=revision,
        snapshot=snapshot,
        snapshot_end=end,
        events=[CatalogEvent(instance_put=each, revision=3) for each in held],
    )
    encoded = [events.instance_put(Joined(each), 3) for each in held]
    part = messages.Part(revision, snapshot, end, encoded)
    assert WatchResponse.FromString(part.encode()) == part.message() == expected


@given(held=st.lists(instances, max_size=5), revision=numbers)
@settings(deadline=None)
def test_answers(held: list[Instance], revision: int) -> None:
    for each in held:
        each.status = InstanceStatus.INSTANCE_STATUS_UP
        each.ClearField("weight")
    snapshot = ServiceSnapshot(Service(name="s"), True, tuple(map(Joined, held)))
    for _ in range(2):  # made, then found
        listed = answers.list_instances(snapshot, revision).message()
        assert listed == ListInstancesResponse(instances=held, revision=revision)
        discovered = answers.discover(snapshot, revision).message()
        assert discovered == DiscoverResponse(
            service=Service(name="s"), instances=held, revision=revision
        )


def test_a_snapshot_of_nothing_is_one_part() -> None:
    (part,) = messages.snapshot([], 5)
    assert part.message() == WatchResponse(revision=5, snapshot=True, snapshot_end=True)


@given(sizes=st.lists(st.integers(1, 900_000), max_size=8))
@settings(deadline=None, max_examples=30)
def test_parts_are_bounded_in_bytes(sizes: list[int]) -> None:
    held = tuple(Joined(Instance(id="x" * size)) for size in sizes)
    service = ServiceSnapshot(Service(namespace="a", name="s"), True, held)
    parts = list(messages.snapshot([service], 5))
    assert [part.snapshot_end for part in parts] == [False] * (len(parts) - 1) + [True]
    sent = [event for part in parts for event in part.message().events]
    assert [len(event.instance_put.id) for event in sent[1:]] == sizes
    for part in parts:
        assert len(part.events) == 1 or sum(map(len, part.events)) <= messages.BYTES_MAX


@given(
    counts=st.lists(st.integers(1, 300), max_size=12),
    wanted=st.sampled_from([WatchFilter(), WatchFilter("a"), WatchFilter("", frozenset("t"))]),
)
@settings(deadline=None)
def test_a_delta_keeps_revisions_whole(counts: list[int], wanted: WatchFilter) -> None:
    revisions = [
        RevisionChanges(
            revision,
            tuple(
                Change(
                    "ab"[n % 2], "st"[n % 3 % 2], events.instance_removed("", "", str(n), revision)
                )
                for n in range(count)
            ),
        )
        for revision, count in enumerate(counts, 10)
    ]
    expected = [
        (each.revision, change.event)
        for each in revisions
        for change in each.changes
        if wanted.matches(change.namespace, change.service)
    ]
    parts = list(messages.delta(revisions, wanted))
    got = [(part, event) for part in parts for event in part.events]
    assert [event for _, event in got] == [event for _, event in expected]
    part_of: dict[int, int] = {}
    for (part, event), (revision, _) in zip(got, expected, strict=True):
        assert part_of.setdefault(revision, id(part)) == id(part), "a revision was split"
        assert part.revision >= CatalogEvent.FromString(event).revision
    for part in parts:
        assert part.revision == CatalogEvent.FromString(part.events[-1]).revision
        assert len(part.events) <= messages.EVENTS_MAX
