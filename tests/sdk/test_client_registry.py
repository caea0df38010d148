"""The asynchronous client against a real registry: registering, finding, watching."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

import pytest
from sdk_registry import RegistryProcess

import tianlu
from tianlu import ChangeKind, InstanceStatus, LoadBalancer, Port, Rung
from tianlu._follow import Follower, Scope

Until = Callable[..., Awaitable[None]]


async def test_registered_instance_is_discovered_at_its_revision(client: tianlu.AsyncClient):
    registration = await client.register(
        "found",
        ports=[Port("http", 9000), Port("rpc", 9001, "grpc")],
        address="10.1.2.3",
        version="2.0",
        weight=50,
        zone="north",
        metadata={"tier": "1"},
    )

    found = await client.discover("found", min_revision=registration.revision)

    assert found.instances == (registration.instance,)
    assert found.rung is Rung.REGISTRY
    assert found.age_seconds == 0
    instance = found.instances[0]
    assert instance.id == "10.1.2.3:9000"
    assert instance.authority("rpc") == "10.1.2.3:9001"
    assert (instance.version, instance.weight, instance.zone) == ("2.0", 50, "north")
    assert instance.metadata == {"tier": "1"}
    assert instance.serving


async def test_pick_follows_isolation_restoring_and_deregistration(
    client: tianlu.AsyncClient, until: Until
):
    first = await client.register("picked", port=9000, id="first")
    await client.register("picked", port=9001, id="second")
    await client.subscribe("picked")
    await until(
        lambda: {client.pick("picked").id for _ in range(20)} == {"first", "second"}, "both picked"
    )

    isolated = await client.isolate("picked", "second", reason="heap dump", actor="a test")
    assert isolated.isolated
    await until(
        lambda: {client.pick("picked").id for _ in range(20)} == {"first"}, "isolated left out"
    )
    await first.deregister(drain_seconds=0)

    def none_left() -> bool:
        try:
            client.pick("picked")
        except tianlu.NoInstance as error:
            return "1 instances, none may be sent traffic" in str(error)
        return False

    await until(none_left, "nothing to pick")
    await client.restore("picked", "second")
    await until(lambda: not none_left(), "restored is picked")


async def test_update_changes_only_what_is_given(client: tianlu.AsyncClient):
    registration = await client.register("updated", port=9000, status=InstanceStatus.STARTING)
    assert not registration.instance.serving

    instance = await registration.update(status=InstanceStatus.UP, metadata={"a": "b"})

    assert instance.serving
    assert (instance.weight, dict(instance.metadata)) == (100, {"a": "b"})
    assert (await client.set_weight("updated", instance.id, 7)).weight == 7
    assert (await registration.update(metadata={})).weight == 7


async def test_watch_begins_with_the_state_and_tells_each_change_once(
    client: tianlu.AsyncClient,
):
    one = await client.register("watched", port=9000, id="one")
    async with contextlib.aclosing(client.watch("watched")) as changes:
        first = await anext(changes)
        assert (first.kind, first.instance) == (ChangeKind.PUT, one.instance)
        await client.register("watched", port=9001, id="two")
        assert (await anext(changes)).instance_id == "two"
        await one.deregister(drain_seconds=0)
        gone = await anext(changes)
        assert (gone.kind, gone.instance_id) == (ChangeKind.REMOVED, "one")
        assert gone.instance is not None
        assert gone.revision == one.revision

    async with contextlib.aclosing(
        client.watch("watched", resume_revision=gone.revision - 1)
    ) as changes:
        assert (await anext(changes)).revision == gone.revision


async def test_services_are_described_counted_and_deleted(client: tianlu.AsyncClient):
    service = tianlu.Service(
        "described",
        "shop",
        description="Sells",
        owner="us",
        load_balancer=LoadBalancer.ROUND_ROBIN,
        metadata={"tier": "1"},
    )
    written = await client.put_service(service)
    assert written.mod_revision > 0
    registration = await client.register("shop.described", port=9000, version="1.0")
    summary = await client.get_service("shop.described")
    assert summary.service.description == "Sells"
    assert (summary.instances, summary.serving, summary.versions) == (1, 1, ("1.0",))
    assert [one.service.name for one in await client.list_services("described")] == ["shop"]
    assert "described" in tuple(await client.list_namespaces())
    with pytest.raises(tianlu.Conflict):
        await client.delete_service("shop.described")
    await registration.deregister(drain_seconds=0)
    await client.delete_service("shop.described")
    with pytest.raises(tianlu.NotFound):
        await client.get_service("shop.described")


async def test_mirror_holds_all_namespaces_and_acknowledges(client: tianlu.AsyncClient):
    registration = await client.register("mirrored.elsewhere", port=9000)
    async with client.mirror() as mirror:
        view = mirror.view
        assert view.rung is Rung.PROCESS
        assert view.services["elsewhere", "mirrored"].instances == (registration.instance,)
        assert mirror.degraded == ""
        await mirror.applied(view.revision)
        applied = await client.await_applied(registration.revision, "mirrored.elsewhere")
        assert applied.reached
        assert applied.subscribers == 1
        async with contextlib.aclosing(mirror.changes()) as views:
            assert (await anext(views)).revision == view.revision
            updated = await registration.update(weight=3)
            async for newer in views:
                if newer.services["elsewhere", "mirrored"].instances == (updated,):
                    break
        subscribers = await client.list_subscribers("elsewhere")
        assert [one.subscriber for one in subscribers] == ["tests"]


async def test_subscription_acknowledges_what_it_picks_from(
    client: tianlu.AsyncClient, until: Until
):
    registration = await client.register("acked", port=9000)
    await client.subscribe("acked")

    async def acknowledged() -> bool:
        (subscriber,) = await client.list_subscribers(service="acked")
        return subscriber.applied_revision >= registration.revision

    await until(acknowledged, "the first view is acknowledged")
    registration = await client.register("acked", port=9001)
    applied = await client.await_applied(registration.revision, "acked", timeout_seconds=10)
    assert (applied.reached, applied.subscribers, applied.applied) == (True, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"port": 0}, "port"),
        ({"port": 70_000}, "port"),
        ({}, "port"),
        ({"port": 1, "weight": -1}, "weight"),
        ({"port": 1, "weight": 1.5}, "weight"),
        ({"port": 1, "metadata": {"a": 1}}, "metadata['a']"),
        ({"port": 1, "metadata": {"a": "x" * 5000}}, "instance.metadata[a]"),
        ({"port": 1, "address": "not an address"}, "address"),
        ({"port": 1, "address": "10.0.0.1:80", "id": "a"}, "instance.address"),
        ({"port": 1, "id": "a/b"}, "id"),
        ({"port": 1, "namespace": "Bad"}, "instance.namespace"),
        ({"ports": [Port("a", 1), Port("a", 2)]}, "ports[1].name"),
        ({"ports": [Port("a", 1, "smtp")]}, "ports[0].protocol"),
    ],
)
async def test_bad_input_names_the_field(client: tianlu.AsyncClient, arguments, field):
    with pytest.raises(tianlu.InvalidInput) as caught:
        await client.register("refused", **arguments)
    assert caught.value.field == field
    assert not caught.value.retryable


async def test_unknown_things_are_not_found(client: tianlu.AsyncClient):
    for attempt in (
        client.discover("nowhere"),
        client.get_service("nowhere"),
        client.list_instances("nowhere"),
        client.deregister("nowhere", "x"),
        client.isolate("nowhere", "x", reason="none"),
        client.set_weight("nowhere", "x", 1),
        client.delete_service("nowhere"),
    ):
        with pytest.raises(tianlu.NotFound):
            await attempt


async def test_a_dead_endpoint_is_passed_over(shared_registry: RegistryProcess, unused_port: int):
    endpoints = [f"127.0.0.1:{unused_port}", shared_registry.endpoint]
    async with tianlu.AsyncClient(endpoints, name="failover") as client:
        registration = await client.register("failover", port=9000)
        await client.subscribe("failover")
        assert client.pick("failover") == registration.instance
        assert client.status().endpoint == shared_registry.endpoint
        assert client.status().session == "held"


async def test_a_unix_socket_is_an_endpoint_too(shared_registry: RegistryProcess):
    async with tianlu.AsyncClient(shared_registry.socket) as client:
        registration = await client.register("local", port=9000)
        await client.subscribe("local")
        assert client.pick("local") == registration.instance
        assert client.status().endpoint == shared_registry.socket


async def test_a_silent_endpoint_is_passed_over(shared_registry: RegistryProcess):
    """One that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoints = [f"127.0.0.1:{silent.getsockname()[1]}", shared_registry.endpoint]
        async with tianlu.AsyncClient(endpoints, name="silence", timeout_seconds=10) as client:
            registration = await client.register("silence", port=9000)
            await client.subscribe("silence")
            assert client.pick("silence") == registration.instance


