"""What happens to sessions and subscribers when clients and the node die, with real processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry.api.catalog_node import Client, NodeProcess, Watching
from registry.catalog.catalog_fakes import registration

from tianlu._proto.v1.catalog_pb2 import KeepAliveRequest, ListInstancesRequest
from tianlu._proto.v1.model_pb2 import Liveness

SUSPECT = Liveness.LIVENESS_SUSPECT


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    process = NodeProcess(tmp_path)
    process.start()
    yield process
    process.kill()


async def test_a_dead_client_is_suspect_within_two_seconds_and_may_return(
    node: NodeProcess,
) -> None:
    async with Client(node.target) as observer:
        watching = Watching(observer)
        await watching.begin("default")
        async with Client(node.target) as owner:
            session = await owner.session()
            await owner.keep_alive(session)
            await owner.call("Register", registration(session, "default"))
            await watching.until(lambda: "orders-1" in watching.instances)
        died = time.monotonic()
        await watching.until(lambda: watching.instances["orders-1"].health.liveness == SUSPECT)
        assert time.monotonic() - died < 2
        async with Client(node.target) as owner:
            await owner.keep_alive(session)
            await watching.until(lambda: watching.instances["orders-1"].health.liveness != SUSPECT)
        watching.cancel()


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_node_that_goes_marks_nobody_and_loses_nothing(node: NodeProcess, how: str) -> None:
    async with Client(node.target) as client:
        sessions = [await client.session() for _ in range(5)]
        streams = [await client.keep_alive(session) for session in sessions]
        for number, session in enumerate(sessions):
            registered = await client.call(
                "Register", registration(session, "default", f"orders-{number}")
            )
        watching = Watching(client)
        await watching.begin("default")
        await watching.until(lambda: len(watching.instances) == 5)
        await asyncio.to_thread(node.kill if how == "kill" else node.stop)
        await watching.error()
        assert len(watching.instances) == 5, "nobody was told of an empty catalogue"
        for stream in streams:
            stream.cancel()
        await asyncio.to_thread(node.start)
        resumed = Watching(client)
        await resumed.begin("default", resume_revision=watching.revision)
        # Long enough for every stream that the node may have believed in to be given up.
        await asyncio.sleep(1.5)
        found = await client.call(
            "ListInstances", ListInstancesRequest(namespace="default", service="orders")
        )
        assert len(found.instances) == 5
        assert all(each.health.liveness != SUSPECT for each in found.instances)
        again = await client.keep_alive(sessions[0])
        await again.write(KeepAliveRequest(session_id=sessions[0]))
        assert (await again.read()).ttl_seconds == 60
        anew = await client.call("Register", registration(sessions[0], "default", "orders-0"))
        assert anew.revision <= registered.revision, "the same registration was written again"
        more = await client.call("Register", registration(sessions[0], "default", "orders-9"))
        await resumed.until(lambda: "orders-9" in resumed.instances)
        assert resumed.revision >= more.revision
        assert resumed.snapshots == 0, "it held the newest revision and could go on from there"
        resumed.cancel()
