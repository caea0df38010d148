"""The view against a dumb join of the same keys."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tianlu._proto.etcd.kv_pb2 import Event, KeyValue
from tianlu._proto.v1.catalog_pb2 import CatalogEvent
from tianlu._proto.v1.model_pb2 import (
    Health,
    Instance,
    InstanceStatus,
    Liveness,
    Override,
    Service,
)
from tianlu_registry.catalog import keys
from tianlu_registry.catalog.history import Change, ChangeHistory, RevisionChanges
from tianlu_registry.catalog.keys import InstanceName, Kind
from tianlu_registry.catalog.view import CatalogView
from tianlu_registry.errors import InvariantBroken

NAMESPACES = ("a", "b")
SERVICES = ("s", "t")
IDS = ("1", "2", "3")

Stored = dict[bytes, KeyValue]


def _key(kind: Kind, namespace: str, service: str, id_: str) -> bytes:
    name = InstanceName(namespace, service, id_)
    if kind is Kind.SERVICE:
        return keys.service_key(namespace, service)
    maker = {
        Kind.INSTANCE: keys.instance_key,
        Kind.OVERRIDE: keys.override_key,
        Kind.STATUS: keys.status_key,
    }
    return maker[kind](name)


values = {
    Kind.SERVICE: st.builds(Service, owner=st.sampled_from(["x", "y"])),
    Kind.INSTANCE: st.builds(
        Instance,
        version=st.sampled_from(["", "1", "2"]),
        status=st.sampled_from([1, 2, 3, 4]),
        weight=st.sampled_from([None, 0, 5]),
        # What a caller claims about these must not count.
        namespace=st.sampled_from(["", "liar"]),
        session_id=st.sampled_from([0, 99]),
        override=st.sampled_from([None, Override(isolated=True)]),
    ),
    Kind.OVERRIDE: st.builds(Override, isolated=st.booleans()),
    Kind.STATUS: st.builds(Health, liveness=st.sampled_from([1, 2])),
}

operations = st.tuples(
    st.sampled_from(list(Kind)),
    st.sampled_from(NAMESPACES),
    st.sampled_from(SERVICES),
    st.sampled_from(IDS),
    st.booleans(),
    st.integers(0, 3),
).flatmap(
    lambda drawn: st.tuples(
        st.just(_key(*drawn[:4])),
        st.just(drawn[4]),
        st.just(drawn[5]),
        st.one_of(
            values[drawn[0]].map(lambda value: value.SerializeToString()), st.just(b"\xff\xff")
        ),
    )
)
revisions = st.lists(operations, min_size=1, max_size=5, unique_by=lambda each: each[0])
histories = st.lists(revisions, max_size=15)


def _happen(stored: Stored, revision: int, wanted: list) -> list[Event]:
    """Apply one revision to the stored keys as a store does; return its events."""
    events = []
    for key, delete, lease, value in wanted:
        if delete:
            if stored.pop(key, None) is not None:
                gone = KeyValue(key=key, mod_revision=revision)
                events.append(Event(type=Event.DELETE, kv=gone))
            continue
        old = stored.get(key)
        stored[key] = KeyValue(
            key=key,
            value=value,
            lease=lease,
            create_revision=old.create_revision if old else revision,
            mod_revision=revision,
        )
        events.append(Event(type=Event.PUT, kv=stored[key]))
    return events


def _read(kind, kv: KeyValue | None):
    if kv is None or kv.value == b"\xff\xff":
        return None
    return kind.FromString(kv.value)


def _dumb_join(stored: Stored) -> tuple[dict, dict]:
    """Return described services and instances by name, joined in the most obvious way."""
    described, instances = {}, {}
    for namespace in NAMESPACES:
        for service in SERVICES:
            kv = stored.get(_key(Kind.SERVICE, namespace, service, ""))
            read = _read(Service, kv)
            if read is not None:
                read.namespace, read.name = namespace, service
                read.create_revision, read.mod_revision = kv.create_revision, kv.mod_revision
                described[namespace, service] = read
            for id_ in IDS:
                joined = _dumb_instance(stored, namespace, service, id_)
                if joined is not None:
                    instances[InstanceName(namespace, service, id_)] = joined
    return described, instances


def _dumb_instance(stored: Stored, namespace: str, service: str, id_: str) -> Instance | None:
    own, override_kv, status_kv = (
        stored.get(_key(kind, namespace, service, id_))
        for kind in (Kind.INSTANCE, Kind.OVERRIDE, Kind.STATUS)
    )
    joined = _read(Instance, own)
    if joined is None:
        return None
    joined.namespace, joined.service, joined.id = namespace, service, id_
    joined.session_id = own.lease
    joined.create_revision = own.create_revision
    joined.mod_revision = own.mod_revision
    joined.ClearField("override")
    joined.ClearField("health")
    for kind, kv, field in (
        (Override, override_kv, joined.override),
        (Health, status_kv, joined.health),
    ):
        part = _read(kind, kv)
        if part is not None:
            field.CopyFrom(part)
            # An empty message is there all the same.
            field.SetInParent()
            joined.mod_revision = max(joined.mod_revision, kv.mod_revision)
    return joined


def _shown(view: CatalogView) -> tuple[dict, dict]:
    described, instances = {}, {}
    for service in view.services():
        if service.described:
            described[service.namespace, service.name] = service.service
        for each in service.instances:
            message = each.message()
            instances[InstanceName(message.namespace, message.service, message.id)] = message
    return described, instances


def _replay(replica: tuple[dict, dict], changes: RevisionChanges) -> None:
    """Do what a subscriber does with the events."""
    described, instances = replica
    for change in changes.changes:
        event = CatalogEvent.FromString(change.event)
        assert event.revision == changes.revision
        match event.WhichOneof("change"):
            case "instance_put":
                put = event.instance_put
                instances[InstanceName(put.namespace, put.service, put.id)] = put
            case "instance_removed":
                gone = event.instance_removed
                del instances[InstanceName(gone.namespace, gone.service, gone.id)]
            case "service_put":
                described[event.service_put.namespace, event.service_put.name] = event.service_put
            case "service_removed":
                del described[event.service_removed.namespace, event.service_removed.name]


def _fresh(stored: Stored, revision: int) -> CatalogView:
    view = CatalogView()
    view.load(stored[key] for key in sorted(stored))
    view.finish_load(revision)
    return view


@settings(max_examples=30, deadline=None)
@given(before=histories, after=histories)
def test_the_view_is_the_join_at_every_revision(before: list, after: list) -> None:
    stored: Stored = {}
    revision = 1
    for wanted in before:
        revision += 1
        _happen(stored, revision, wanted)
    view = _fresh(stored, revision)
    replica = _shown(view)
    replica = (dict(replica[0]), dict(replica[1]))
    for wanted in after:
        revision += 1
        events = _happen(stored, revision, wanted)
        changed = view.apply(events, revision)
        assert view.revision == revision
        for changes in changed:
            _replay(replica, changes)
        expected = _dumb_join(stored)
        assert _shown(view) == expected
        assert replica == expected
        _check_indexes(view, expected[1])
    # A node that starts now answers the same.
    assert _shown(_fresh(stored, revision)) == _shown(view)


def _check_indexes(view: CatalogView, instances: dict) -> None:
    for session in range(1, 4):
        on_lease = [i for i in instances.values() if i.session_id == session]
        held = sorted(view.of_session(session), key=lambda entry: entry.name)
        assert [entry.message() for entry in held] == on_lease
    for name, instance in instances.items():
        assert view.instance(name) == instance
    services = {(name.namespace, name.service) for name in instances}
    assert view.sizes()[1] == len(instances)
    for namespace in NAMESPACES:
        for service in SERVICES:
            if (namespace, service) in services:
                assert view.service(namespace, service) is not None


@settings(max_examples=20, deadline=None)
@given(wanted=histories)
def test_history_brings_any_older_view_to_now(wanted: list) -> None:
    stored: Stored = {}
    view = _fresh(stored, 1)
    held = {1: _shown(view)}
    for revision, each in enumerate(wanted, 2):
        view.apply(_happen(stored, revision, each), revision)
        described, instances = _shown(view)
        held[revision] = (dict(described), dict(instances))
    now = _shown(view)
    for revision, (described, instances) in held.items():
        replica = (dict(described), dict(instances))
        for changes in view.history.since(revision):
            assert changes.revision > revision
            _replay(replica, changes)
        assert replica == now


def test_what_a_snapshot_counts() -> None:
    view = CatalogView()
    up, draining = InstanceStatus.INSTANCE_STATUS_UP, InstanceStatus.INSTANCE_STATUS_DRAINING
    parts = {
        "serving": (Instance(status=up, version="2"), None, None),
        "suspect": (Instance(status=up), None, Liveness.LIVENESS_SUSPECT),
        "isolated": (Instance(status=up, version="1"), True, None),
        "draining": (Instance(status=draining, version="2"), None, None),
        "weightless": (Instance(status=up, weight=0), None, Liveness.LIVENESS_ALIVE),
    }
    for id_, (owner, isolated, liveness) in parts.items():
        name = InstanceName("a", "s", id_)
        view.load([_kv(keys.instance_key(name), owner)])
        if isolated is not None:
            view.load([_kv(keys.override_key(name), Override(isolated=isolated))])
        if liveness is not None:
            view.load([_kv(keys.status_key(name), Health(liveness=liveness))])
    view.finish_load(9)
    snapshot = view.service("a", "s")
    summary = snapshot.summary()
    assert (summary.instances, summary.serving, summary.isolated, summary.suspect) == (5, 1, 1, 1)
    assert list(summary.versions) == ["1", "2"]
    assert not snapshot.described
    # One of two candidates is alive: half is enough to leave the suspect one out.
    assert [each.message().id for each in snapshot.discoverable()] == ["serving"]
    more = InstanceName("a", "s", "suspect-too")
    view.load([_kv(keys.instance_key(more), Instance(status=up))])
    view.load([_kv(keys.status_key(more), Health(liveness=Liveness.LIVENESS_SUSPECT))])
    assert [each.message().id for each in view.service("a", "s").discoverable()] == [
        "serving",
        "suspect",
        "suspect-too",
    ]


def _kv(key: bytes, value) -> KeyValue:
    return KeyValue(key=key, value=value.SerializeToString(), mod_revision=5, create_revision=5)


def test_an_older_event_is_refused() -> None:
    view = _fresh({}, 5)
    old = KeyValue(key=keys.service_key("a", "s"), mod_revision=5)
    with pytest.raises(InvariantBroken, match="at 5 was fed revision 5"):
        view.apply([Event(type=Event.PUT, kv=old)], 5)


def test_revisions_without_the_catalogue_move_the_view_on() -> None:
    view = _fresh({}, 5)
    strange = [
        b"/tianlu/v1/a/policies/routing/s/x",
        b"/tianlu/v1/a/services",
        b"/tianlu/v1/a/services/",
        b"/tianlu/v1/a/services/s/more",
        b"/tianlu/v1//services/s",
        b"/tianlu/v1/a/instances/s",
        b"/tianlu/v1/a/services/\xff",
        b"/tianlu/v1/.barrier",
        b"/tianlu/v1/",
    ]
    for revision, key in enumerate(strange, 6):
        put = Event(type=Event.PUT, kv=KeyValue(key=key, value=b"x", mod_revision=revision))
        assert view.apply([put], revision) == []
        assert view.revision == revision
    assert view.services() == []
    assert view.unreadable == 0
    view.advance(2)
    assert view.revision == 14


def test_history_drops_the_oldest_whole_revisions() -> None:
    view = CatalogView(history_events_max=3)
    view.finish_load(1)
    for revision in range(2, 7):
        events = [
            Event(kv=KeyValue(key=keys.service_key("a", f"s{revision}-{n}"), mod_revision=revision))
            for n in range(2)
        ]
        view.apply(events, revision)
    history = view.history
    assert history.floor == 5
    assert history.reaches(5)
    assert not history.reaches(4)
    assert [len(changes.changes) for changes in history.since(5)] == [2]
    assert history.since(6) == []


def test_history_is_bounded_in_bytes() -> None:
    history = ChangeHistory(events_max=1000, bytes_max=100)
    history.reset(1)
    for revision in range(2, 12):
        history.append(RevisionChanges(revision, (Change("a", "s", b"x" * 40),)))
    assert history.floor == 9
    history.append(RevisionChanges(12, (Change("a", "s", b"x" * 500),)))
    assert history.floor == 11
    assert len(history.since(11)) == 1
