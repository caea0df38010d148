"""Which calls a learner serves, and what becomes of those that want a leader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from registry.api.asgi_fakes import FakeCall, framed

from tianlu._proto.etcd import rpc_pb2 as pb
from tianlu_registry.api.errors import error_status
from tianlu_registry.api.etcd_admission import NO_LEADER_ELECTIONS, Admission
from tianlu_registry.api.grpc_asgi import GrpcApp

GRPC = (b"content-type", b"application/grpc")
WANTS_LEADER = [GRPC, (b"hasleader", b"true")]


class Member:
    """A member with services that answer everything, or nothing for ever."""

    def __init__(self) -> None:
        self.is_learner = False
        self.has_leader = True
        self.looks = 0
        self.waiting = 0
        admission = Admission(
            is_settled=lambda: self.has_leader and not self.is_learner,
            is_learner=lambda: self.is_learner,
            has_leader=self._has_leader,
            election_seconds=0.002,
        )
        self.app = GrpcApp(error_status)
        for name in ("KV", "Watch", "Lease", "Maintenance"):
            service = pb.DESCRIPTOR.services_by_name[name]
            self.app.add(service, admission.before(service, self))

    def _has_leader(self) -> bool:
        self.looks += 1
        return self.has_leader

    async def call(self, path: str, request: Any = None, headers: Any = (GRPC,)) -> tuple[int, str]:
        call = FakeCall(
            f"/etcdserverpb.{path}", [framed(request or pb.RangeRequest())], headers=headers
        )
        await call.run(self.app)
        return call.code, call.message

    async def Range(self, request: Any, context: Any) -> pb.RangeResponse:
        return pb.RangeResponse()

    async def Put(self, request: Any, context: Any) -> pb.PutResponse:
        return pb.PutResponse()

    async def Status(self, request: Any, context: Any) -> pb.StatusResponse:
        return pb.StatusResponse()

    async def Snapshot(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield pb.SnapshotResponse()

    async def LeaseKeepAlive(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        yield pb.LeaseKeepAliveResponse()

    async def Watch(self, requests: Any, context: Any) -> None:
        self.waiting += 1
        await asyncio.get_running_loop().create_future()


OK = (0, "")
REFUSED = (14, "etcdserver: rpc not supported for learner")
LEADERLESS = (14, "etcdserver: no leader")


@pytest.mark.parametrize(
    ("path", "request_", "expected"),
    [
        ("KV/Range", pb.RangeRequest(serializable=True), OK),
        ("KV/Range", pb.RangeRequest(), REFUSED),
        ("KV/Put", pb.PutRequest(), REFUSED),
        ("Maintenance/Status", None, OK),
        ("Maintenance/Snapshot", None, OK),
        ("Lease/LeaseKeepAlive", None, REFUSED),
        ("Watch/Watch", None, REFUSED),
    ],
)
async def test_a_learner(path: str, request_: Any, expected: tuple[int, str]) -> None:
    member = Member()
    member.is_learner = True
    assert await member.call(path, request_) == expected
    member.is_learner = False
    if path != "Watch/Watch":
        assert await member.call(path, request_) == OK


@pytest.mark.parametrize("path", ["KV/Range", "Maintenance/Snapshot", "Watch/Watch"])
async def test_a_call_that_wants_a_leader_is_refused_without_one(path: str) -> None:
    member = Member()
    member.has_leader = False
    assert await member.call(path, headers=WANTS_LEADER) == LEADERLESS
    if path != "Watch/Watch":
        assert await member.call(path) == OK
        assert await member.call(path, headers=[GRPC, (b"hasleader", b"false")]) == OK


async def test_a_stream_that_wants_a_leader_is_ended_without_one() -> None:
    member = Member()
    watch = asyncio.create_task(member.call("Watch/Watch", headers=WANTS_LEADER))
    patient = asyncio.create_task(member.call("Watch/Watch"))
    async with asyncio.timeout(5):
        while member.waiting < 2 or member.looks < 5:
            await asyncio.sleep(0)
        assert not watch.done()
        member.has_leader = False
        looked = member.looks
        assert await watch == LEADERLESS
    assert member.looks - looked >= NO_LEADER_ELECTIONS
    assert not patient.done()
    patient.cancel()
    await asyncio.gather(patient, return_exceptions=True)


async def test_nobody_looks_for_a_leader_when_no_stream_wants_one() -> None:
    member = Member()
    watch = asyncio.create_task(member.call("Watch/Watch", headers=WANTS_LEADER))
    async with asyncio.timeout(5):
        while member.looks < 3:
            await asyncio.sleep(0)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await asyncio.sleep(0.02)
    looks = member.looks
    await asyncio.sleep(0.02)
    assert member.looks == looks
