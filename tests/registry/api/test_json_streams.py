"""The JSON gateway's streams end with the node, and begin at a member that is one to ask."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from registry.api.asgi_fakes import FakeCall
from registry.api.store_fakes import FakeStore

from tianlu._proto.etcd import rpc_pb2 as pb
from tianlu_registry.api.errors import error_status
from tianlu_registry.api.etcd_admission import Admission
from tianlu_registry.api.etcd_json_stream import JsonStreams
from tianlu_registry.api.etcd_lease import LeaseServicer
from tianlu_registry.api.etcd_watch import WatchServicer
from tianlu_registry.api.grpc_asgi import GrpcApp
from tianlu_registry.errors import Stopped

RENEWAL = b'{"ID":"5"}'
WATCH = b'{"create_request":{"key":"aw=="}}'


class Leases(FakeStore):
    async def lease_keep_alive(self, lease_id: int) -> Any:
        return pb.LeaseKeepAliveResponse(header=self.header(), ID=lease_id, TTL=9)

    async def lease_keep_alives(self, lease_ids: Any) -> list[Any]:
        return [await self.lease_keep_alive(lease_id) for lease_id in lease_ids]


class Node:
    """Streams over a store."""

    def __init__(self) -> None:
        self.is_learner = False
        self.grpc = GrpcApp(error_status)
        admission = Admission(
            is_settled=lambda: False,
            is_learner=lambda: self.is_learner,
            has_leader=lambda: True,
            election_seconds=1.0,
        )
        store: Any = Leases()
        lease = admission.before(pb.DESCRIPTOR.services_by_name["Lease"], LeaseServicer(store))
        self.streams = JsonStreams(WatchServicer(store), lease, store.header, self.grpc, admission)

    def begin(self, name: str, body: bytes) -> tuple[FakeCall, asyncio.Task[Any]]:
        """Begin a call whose body goes on."""
        call = FakeCall(f"/v3/{name}", [body], half_close=False)
        serve = self.streams.watch if name == "watch" else self.streams.lease_keep_alive
        return call, asyncio.create_task(call.run(serve))


async def lines(call: FakeCall, count: int) -> list[Any]:
    async with asyncio.timeout(5):
        while call.body.count(b"\n") < count:
            await asyncio.sleep(0)
    return [json.loads(line) for line in call.body.splitlines()]


@pytest.mark.parametrize(("name", "body"), [("lease/keepalive", RENEWAL), ("watch", WATCH)])
async def test_draining_ends_a_stream_whose_client_would_go_on(name: str, body: bytes) -> None:
    node = Node()
    call, running = node.begin(name, body)
    assert "result" in (await lines(call, 1))[0]
    node.grpc.drain(Stopped())
    await running
    error = (await lines(call, 2))[1]["error"]
    assert (error["grpc_code"], error["message"]) == (14, "etcdserver: server stopped")
    # Nor does one begin then.
    late, running = node.begin(name, body)
    await running
    assert late.status == 503
    assert b"server stopped" in late.body


@pytest.mark.parametrize(("name", "body"), [("lease/keepalive", RENEWAL), ("watch", WATCH)])
async def test_a_learner_begins_none(name: str, body: bytes) -> None:
    node = Node()
    node.is_learner = True
    call, running = node.begin(name, body)
    await running
    assert call.status == 503
    assert b"rpc not supported for learner" in call.body
