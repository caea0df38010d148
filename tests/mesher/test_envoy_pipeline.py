"""The stages and the ADS server judged by a real Envoy, with hand-made views."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from contextlib import AsyncExitStack

import grpc
import httpx
import pytest
import websockets
from mesher.lab.envoy_bench import EnvoyBench, until
from mesher.lab.upstreams import COUNT, ECHO, UpstreamProcess, grpc_upstream, http_upstream
from mesher.lab.views import SUSPECT, changed, instance, view

from tianlu import LoadBalancer, Port, Rung, Service, ServiceKey
from tianlu_mesher.resources.snapshot import CLUSTER_TYPE, Resource
from tianlu_mesher.xds.session import SessionLimits


async def test_an_endpoint_change_reaches_traffic() -> None:
    async with EnvoyBench() as bench, http_upstream("a") as a, http_upstream("b") as b:
        await bench.publish(view(instance("a", a), revision=1))
        answer = await bench.get("/x?y=1")
        assert (answer.json()["name"], answer.json()["query"]) == ("a", "y=1")
        assert answer.headers["x-tianlu-served-by"] == "a"
        await bench.publish(view(instance("b", b), revision=2))
        assert (await bench.get()).json()["name"] == "b"


async def test_all_ways_to_name_a_service() -> None:
    async with EnvoyBench() as bench, http_upstream("a") as port:
        await bench.publish(view(instance("a", port)))
        for host in ("orders.default", "ORDERS.default:80", "orders", "http.orders.default"):
            assert (await bench.get(host=host)).status_code == 200
        async with httpx.AsyncClient(proxy=bench.url, trust_env=False) as client:
            assert (await client.get("http://orders.default/x")).json()["path"] == "/x"


async def test_unknown_services_and_empty_ones_are_told_apart() -> None:
    async with EnvoyBench() as bench:
        await bench.publish(view(described=[Service("default", "orders")]))
        empty, unknown = await bench.get("/p"), await bench.get("/p", host="nobody.default")
        assert (empty.status_code, empty.json()["error"]) == (503, "no_instance")
        assert (unknown.status_code, unknown.json()["error"]) == (404, "not_found")
        assert unknown.json()["asked"] == "GET nobody.default/p"
        assert unknown.headers["content-type"].startswith("application/json")


async def test_weights_split_round_robin_traffic() -> None:
    described = [Service("default", "orders", load_balancer=LoadBalancer.ROUND_ROBIN)]
    async with EnvoyBench() as bench, http_upstream("a") as a, http_upstream("b") as b:
        instances = (instance("a", a, weight=300), instance("b", b, weight=100))
        await bench.publish(view(*instances, described=described))
        names = Counter([(await bench.get()).json()["name"] for _ in range(80)])
        assert 55 <= names["a"] <= 65, names


async def test_a_suspect_instance_is_passed_over_until_too_few_are_left() -> None:
    async with EnvoyBench() as bench, http_upstream("a") as a, http_upstream("b") as b:
        suspect = instance("b", b, health=SUSPECT)
        await bench.publish(view(instance("a", a), suspect, revision=1))
        assert {(await bench.get()).json()["name"] for _ in range(20)} == {"a"}
        both = view(instance("a", a, health=SUSPECT), suspect, revision=2)
        await bench.publish(both)
        assert {(await bench.get()).json()["name"] for _ in range(40)} == {"a", "b"}


async def test_websocket_passes_also_through_a_tunnel() -> None:
    async with EnvoyBench() as bench, http_upstream("a") as port:
        await bench.publish(view(instance("a", port)))
        host, _, entrance = bench.url.removeprefix("http://").partition(":")
        to_listener = {"host": host, "port": int(entrance), "proxy": None}
        for options in (to_listener, {"proxy": bench.url}):
            async with websockets.connect("ws://orders.default/ws", **options) as socket:
                await socket.send("hello")
                assert await socket.recv() == "a: hello"


async def test_grpc_unary_and_streams_pass_with_their_trailers() -> None:
    ports = (Port("http", 1, "http"), Port("grpc", 0, "grpc"))
    async with EnvoyBench() as bench, grpc_upstream("g") as port, http_upstream("a") as http:
        both = (
            dataclasses.replace(ports[0], number=http),
            dataclasses.replace(ports[1], number=port),
        )
        await bench.publish(view(instance("a", both)))
        options = (("grpc.default_authority", "orders.default"),)
        target = bench.url.removeprefix("http://")
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            assert await channel.unary_unary(ECHO)(b"hi") == b"g: hi"
            stream = channel.unary_stream(COUNT)(b"")
            assert [item async for item in stream] == [str(n).encode() for n in range(10)]
            assert await stream.code() is grpc.StatusCode.OK
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await channel.unary_unary("/lab.Echo/Nothing")(b"")
            assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert (await bench.get()).json()["name"] == "a"


async def test_a_grpc_caller_is_told_what_is_wrong_in_the_status() -> None:
    async with EnvoyBench() as bench:
        await bench.publish(view(described=[Service("default", "orders")]))
        target = bench.url.removeprefix("http://")
        for host, text in (
            ("orders.default", "the service has no instance that takes traffic now"),
            ("nobody.default", "no service of this name is registered"),
        ):
            options = (("grpc.default_authority", host),)
            async with grpc.aio.insecure_channel(target, options=options) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as failure:
                    await channel.unary_unary(ECHO)(b"x", timeout=10)
            assert str(failure.value.details()).startswith(text)


async def test_http2_from_the_client_and_server_sent_events() -> None:
    async with EnvoyBench() as bench, http_upstream("a") as port:
        await bench.publish(view(instance("a", port)))
        async with httpx.AsyncClient(http1=False, http2=True, trust_env=False) as client:
            answer = await client.get(bench.url, headers={"host": "orders.default"})
            assert (answer.http_version, answer.json()["name"]) == ("HTTP/2", "a")
        headers = {"host": "orders.default", "accept": "text/event-stream"}
        async with bench.client.stream("GET", f"{bench.url}/events", headers=headers) as events:
            lines = events.aiter_lines()
            assert await anext(lines) == "data: 0"


async def test_headers_pass_trace_context_and_gain_a_request_id() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with EnvoyBench() as bench, http_upstream("a") as port:
        await bench.publish(view(instance("a", port)))
        headers = {"traceparent": trace, "x-forwarded-for": "10.1.2.3"}
        seen = (await bench.get(headers=headers)).json()["headers"]
        assert seen["traceparent"] == trace
        assert seen["x-forwarded-for"] == "10.1.2.3"
        assert len(seen["x-request-id"]) == 36
        kept = await bench.get(headers={"x-request-id": "mine"})
        assert kept.json()["headers"]["x-request-id"] == "mine"


async def test_a_killed_instance_fails_no_repeatable_request() -> None:
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(EnvoyBench())
        ups = [await stack.enter_async_context(UpstreamProcess(name)) for name in "abc"]
        of = view(*(instance(each.name, each.port) for each in ups))
        await bench.publish(of)
        answers: Counter[tuple[int, str]] = Counter()
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                answer = await bench.get()
                answers[answer.status_code, answer.text] += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(8):
                tasks.create_task(load())
            await until(lambda: all(answers[200, name] > 20 for name in "abc"))
            await ups[0].kill()
            killed_at = answers.total()
            await until(lambda: answers.total() > killed_at + 500)
            stop.set()
        assert {status for status, _ in answers} == {200}, answers


async def test_a_broken_resource_is_refused_and_what_was_there_stays() -> None:
    async with EnvoyBench() as bench, http_upstream("a") as port:
        await bench.publish(view(instance("a", port)))
        good = bench.published[-1]
        (name,) = good.clusters
        unreadable = Resource.of_bytes(name, b"\xff\xff\xff\xff")
        value = good.clusters[name].value
        unknown_field = Resource.of_bytes(name, value + b"\xc0\xa9\x07\x01")  # number 15000
        for bad in (unreadable, unknown_field):
            bench.verdicts.clear()
            bench.ads.publish(dataclasses.replace(good, clusters={name: bad}))
            await until(lambda: bool(bench.verdicts))
            assert bench.verdicts[0].error
            assert bench.ads.refused == ((CLUSTER_TYPE, name),)
            assert (await bench.get()).status_code == 200
        bench.ads.publish(good)
        await until(lambda: bench.ads.refused == ())
        assert (await bench.get()).status_code == 200


async def test_one_refused_cluster_does_not_hold_back_the_others() -> None:
    limits = SessionLimits(ack_timeout_seconds=1)
    async with EnvoyBench(limits=limits) as bench, http_upstream("a") as port:
        await bench.publish(view(instance("x", port, service="inventory")))
        both = view(instance("a", port), instance("x", port, service="payments"), revision=2)
        snapshot = bench.pipeline._assembler.assemble(bench.pipeline._planner.plan(both))
        name = "default/payments/http"
        bad = Resource.of_bytes(name, b"\xff\xff\xff\xff")
        bench.ads.publish(dataclasses.replace(snapshot, clusters={**snapshot.clusters, name: bad}))

        async def served() -> bool:
            return (await bench.get()).status_code == 200

        await until(served)
        assert bench.ads.refused == ((CLUSTER_TYPE, name),)


async def test_a_new_agent_sends_nothing_to_an_envoy_that_has_everything() -> None:
    async with EnvoyBench() as bench, http_upstream("a") as port:
        of = view(instance("a", port))
        await bench.publish(of)
        await bench.ads.stop()
        assert (await bench.get()).status_code == 200
        bench.verdicts.clear()
        bench.ads, bench.pipeline = bench._new_ads(), bench._new_pipeline()
        await bench.ads.start()
        bench.pipeline.start_unloaded()
        await until(lambda: bench.ads.connected == 1)
        assert (await bench.get()).status_code == 200
        await bench.publish(of)
        assert bench.verdicts == []
        assert await bench.stat("cluster_manager.cluster_modified") == 0


async def test_services_come_and_go_under_traffic_without_a_failed_request() -> None:
    async with EnvoyBench() as bench, http_upstream("a") as port:
        of = view(instance("a", port))
        await bench.publish(of)
        statuses: Counter[int] = Counter()
        stop = asyncio.Event()

        async def load() -> None:
            while not stop.is_set():
                statuses[(await bench.get()).status_code] += 1

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load())
            for number in range(40):
                more = view(instance("x", port, service=f"extra-{number}"))
                services = {**of.services, **more.services}
                if number > 4:
                    del services[ServiceKey("default", f"extra-{number - 5}")]
                of = changed(of, services)
                await bench.publish(of)
                answer = await bench.get(host=f"extra-{number}.default")
                statuses[answer.status_code] += 1
            stop.set()
        assert set(statuses) == {200}, statuses


async def test_an_empty_view_from_a_snapshot_never_replaces_a_fuller_one() -> None:
    async with EnvoyBench() as bench, http_upstream("a") as port:
        await bench.publish(view(instance("a", port), revision=5))
        bench.pipeline.take_view(view(revision=6, rung=Rung.SNAPSHOT))
        assert bench.pipeline.problem
        assert (await bench.get()).status_code == 200
        await bench.publish(view(revision=7))
        assert (await bench.get()).status_code == 404
