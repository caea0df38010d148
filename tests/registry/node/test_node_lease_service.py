"""A leader answers renewals only when it has confirmed that it leads."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest
from registry.mvcc.mvcc_fakes import MemoryBackend

from tianlu._proto.etcd.rpc_pb2 import LeaseCheckpointRequest
from tianlu_registry.errors import RequestTimeout, Stopped
from tianlu_registry.lease import Lessor
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.leader_link import LeaderLink
from tianlu_registry.node.lease_service import LeaseService
from tianlu_registry.raft import NO_MEMBER, MemberId

ME = MemberId(1)
SUCCESSOR = MemberId(2)


class Leader:
    """A lease service whose confirmations and checkpoints the test gives."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.lessor = Lessor(MemoryBackend())
        self.lessor.promote(0.0)
        self.lessor.grant(7, 3600, 0.0)
        self.reads: list[asyncio.Future[None]] = []
        self.proposed: list[asyncio.Future[Any]] = []
        self.checkpoints: list[list[int]] = []
        self.leader_id = ME
        self.link = LeaderLink(
            loop,
            leader_id=lambda: self.leader_id,
            serves=lambda: True,
            own_id=ME,
            call=self._call,
            timeout_seconds=5,
        )
        self.service = LeaseService(
            loop, self.lessor, lambda: 100.0, self._propose, self._read, self.link
        )

    async def _call(self, *_: object) -> bytes:
        assert self.leader_id == SUCCESSOR, "this member leads"
        return struct.pack("<q", 1234)

    def _propose(self, kind: CommandKind, request: Request) -> asyncio.Future[Any]:
        assert kind is CommandKind.LEASE_CHECKPOINT
        assert isinstance(request, LeaseCheckpointRequest)
        self.checkpoints.append([checkpoint.ID for checkpoint in request.checkpoints])
        self.proposed.append(asyncio.get_running_loop().create_future())
        return self.proposed[-1]

    def _read(self) -> asyncio.Future[None]:
        self.reads.append(asyncio.get_running_loop().create_future())
        return self.reads[-1]


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_renewal_waits_for_the_confirmation() -> None:
    leader = Leader()
    answer = asyncio.ensure_future(leader.service.renew(7))
    await turns()
    assert not answer.done()
    leader.reads[0].set_result(None)
    assert await answer == 3600
    assert leader.lessor.time_to_live(7, 100.0) == 3600


async def test_who_cannot_confirm_renews_nothing() -> None:
    leader = Leader()
    answer = asyncio.ensure_future(leader.service.renew(7))
    await turns()
    leader.reads[0].set_exception(RequestTimeout())
    with pytest.raises(RequestTimeout):
        await answer
    assert leader.lessor.time_to_live(7, 100.0) == 3500


async def test_a_checkpoint_is_cleared_first_and_leadership_confirmed_again() -> None:
    leader = Leader()
    leader.lessor.checkpoint(7, 1000)
    answer = asyncio.ensure_future(leader.service.renew(7))
    await turns()
    leader.reads[0].set_result(None)
    await turns()
    leader.lessor.checkpoint(7, 0)
    leader.proposed[0].set_result(None)
    await turns()
    assert not answer.done()
    leader.reads[1].set_result(None)
    assert await answer == 3600


async def test_the_checkpoints_of_a_batch_are_cleared_by_one_command() -> None:
    leader = Leader()
    for lease_id in (8, 9, 10):
        leader.lessor.grant(lease_id, 3600, 0.0)
    for lease_id in (7, 9, 10):
        leader.lessor.checkpoint(lease_id, 1000)
    answer = asyncio.ensure_future(leader.service.renew_all([7, 8, 404, 9, 10]))
    await turns()
    leader.reads[0].set_result(None)
    await turns()
    for lease_id in (7, 9, 10):
        leader.lessor.checkpoint(lease_id, 0)
    leader.proposed[0].set_result(None)
    await turns()
    leader.reads[1].set_result(None)
    assert await answer == [3600, 3600, 0, 3600, 3600]
    assert leader.checkpoints == [[7, 9, 10]]


async def test_who_has_no_lease_is_told_after_the_confirmation() -> None:
    leader = Leader()
    answer = asyncio.ensure_future(leader.service.renew(404))
    await turns()
    leader.reads[0].set_result(None)
    assert await answer == 0


async def test_who_is_deposed_while_it_waits_asks_its_successor() -> None:
    leader = Leader()
    answer = asyncio.ensure_future(leader.service.renew(7))
    await turns()
    leader.lessor.demote()
    leader.leader_id = SUCCESSOR
    leader.reads[0].set_result(None)
    assert await answer == 1234


async def test_who_waits_for_a_leader_is_told_when_the_node_stops() -> None:
    leader = Leader()
    leader.lessor.demote()
    leader.leader_id = NO_MEMBER
    answer = asyncio.ensure_future(leader.service.renew(7))
    await turns()
    leader.link.stop()
    with pytest.raises(Stopped):
        await answer
