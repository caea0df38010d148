"""`tianlu mesher` as it runs: launcher, agent and Envoy, killed and started in every order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from mesher.lab.catalog_server import CatalogServer
from mesher.lab.envoy_bench import until
from mesher.lab.proxy_process import ProxyProcess
from mesher.lab.upstreams import http_upstream
from mesher.lab.views import instance


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[CatalogServer]:
    server = CatalogServer(tmp_path / "registry.sock")
    await server.start()
    yield server
    await server.stop()


@asynccontextmanager
async def traffic(proxy: ProxyProcess) -> AsyncIterator[Counter[int]]:
    """Send requests as fast as they are answered; give the count of each status."""
    statuses: Counter[int] = Counter()
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            statuses[(await proxy.get()).status_code] += 1

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load())
        await until(lambda: statuses.total() > 5)
        yield statuses
        stop.set()


async def test_from_registration_to_traffic_and_acknowledgement(catalog: CatalogServer) -> None:
    async with (
        http_upstream("a") as a,
        ProxyProcess("mesher", "--registry", catalog.endpoint) as mesher,
    ):
        assert (await mesher.get()).status_code == 404
        revision = await catalog.put(instance("a", a, address="localhost"))

        async def served() -> bool:
            return (await mesher.get()).status_code == 200

        await until(served, 2)
        await until(lambda: catalog.applied == revision)
        status = (await mesher.status()).json()
        assert (status["revision"], status["applied_revision"]) == (revision, revision)
        assert (status["rung"], status["services"], status["problem"]) == ("process", 1, "")
        routes = (await mesher.status("/routes")).json()["orders.default"]
        (endpoint,) = routes["envoy_clusters"]["default/orders/http"]["endpoints"]
        assert endpoint["address"] == f"127.0.0.1:{a}"
        metrics = (await mesher.status("/metrics")).text
        assert f"tianlu_mesher_view_revision {float(revision)}" in metrics
        assert "envoy_http_downstream_rq_total" in metrics
        assert (await mesher.status("/readyz")).status_code == 200
        assert (await mesher.status("/nothing")).status_code == 404
        in_flight = asyncio.create_task(mesher.get("/slow/0.7"))
        await until(lambda: mesher_has(mesher, "envoy_http_downstream_rq_active", 1))
        assert await mesher.stop() == 0
        assert (await in_flight).status_code == 200  # a stop waits for what is in flight
        assert not mesher.run_file.exists()


async def mesher_has(mesher: ProxyProcess, metric: str, value: int) -> bool:
    lines = (await mesher.status("/metrics")).text.splitlines()
    found = [line for line in lines if line.startswith(f"{metric}{{") and '"mesher"' in line]
    return any(line.endswith(f" {value}") for line in found)


async def test_an_agent_that_dies_is_not_noticed_by_traffic(catalog: CatalogServer) -> None:
    async with http_upstream("a") as a, http_upstream("b") as b:
        await catalog.put(instance("a", a))
        async with ProxyProcess("mesher", "--registry", catalog.endpoint) as mesher:
            async with traffic(mesher) as statuses:
                agent = mesher.child("agent")
                agent.kill()
                await catalog.put(instance("b", b))
                await until(lambda: not agent.is_running())

                async def has_b() -> bool:
                    return (await mesher.get()).json()["name"] == "b"

                await until(has_b, 20)
                assert (await mesher.status("/readyz")).status_code == 200
            assert set(statuses) == {200}, statuses


async def test_an_envoy_that_dies_comes_back_where_it_was(catalog: CatalogServer) -> None:
    async with http_upstream("a") as a:
        await catalog.put(instance("a", a))
        async with ProxyProcess("mesher", "--registry", catalog.endpoint) as mesher:
            before = mesher.child("envoy").pid
            mesher.child("envoy").kill()

            async def ready() -> bool:
                children = psutil.Process(mesher.process.pid).children()
                if before in {each.pid for each in children} or len(children) < 2:
                    return False
                return (await mesher.status("/readyz")).status_code == 200

            await until(ready)
            assert (await mesher.get()).status_code == 200


async def test_the_snapshot_serves_while_the_registry_is_away(catalog: CatalogServer) -> None:
    async with http_upstream("a") as a, http_upstream("b") as b:
        await catalog.put(instance("a", a))
        async with ProxyProcess("mesher", "--registry", catalog.endpoint) as first:
            port = first.addresses["http"]
            async with traffic(first) as statuses:
                await catalog.stop()

                async def degraded() -> bool:
                    return bool((await first.status()).json()["degraded"])

                await until(degraded)
            assert set(statuses) == {200}, statuses
            assert await first.stop() == 0
            again = ProxyProcess(
                "mesher", "--registry", catalog.endpoint, directory=first.directory
            )
            async with again as second:
                assert second.addresses["http"] == port
                assert (await second.status()).json()["rung"] == "snapshot"
                async with traffic(second) as statuses:
                    await catalog.start()
                    await catalog.put(instance("b", b))

                    async def has_b() -> bool:
                        return (await second.get()).json()["name"] == "b"

                    await until(has_b, 20)
                assert set(statuses) == {200}, statuses
                assert (await second.status()).json()["degraded"] == ""


async def test_one_holder_and_children_that_die_with_the_launcher(catalog: CatalogServer) -> None:
    async with ProxyProcess("mesher", "--registry", catalog.endpoint) as first:
        second = ProxyProcess("mesher", "--registry", catalog.endpoint, directory=first.directory)
        await second.start()
        assert await asyncio.wait_for(second.process.wait(), 15) == 1
        errors = await second.errors()
        assert errors.startswith("tianlu mesher: --data-dir: ")
        assert errors.endswith(f"is held by process {first.process.pid}\n")
        assert errors.count("\n") == 1
        await second.client.aclose()
        assert (await first.status("/readyz")).status_code == 200
        children = [first.child("agent"), first.child("envoy")]
        first.process.kill()
        gone, alive = await asyncio.to_thread(psutil.wait_procs, children, 5)
        assert (len(gone), alive) == (2, [])