async def test_no_endpoint_alive_is_unavailable_within_the_deadline(unused_port: int):
    async with tianlu.AsyncClient(f"127.0.0.1:{unused_port}", timeout_seconds=0.5) as client:
        async with asyncio.timeout(3):
            with pytest.raises(tianlu.Unavailable, match=str(unused_port)):
                await client.discover("anything")
            with pytest.raises(tianlu.Unavailable):
                await client.register("anything", port=1)
            with pytest.raises(tianlu.Unavailable):
                await client.subscribe("anything")
            with pytest.raises(tianlu.NoInstance, match="nothing is known"):
                client.pick("anything")


async def test_closed_client_refuses(shared_registry: RegistryProcess):
    client = tianlu.AsyncClient(shared_registry.endpoint)
    await client.register("closing", port=9000)
    await client.close()
    await client.close()
    for attempt in (client.discover("closing"), client.register("closing", port=1)):
        with pytest.raises(tianlu.ClientClosed):
            await attempt
    with pytest.raises(tianlu.ClientClosed):
        client.pick("closing")
    async with tianlu.AsyncClient(shared_registry.endpoint) as other:
        with pytest.raises(tianlu.NotFound):
            await other.discover("closing")


async def test_kv_is_there_too(client: tianlu.AsyncClient):
    revision = await client.kv.put("sdk/a", "1")
    async with contextlib.aclosing(
        client.kv.watch("sdk/", prefix=True, start_revision=revision)
    ) as changes:
        assert (await anext(changes)).item.value == b"1"
        assert await client.kv.delete("sdk/", prefix=True) == 1
        assert (await anext(changes)).kind is ChangeKind.REMOVED
    assert (await client.kv.get("sdk/", prefix=True)).count == 0


async def test_a_watch_that_falls_silent_is_opened_anew(client: tianlu.AsyncClient, until: Until):
    registration = await client.register("silent", port=9000)
    follower = Follower(
        client._connection,
        Scope("default", ("silent",)),
        subscriber="silent",
        acknowledge=False,
        silence_seconds=0.3,
    )
    reasons = []

    async def follow() -> None:
        async for _ in follower.changes():
            reasons.append(follower.cache.degraded)  # noqa: PERF401 - each as it comes

    following = asyncio.create_task(follow())
    await until(lambda: len([one for one in reasons if "silent for 0.3 s" in one]) >= 2, "twice")
    assert follower.cache.service(client.service_key("silent")) is not None
    later = await registration.update(weight=9)
    await until(
        lambda: follower.cache.services()["default", "silent"].instances == (later,), "it goes on"
    )
    following.cancel()
