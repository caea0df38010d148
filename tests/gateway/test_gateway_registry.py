"""Gateway and mesher on a real registry, driven by the real SDK: the whole way of a request."""

from __future__ import annotations

import asyncio
from collections import Counter
from time import monotonic

import httpx
from mesher.lab.envoy_bench import until
from mesher.lab.proxy_process import ProxyProcess
from mesher.lab.registry_process import RegistryProcess
from mesher.lab.upstreams import http_upstream

import tianlu
from tianlu import AsyncClient


def sdk(endpoint: str) -> AsyncClient:
    return AsyncClient(endpoint, timeout_seconds=5)


async def test_services_register_and_are_called_through_the_entrance() -> None:
    async with (
        RegistryProcess() as registry,
        ProxyProcess("gateway", "--registry", registry.endpoint) as gateway,
        http_upstream("a") as a,
        http_upstream("b") as b,
    ):
        entrance = gateway.addresses["http"]
        async with sdk(entrance) as client:  # the SDK itself goes through the entrance
            await client.register("orders", port=a, address="127.0.0.1", id="a")
            await until_status(gateway, 200)
            started = monotonic()
            second = await client.register("orders", port=b, address="127.0.0.1", id="b")
            await until(lambda: served_by(gateway, "b"))
            assert monotonic() - started < 1
            applied = await client.await_applied(second.instance.mod_revision, "orders")
            assert applied.reached
            assert applied.subscribers >= 1
            await client.isolate("orders", "b", reason="a test")
            await until(lambda: never_served_by(gateway, "b"))
            async with httpx.AsyncClient(base_url=entrance, trust_env=False) as plain:
                assert (await plain.get("/version")).status_code == 200
                put = {"key": "Zm9v", "value": "YmFy"}
                assert (await plain.post("/v3/kv/put", json=put)).status_code == 200
                refused = await plain.post(
                    "/v3/kv/put", json=put, headers={"origin": "http://evil.test"}
                )
                assert refused.status_code == 403
        await until_status(gateway, 404)  # both deregistered, and nobody described the service


async def test_traffic_outlives_the_registry_and_a_restart_without_it() -> None:
    async with (
        http_upstream("a") as a,
        RegistryProcess() as registry,
        ProxyProcess("mesher", "--registry", registry.endpoint) as first,
        sdk(registry.endpoint) as client,
    ):
        await client.register("orders", port=a, address="127.0.0.1", id="a")
        await until_status(first, 200)
        await registry.kill()
        statuses = Counter([(await first.get()).status_code for _ in range(50)])
        assert statuses == {200: 50}
        await first.stop()
        again = ProxyProcess("mesher", "--registry", registry.endpoint, directory=first.directory)
        async with again as second:
            assert (await second.get()).status_code == 200
            assert (await second.status()).json()["rung"] == "snapshot"
            statuses.clear()
            back = asyncio.create_task(registry.start())
            while not back.done() or (await second.status()).json()["degraded"]:
                statuses[(await second.get()).status_code] += 1
            await back
            assert set(statuses) == {200}, statuses
            (listed,) = (await client.list_instances("orders")).items
            assert (listed.id, listed.status) == ("a", tianlu.InstanceStatus.UP)
            await until_status(second, 200)


async def until_status(proxy: ProxyProcess, status: int) -> None:
    async def reached() -> bool:
        return (await proxy.get()).status_code == status

    await until(reached)


async def served_by(proxy: ProxyProcess, name: str) -> bool:
    return (await proxy.get()).headers.get("x-tianlu-served-by") == name


async def never_served_by(proxy: ProxyProcess, name: str) -> bool:
    return not any([await served_by(proxy, name) for _ in range(10)])
