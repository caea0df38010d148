"""Writes to the catalogue, on both engines."""

from __future__ import annotations

import asyncio

import pytest
from registry.catalog.catalog_fakes import instance, registration, until

from tianlu._proto.etcd.rpc_pb2 import PutRequest
from tianlu._proto.v1.catalog_pb2 import (
    DeleteServiceRequest,
    DeregisterRequest,
    DiscoverRequest,
    GetServiceRequest,
    ListInstancesRequest,
    ListNamespacesRequest,
    ListServicesRequest,
    OverrideInstanceRequest,
    RegisterRequest,
    UpdateInstanceRequest,
)
from tianlu._proto.v1.model_pb2 import InstanceStatus, Service
from tianlu_registry.catalog import keys
from tianlu_registry.catalog.keys import InstanceName
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import (
    Conflict,
    InstanceNotFound,
    InvalidArgument,
    ServiceNotFound,
    SessionNotFound,
    Stopped,
    Unavailable,
)
from tianlu_registry.governance import Governance, GovernanceConfig
from tianlu_registry.governance.wallclock import now_ms


async def opened(governance: Governance) -> int:
    session_id, _ = await governance.sessions.open(60, "test")
    return session_id


async def discovered(governance: Governance, namespace: str, min_revision: int = 0) -> list[str]:
    encoded = await governance.queries.discover(
        DiscoverRequest(namespace=namespace, service="orders", min_revision=min_revision)
    )
    found = encoded.message()
    return [each.id for each in found.instances]


async def test_register_discover_deregister(governance: Governance, namespace: str) -> None:
    session = await opened(governance)
    registered, revision = await governance.registrar.register(registration(session, namespace))
    assert registered.session_id == session
    assert registered.create_revision == registered.mod_revision == revision
    assert registered.registered_unix_ms > 0
    encoded = await governance.queries.discover(
        DiscoverRequest(namespace=namespace, service="orders", min_revision=revision)
    )
    found = encoded.message()
    assert list(found.instances) == [registered]
    assert found.revision >= revision
    gone_at = await governance.registrar.deregister(
        DeregisterRequest(namespace=namespace, service="orders", id="orders-1", session_id=session)
    )
    assert gone_at > revision
    with pytest.raises(ServiceNotFound, match=f"orders in namespace {namespace}"):
        await discovered(governance, namespace)


async def test_registering_the_same_again_writes_nothing(
    governance: Governance, namespace: str, store: Store
) -> None:
    session = await opened(governance)
    first, revision = await governance.registrar.register(registration(session, namespace))
    again, same = await governance.registrar.register(registration(session, namespace))
    assert same == revision
    assert again == first


async def test_registering_anew_updates_and_keeps_the_first_time(
    governance: Governance, namespace: str
) -> None:
    session = await opened(governance)
    first, _ = await governance.registrar.register(registration(session, namespace))
    second, _ = await governance.registrar.register(
        registration(session, namespace, weight=7, version="2")
    )
    assert (second.weight, second.version) == (7, "2")
    assert second.registered_unix_ms == first.registered_unix_ms
    assert second.create_revision == first.create_revision < second.mod_revision


async def test_another_live_session_is_named(governance: Governance, namespace: str) -> None:
    holder, other = await opened(governance), await opened(governance)
    await governance.registrar.register(registration(holder, namespace))
    with pytest.raises(Conflict, match=f"held by session {holder}"):
        await governance.registrar.register(registration(other, namespace))
    with pytest.raises(Conflict, match=f"held by session {holder}"):
        await governance.registrar.deregister(
            DeregisterRequest(
                namespace=namespace, service="orders", id="orders-1", session_id=other
            )
        )
    await governance.sessions.close(holder)
    taken, _ = await governance.registrar.register(registration(other, namespace))
    assert taken.session_id == other


async def test_an_ended_session_cannot_register(governance: Governance, namespace: str) -> None:
    session = await opened(governance)
    await governance.sessions.close(session)
    with pytest.raises(SessionNotFound):
        await governance.registrar.register(registration(session, namespace))
    with pytest.raises(SessionNotFound):
        await governance.sessions.close(session)
    assert await governance.sessions.renew(session) == 0


async def test_an_instance_put_by_hand_is_not_taken_over(
    governance: Governance, namespace: str, store: Store
) -> None:
    by_hand = instance(namespace)
    key = keys.instance_key(InstanceName(namespace, "orders", "orders-1"))
    put = await store.put(PutRequest(key=key, value=by_hand.SerializeToString()))
    with pytest.raises(Conflict, match="by hand"):
        await governance.registrar.register(registration(await opened(governance), namespace))
    assert await discovered(governance, namespace, put.header.revision) == ["orders-1"]
    await governance.registrar.deregister(
        DeregisterRequest(namespace=namespace, service="orders", id="orders-1")
    )


