"""The gateway's own routes, judged by a real Envoy: control plane, services, cross-site calls."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import httpx
import pytest
import websockets
from mesher.lab.envoy_bench import EnvoyBench
from mesher.lab.upstreams import grpc_upstream, http_upstream
from mesher.lab.views import instance, view

from tianlu_gateway.control_plane import STATUS_CLUSTER, ControlPlane
from tianlu_mesher.addresses import RegistryAddress
from tianlu_mesher.resources.bootstrap import StaticCluster
from tianlu_mesher.resources.socket_address import SocketAddress
from tianlu_mesher.routing.ir import UpstreamProtocol


@pytest.fixture
async def entrance() -> AsyncIterator[EnvoyBench]:
    """A gateway before a console, a status page and a registry, and one service, all small."""
    async with AsyncExitStack() as stack:
        console = await stack.enter_async_context(http_upstream("console"))
        status = await stack.enter_async_context(http_upstream("status"))
        service = await stack.enter_async_context(http_upstream("orders-1"))
        registry = await stack.enter_async_context(
            grpc_upstream("registry", service="etcdserverpb.KV")
        )
        control = ControlPlane(
            registry=(RegistryAddress(SocketAddress("127.0.0.1", registry)),),
            console=SocketAddress("127.0.0.1", console),
            status=SocketAddress("127.0.0.1", status),
            hosts=("tianlu.test", "entrance.default"),
        )
        bench = EnvoyBench(control.role(), control.static_clusters())
        await stack.enter_async_context(bench)
        await bench.publish(view(instance("orders-1", service)))
        yield bench


async def ask(entrance: EnvoyBench, path: str, **headers: str) -> httpx.Response:
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    return await entrance.client.get(entrance.url + path, headers=names)


async def test_every_part_stands_at_its_path(entrance: EnvoyBench) -> None:
    for path, name in {
        "/console/": "console",
        "/console/services/orders?x=1": "console",
        "/healthz": "status",
        "/readyz": "status",
        "/metrics": "status",
    }.items():
        answer = await ask(entrance, path)
        assert answer.json()["name"] == name, path
        assert "x-tianlu-served-by" not in answer.headers
    for path in ("/", "/console"):
        answer = await ask(entrance, path)
        assert (answer.status_code, answer.headers["location"][-9:]) == (302, "/console/")


async def test_services_stand_under_their_host_and_under_a_path(entrance: EnvoyBench) -> None:
    by_host = await ask(entrance, "/a/b?c=d", host="orders.default")
    by_path = await ask(entrance, "/s/default/orders/a/b?c=d")
    for answer in (by_host, by_path):
        said = answer.json()
        assert (said["name"], said["path"], said["query"]) == ("orders-1", "/a/b", "c=d")
    assert by_path.json()["headers"]["x-forwarded-prefix"] == "/s/default/orders"
    assert (await ask(entrance, "/s/default/orders")).json()["path"] == "/"
    # A service's own path may look like one of ours.
    assert (await ask(entrance, "/v1/x", host="orders.default")).json()["name"] == "orders-1"


async def test_what_is_not_there_is_named(entrance: EnvoyBench) -> None:
    for path, host in {
        "/s/default/nobody/x": "any",
        "/s/default/orders2": "any",
        "/elsewhere": "any",
        "/x": "nobody.default",
        "/versions": "any",
    }.items():
        answer = await ask(entrance, path, host=host)
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found"), path
        assert answer.json()["asked"] == f"GET {host}{path}"


async def test_a_path_that_climbs_does_not_leave_its_service(entrance: EnvoyBench) -> None:
    request = httpx.Request("GET", entrance.url)
    request.url = request.url.copy_with(raw_path=b"/s/default/orders/../../../console/")
    answer = await entrance.client.send(request)
    assert answer.json()["name"] == "console"  # normalised first, then routed
    request.url = request.url.copy_with(raw_path=b"/s/default/orders/%2e%2e/nobody/")
    assert (await entrance.client.send(request)).status_code == 404


async def test_the_registry_speaks_grpc_through_the_entrance(entrance: EnvoyBench) -> None:
    async with grpc.aio.insecure_channel(entrance.url.removeprefix("http://")) as channel:
        assert await channel.unary_unary("/etcdserverpb.KV/Say")(b"hi") == b"registry: hi"
        stream = channel.unary_stream("/etcdserverpb.KV/Count")(b"")
        assert len([item async for item in stream]) == 10
        assert await stream.code() is grpc.StatusCode.OK


SAME = "same-origin"
CALLERS: list[tuple[dict[str, str], bool]] = [
    ({}, True),
    ({"sec_fetch_site": "none"}, True),
    ({"sec_fetch_site": SAME, "origin": "http://tianlu.test:8080"}, True),
    ({"origin": "https://TIANLU.test:8080"}, True),
    ({"sec_fetch_site": "cross-site"}, False),
    ({"sec_fetch_site": "same-site"}, False),
    ({"origin": "http://evil.test"}, False),
    ({"origin": "http://tianlu.test:9999"}, False),
    ({"origin": "null"}, False),
    ({"sec_fetch_site": SAME, "origin": "http://evil.test"}, False),
    ({"origin": "http://tianlu.test:8080.evil.test"}, False),
]


async def test_other_sites_cannot_call_the_control_plane(entrance: EnvoyBench) -> None:
    for headers, allowed in CALLERS:
        answer = await ask(entrance, "/metrics", host="tianlu.test:8080", **headers)
        assert answer.status_code == (200 if allowed else 403), headers
        other = await ask(entrance, "/v1/services", host="tianlu.test:8080", **headers)
        assert (other.status_code == 403) is not allowed, headers
        if not allowed:
            assert other.json()["error"] == "not_allowed"
        # Services and the console judge for themselves.
        assert (await ask(entrance, "/x", host="orders.default", **headers)).status_code == 200
        assert (await ask(entrance, "/console/", **headers)).status_code == 200


CONTROL_PATHS = ("/", "/console", "/console/", "/metrics", "/healthz", "/v1/services", "/version")


async def test_the_control_plane_is_served_under_its_own_names_only(entrance: EnvoyBench) -> None:
    port = entrance.url.rpartition(":")[2]
    allowed = (
        "127.0.0.1",
        f"127.0.0.1:{port}",
        "10.1.2.3:80",
        "[::1]:8080",
        "[2001:db8::1]",
        "tmp%2Fgateway.sock",
    )
    for host in (*allowed, "localhost", "LocalHost:9", "tianlu.test", "Tianlu.Test:8080"):
        for path in CONTROL_PATHS:
            assert (await ask(entrance, path, host=host)).status_code not in {404, 421}, host
    strangers = ("evil.test", f"evil.test:{port}", "nobody.default", "localhost.evil.test", "1.2.3")
    for host in (*strangers, "127.0.0.1.evil.test", "xtianlu.test", "tianluxtest", "[::1].evil"):
        for path in CONTROL_PATHS:
            answer = await ask(entrance, path, host=host)
            said = answer.json()
            assert (answer.status_code, said["error"]) == (421, "misdirected"), (host, path)
            assert "--control-host" in said["message"]
            assert said["asked"] == f"GET {host}{path}"
        # Services are not the control plane: their own hosts and paths stay.
        assert (await ask(entrance, "/s/default/orders/x", host=host)).status_code == 200
        assert (await ask(entrance, "/nowhere", host=host)).status_code == 404
    assert (await ask(entrance, "/metrics", host="orders.default")).json()["name"] == "orders-1"


async def test_no_service_takes_a_name_of_the_control_plane(entrance: EnvoyBench) -> None:
    async with http_upstream("thief") as port:
        thief = dataclasses.replace(instance("thief", port), service="entrance")
        await entrance.publish(view(thief, revision=9))
        answer = await ask(entrance, "/console/", host="entrance.default")
        assert answer.json()["name"] == "console"
        assert (await ask(entrance, "/s/default/entrance/")).json()["name"] == "thief"


async def test_a_strange_authority_is_told_so_in_grpc(entrance: EnvoyBench) -> None:
    address = entrance.url.removeprefix("http://")
    options = [("grpc.default_authority", "evil.test:80")]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        with pytest.raises(grpc.aio.AioRpcError, match="--control-host"):
            await channel.unary_unary("/etcdserverpb.KV/Say")(b"hi")


async def test_the_console_streams_and_upgrades(entrance: EnvoyBench) -> None:
    async with entrance.client.stream("GET", f"{entrance.url}/s/default/orders/events") as events:
        assert await anext(events.aiter_lines()) == "data: 0"
    url = entrance.url.replace("http://", "ws://")
    async with websockets.connect(f"{url}/s/default/orders/ws", proxy=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == "orders-1: hello"


async def test_strangers_cannot_say_who_they_are(entrance: EnvoyBench) -> None:
    forged = {
        "x_forwarded_for": "10.9.9.9",
        "x_forwarded_proto": "https",
        "x_envoy_internal": "true",
        "x_envoy_attempt_count": "9",
        "x_envoy_upstream_rq_timeout_ms": "1",
        "x_forwarded_host": "evil.test",
        "x_forwarded_port": "1",
        "x_forwarded_prefix": "/evil",
        "x_real_ip": "10.9.9.9",
        "forwarded": "for=10.9.9.9",
    }
    headers = (await ask(entrance, "/", host="orders.default", **forged)).json()["headers"]
    said, seen = headers["x-forwarded-for"].split(",")
    assert said == "10.9.9.9"
    assert seen != said  # the peer's real address comes last
    assert headers["x-forwarded-proto"] == "http"
    external = "x-envoy-external-address"  # Envoy's own word for the peer
    dropped = {name.replace("_", "-") for name in forged} | {"x-envoy-internal"}
    dropped -= {"x-forwarded-for", "x-forwarded-proto"}
    assert not dropped & headers.keys()
    assert {name for name in headers if name.startswith("x-envoy-")} <= {external}
    by_path = (await ask(entrance, "/s/default/orders/", **forged)).json()["headers"]
    assert by_path["x-forwarded-prefix"] == "/s/default/orders"


async def test_before_there_is_a_view_the_control_plane_is_there_already() -> None:
    async with http_upstream("console") as port:
        control = ControlPlane(
            registry=(RegistryAddress(SocketAddress("127.0.0.1", 1)),),
            console=SocketAddress("127.0.0.1", port),
        )
        static = (*control.static_clusters(), *own_status(port))
        async with EnvoyBench(control.role(), static) as bench:
            bench.pipeline.start_unloaded()
            await bench.until_listening()
            assert (await ask(bench, "/console/")).json()["name"] == "console"
            answer = await ask(bench, "/x", host="orders.default")
            assert (answer.status_code, answer.json()["error"]) == (503, "not_ready")


def own_status(port: int) -> tuple[StaticCluster, ...]:

    return (
        StaticCluster(STATUS_CLUSTER, UpstreamProtocol.HTTP1, (SocketAddress("127.0.0.1", port),)),
    )


async def test_strangers_get_no_tunnel(entrance: EnvoyBench) -> None:
    reader, writer = await asyncio.open_connection(*entrance.url.removeprefix("http://").split(":"))
    writer.write(b"CONNECT orders.default:80 HTTP/1.1\r\nhost: orders.default:80\r\n\r\n")
    status = await reader.readline()
    writer.close()
    assert int(status.split()[1]) >= 400
