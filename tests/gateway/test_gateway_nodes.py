"""Several registry nodes behind the gateway, judged by a real Envoy: which are asked, and again."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from mesher.lab.envoy_bench import EnvoyBench, until
from mesher.lab.upstreams import asgi_upstream
from mesher.lab.views import instance, view

from tianlu_gateway.control_plane import REGISTRY_CLUSTER, ControlPlane
from tianlu_mesher.addresses import RegistryAddress
from tianlu_mesher.resources.socket_address import SocketAddress
from tianlu_mesher.routing.ir import UpstreamProtocol

RANGE = "/etcdserverpb.KV/Range"
PUT = "/etcdserverpb.KV/Put"


class Node:
    """A registry node that is ready or not, and answers calls or not, as a test wants it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = True
        self.serves = True
        self.silent = False

    async def __call__(self, scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if self.silent and scope["path"] != "/readyz":
            await asyncio.sleep(60)
        good = self.ready if scope["path"] == "/readyz" else self.serves
        await send({"type": "http.response.start", "status": 200 if good else 503, "headers": []})
        await send({"type": "http.response.body", "body": self.name.encode()})


def control_plane(ports: list[int]) -> ControlPlane:
    registry = tuple(RegistryAddress(SocketAddress("127.0.0.1", port)) for port in ports)
    return ControlPlane(registry, status=SocketAddress("127.0.0.1", 1))


@asynccontextmanager
async def entrance(*nodes: Node) -> AsyncIterator[EnvoyBench]:
    """A gateway before nodes that speak HTTP/1.1, for want of a server of HTTP/2."""
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(asgi_upstream(node)) for node in nodes]
        control = control_plane(ports)
        cluster, status = control.static_clusters()
        assert (cluster.name, cluster.ready_path) == (REGISTRY_CLUSTER, "/readyz")
        cluster = dataclasses.replace(cluster, protocol=UpstreamProtocol.HTTP1)
        bench = await stack.enter_async_context(EnvoyBench(control.role(), (cluster, status)))
        await bench.publish(view(instance("orders-1", 1)))
        yield bench


async def answering(bench: EnvoyBench) -> set[str]:
    """Return the nodes that answer some calls in a row."""
    answers = [await bench.client.get(f"{bench.url}/v1/services") for _ in range(9)]
    return {answer.text for answer in answers}


async def test_calls_go_to_nodes_that_are_ready_and_to_all_if_none_is() -> None:
    nodes = [Node("one"), Node("two"), Node("three")]

    async with entrance(*nodes) as bench:

        async def only(*names: str) -> bool:
            return await answering(bench) == set(names)

        await until(lambda: only("one", "two", "three"), 30)
        nodes[0].ready = nodes[1].ready = False
        await until(lambda: only("three"), 30)
        nodes[2].ready = False
        await until(lambda: only("one", "two", "three"), 30)
        nodes[1].ready = True
        await until(lambda: only("two"), 30)


async def test_a_read_that_a_node_cannot_serve_is_asked_of_another() -> None:
    nodes = [Node("one"), Node("two"), Node("three")]
    nodes[0].serves = False
    async with entrance(*nodes) as bench:
        reads = [await bench.client.get(f"{bench.url}/v1/services") for _ in range(12)]
        assert {answer.status_code for answer in reads} == {200}
        nodes[1].serves = nodes[2].serves = False
        write = await bench.client.post(f"{bench.url}/v1/sessions", json={})
        assert write.status_code == 503


async def test_a_silent_node_is_not_waited_for_by_reads() -> None:
    nodes = [Node("one"), Node("two")]
    async with entrance(*nodes) as bench:
        nodes[0].silent = True
        reads = await asyncio.gather(
            *(bench.client.get(f"{bench.url}/v1/services", timeout=30) for _ in range(4))
        )
        assert {answer.text for answer in reads} == {"two"}


async def test_of_grpc_calls_those_that_may_be_made_twice_are() -> None:
    async with AsyncExitStack() as stack:
        ports = [
            await stack.enter_async_context(grpc_node(serves=number == 0)) for number in range(3)
        ]
        control = control_plane(ports)
        bench = EnvoyBench(control.role(), control.static_clusters())
        await stack.enter_async_context(bench)
        await bench.publish(view(instance("orders-1", 1)))
        address = bench.url.removeprefix("http://")
        async with grpc.aio.insecure_channel(address) as channel:
            for _ in range(6):
                assert await channel.unary_unary(RANGE)(b"hi") == b"hi"
            codes = set()
            for _ in range(6):
                call = channel.unary_unary(PUT)(b"hi")
                codes.add(await call.code())
            assert codes == {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


@asynccontextmanager
async def grpc_node(*, serves: bool) -> AsyncIterator[int]:
    """A node that answers its calls, or all with UNAVAILABLE."""

    async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if not serves:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out")
        return request

    class Calls(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Calls(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