async def test_update_merges_metadata(governance: Governance, namespace: str) -> None:
    session = await opened(governance)
    await governance.registrar.register(
        registration(session, namespace, metadata={"a": "1", "b": "2"}, weight=5)
    )
    request = UpdateInstanceRequest(
        namespace=namespace,
        service="orders",
        id="orders-1",
        session_id=session,
        status=InstanceStatus.INSTANCE_STATUS_DRAINING,
        metadata={"a": "", "c": "3"},
    )
    updated, revision = await governance.registrar.update_instance(request)
    assert dict(updated.metadata) == {"b": "2", "c": "3"}
    assert updated.status == InstanceStatus.INSTANCE_STATUS_DRAINING
    assert updated.weight == 5
    assert updated.session_id == session
    request.replace_metadata = True
    replaced, _ = await governance.registrar.update_instance(request)
    assert dict(replaced.metadata) == {"a": "", "c": "3"}
    assert await discovered(governance, namespace) == []
    same, same_revision = await governance.registrar.update_instance(request)
    assert same == replaced
    assert same_revision == replaced.mod_revision > revision
    with pytest.raises(InstanceNotFound, match="orders-9"):
        await governance.registrar.update_instance(
            UpdateInstanceRequest(namespace=namespace, service="orders", id="orders-9")
        )


async def test_concurrent_updates_all_take_effect(governance: Governance, namespace: str) -> None:
    session = await opened(governance)
    await governance.registrar.register(registration(session, namespace))
    await asyncio.gather(
        *(
            governance.registrar.update_instance(
                UpdateInstanceRequest(
                    namespace=namespace, service="orders", id="orders-1", metadata={f"k{n}": "v"}
                )
            )
            for n in range(8)
        )
    )
    encoded = await governance.queries.list_instances(
        ListInstancesRequest(namespace=namespace, service="orders")
    )
    found = encoded.message()
    assert set(found.instances[0].metadata) == {f"k{n}" for n in range(8)}


async def test_isolation_outlives_the_registration(governance: Governance, namespace: str) -> None:
    session = await opened(governance)
    await governance.registrar.register(registration(session, namespace))
    isolate = OverrideInstanceRequest(
        namespace=namespace,
        service="orders",
        id="orders-1",
        isolated=True,
        reason="bad disk",
        actor="alice",
    )
    isolated, _ = await governance.registrar.override_instance(isolate)
    assert isolated.override.reason == "bad disk"
    assert isolated.override.since_unix_ms > 0
    assert await discovered(governance, namespace) == []
    await governance.sessions.close(session)
    session = await opened(governance)
    again, _ = await governance.registrar.register(registration(session, namespace))
    assert again.override.isolated
    restored, _ = await governance.registrar.override_instance(
        OverrideInstanceRequest(
            namespace=namespace, service="orders", id="orders-1", actor="bob", reason="new disk"
        )
    )
    assert not restored.override.isolated
    assert restored.override.actor == "bob"
    assert await discovered(governance, namespace) == ["orders-1"]
    # A settled decision goes with its instance.
    await governance.sessions.close(session)
    entry_of = InstanceName(namespace, "orders", "orders-1")
    await until(lambda: governance.feed.view.entry(entry_of) is None)


async def test_isolation_expires(governance: Governance, namespace: str) -> None:
    session = await opened(governance)
    await governance.registrar.register(registration(session, namespace))
    await governance.registrar.override_instance(
        OverrideInstanceRequest(
            namespace=namespace,
            service="orders",
            id="orders-1",
            isolated=True,
            reason="for a moment",
            expires_unix_ms=now_ms() + 300,
        )
    )
    name = InstanceName(namespace, "orders", "orders-1")
    assert governance.feed.view.instance(name).override.isolated
    await until(lambda: not governance.feed.view.instance(name).override.isolated)
    override = governance.feed.view.instance(name).override
    assert override.reason == "expired: for a moment"
    assert override.actor == "tianlu"


async def test_what_override_refuses(governance: Governance, namespace: str) -> None:
    nobody = OverrideInstanceRequest(namespace=namespace, service="orders", id="orders-1")
    with pytest.raises(InstanceNotFound):
        await governance.registrar.override_instance(nobody)
    nobody.isolated = True
    with pytest.raises(InvalidArgument, match="reason: is needed"):
        await governance.registrar.override_instance(nobody)
    nobody.reason = "why not"
    nobody.expires_unix_ms = 1
    with pytest.raises(InvalidArgument, match="expires_unix_ms: is in the past"):
        await governance.registrar.override_instance(nobody)


async def test_services_are_described_and_deleted(governance: Governance, namespace: str) -> None:
    described, revision = await governance.registrar.put_service(
        Service(namespace=namespace, name="orders", owner="shop", metadata={"tier": "1"})
    )
    assert described.create_revision == described.mod_revision == revision
    session = await opened(governance)
    await governance.registrar.register(registration(session, namespace, version="3"))
    got = await governance.queries.get_service(
        GetServiceRequest(namespace=namespace, name="orders")
    )
    assert got.summary.service == described
    assert (got.summary.instances, got.summary.serving, list(got.summary.versions)) == (1, 1, ["3"])
    delete = DeleteServiceRequest(namespace=namespace, name="orders")
    with pytest.raises(Conflict, match="has 1 instances"):
        await governance.registrar.delete_service(delete)
    await governance.sessions.close(session)
    await governance.registrar.delete_service(delete)
    with pytest.raises(ServiceNotFound):
        await governance.registrar.delete_service(delete)
    with pytest.raises(ServiceNotFound):
        await governance.queries.get_service(GetServiceRequest(namespace=namespace, name="orders"))


async def test_lists_are_sorted_and_scoped(governance: Governance, namespace: str) -> None:
    session = await opened(governance)
    last = 0
    for service in ("web", "orders"):
        for number in (2, 1):
            _, last = await governance.registrar.register(
                RegisterRequest(
                    session_id=session,
                    instance=instance(namespace, service, f"{service}-{number}"),
                )
            )
    services = await governance.queries.list_services(
        ListServicesRequest(namespace=namespace, min_revision=last)
    )
    assert [summary.service.name for summary in services.services] == ["orders", "web"]
    encoded = await governance.queries.list_instances(
        ListInstancesRequest(namespace=namespace, service="web")
    )
    found = encoded.message()
    assert [each.id for each in found.instances] == ["web-1", "web-2"]
    names = await governance.queries.list_namespaces(ListNamespacesRequest())
    assert namespace in names.namespaces
    everything = await governance.queries.list_services(ListServicesRequest())
    assert len(everything.services) >= 2


async def test_min_revision_of_a_key_that_is_not_the_catalogues(
    governance: Governance, store: Store
) -> None:
    put = await store.put(PutRequest(key=b"elsewhere", value=b"x"))
    answer = await governance.queries.list_services(
        ListServicesRequest(min_revision=put.header.revision)
    )
    assert answer.revision >= put.header.revision


async def test_min_revision_that_does_not_come(store: Store) -> None:
    config = GovernanceConfig(revision_wait_seconds=0.05)
    async with Governance.start(store, config) as governance:
        with pytest.raises(Unavailable, match="not yet at"):
            await governance.queries.list_services(ListServicesRequest(min_revision=10**9))
        with pytest.raises(InvalidArgument, match="min_revision"):
            await governance.queries.list_services(ListServicesRequest(min_revision=-1))


async def test_who_waits_for_a_revision_leaves_nothing_behind(embedded: Store) -> None:
    async with Governance.start(
        embedded, GovernanceConfig(revision_wait_seconds=0.2)
    ) as governance:
        request = ListServicesRequest(min_revision=10**9)
        with pytest.raises(Unavailable):
            await governance.queries.list_services(request)
        cancelled = asyncio.create_task(governance.queries.list_services(request))
        await until(lambda: governance.feed._waiting)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert len(governance.feed._waiting) == 0


async def test_who_waits_for_a_revision_hears_of_the_stop(embedded: Store) -> None:
    async with Governance.start(embedded, GovernanceConfig()) as governance:
        request = ListServicesRequest(min_revision=10**9)
        waiting = asyncio.create_task(governance.queries.list_services(request))
        await until(lambda: governance.feed._waiting)
    with pytest.raises(Stopped):
        await waiting


async def test_a_loaded_catalogue_shows_everything_at_once(
    governance: Governance, namespace: str, store: Store
) -> None:
    """A second node, or the same after a restart, never answers from a part of the catalogue."""
    session = await opened(governance)
    for number in range(5):
        await governance.registrar.register(registration(session, namespace, f"orders-{number}"))
    async with Governance.start(store, GovernanceConfig(load_page_keys=2)) as other:
        encoded = await other.queries.list_instances(
            ListInstancesRequest(namespace=namespace, service="orders")
        )
        found = encoded.message()
        assert [each.id for each in found.instances] == [f"orders-{n}" for n in range(5)]


async def test_unreadable_values_are_skipped(
    governance: Governance, namespace: str, store: Store
) -> None:
    session = await opened(governance)
    await governance.registrar.register(registration(session, namespace))
    key = keys.instance_key(InstanceName(namespace, "orders", "orders-1"))
    await store.put(PutRequest(key=key, value=b"\xff\xff not a message"))
    await until(lambda: governance.feed.view.unreadable > 0)
    with pytest.raises(ServiceNotFound):
        await discovered(governance, namespace)
