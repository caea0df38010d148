from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tianlu._proto.etcd.rpc_pb2 import LeaseCheckpointRequest, LeaseRevokeRequest
from tianlu_registry.errors import TooManyRequests
from tianlu_registry.lease import Lessor
from tianlu_registry.node import leases
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.leases import LeaseKeeper


class NoBackend:
    def leases(self) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def put_lease(self, lease_id: int, record: bytes) -> None:
        pass

    def delete_lease(self, lease_id: int) -> None:
        pass


class Harness:
    """A keeper whose proposals are kept, for the test to answer."""

    def __init__(self) -> None:
        self.lessor = Lessor(NoBackend())
        self.keeper = LeaseKeeper(self.lessor, self.propose)
        self.proposed: list[tuple[Request, asyncio.Future[Any]]] = []
        self.refusal: Exception | None = None

    def propose(self, kind: CommandKind, request: Request) -> asyncio.Future[Any]:
        if self.refusal is not None:
            raise self.refusal
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.proposed.append((request, answered))
        return answered

    def revocations(self) -> list[int]:
        return [request.ID for request, _ in self.proposed if type(request) is LeaseRevokeRequest]

    async def apply_revocations(self) -> None:
        for request, answered in self.proposed:
            if isinstance(request, LeaseRevokeRequest) and not answered.done():
                self.lessor.revoke(request.ID)
                answered.set_result(None)
        await asyncio.sleep(0)


async def test_who_is_deposed_takes_its_revocations_back() -> None:
    """It was stopped for a while: the leases that it found expired live on at the new leader."""
    harness = Harness()
    harness.keeper.become_leader(0.0, 0.0)
    harness.lessor.grant(1, 5, 0.0)
    harness.keeper.tick(20.0)
    (_, answered) = harness.proposed.pop()
    harness.keeper.become_follower()
    assert answered.cancelled()
    harness.keeper.become_leader(30.0, 0.0)
    harness.keeper.tick(34.9)
    assert harness.revocations() == []
    harness.keeper.tick(35.1)
    assert harness.revocations() == [1]
    await asyncio.sleep(0)
    harness.keeper.tick(35.2)
    assert harness.revocations() == [1]


async def test_expired_leases_are_revoked_once() -> None:
    harness = Harness()
    harness.keeper.become_leader(0.0, 0.0)
    harness.lessor.grant(1, 5, 0.0)
    harness.lessor.grant(2, 50, 0.0)
    harness.keeper.tick(4.9)
    assert harness.revocations() == []
    harness.keeper.tick(5.0)
    harness.keeper.tick(5.1)
    harness.keeper.tick(20.0)  # still under way: not proposed again
    assert harness.revocations() == [1]
    await harness.apply_revocations()
    harness.keeper.tick(21.0)
    assert harness.revocations() == [1]


async def test_a_failed_revocation_is_tried_again() -> None:
    harness = Harness()
    harness.keeper.become_leader(0.0, 0.0)
    harness.lessor.grant(1, 5, 0.0)
    harness.refusal = TooManyRequests()
    harness.keeper.tick(5.0)
    harness.refusal = None
    harness.keeper.tick(9.0)
    assert harness.revocations() == [1]
    harness.proposed[0][1].set_exception(TooManyRequests())
    await asyncio.sleep(0)
    harness.keeper.tick(13.0)
    assert harness.revocations() == [1, 1]


async def test_at_most_so_many_revocations_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "REVOCATIONS_IN_FLIGHT_MAX", 10)
    harness = Harness()
    harness.keeper.become_leader(0.0, 0.0)
    for lease_id in range(1, 26):
        harness.lessor.grant(lease_id, 5, 0.0)
    now = 5.0
    for expected in (10, 20, 25):
        harness.keeper.tick(now)
        harness.keeper.tick(now)
        assert len(harness.revocations()) == expected
        await harness.apply_revocations()
        now += 0.1
    assert len(harness.lessor) == 0


async def test_many_that_expire_together_go_a_few_at_a_time() -> None:
    """So a write finds but a few of them before it in the log."""
    harness = Harness()
    harness.keeper.become_leader(0.0, 0.0)
    count = 3 * leases.REVOCATIONS_PER_TURN_MAX + 1
    for lease_id in range(1, count + 1):
        harness.lessor.grant(lease_id, 5, 0.0)
    more = harness.keeper.tick(5.0)
    turns = [len(harness.revocations())]
    while more:
        await harness.apply_revocations()
        more = harness.keeper.revoke(5.0)
        turns.append(len(harness.revocations()) - sum(turns))
    assert turns == [leases.REVOCATIONS_PER_TURN_MAX] * 3 + [1]
    assert not harness.keeper.tick(5.1)
    harness.keeper.become_follower()
    assert not harness.keeper.revoke(5.0)


async def test_without_room_there_may_be_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "REVOCATIONS_IN_FLIGHT_MAX", 2)
    harness = Harness()
    harness.keeper.become_leader(0.0, 0.0)
    for lease_id in (1, 2, 3):
        harness.lessor.grant(lease_id, 5, 0.0)
    assert harness.keeper.tick(5.0)
    assert harness.keeper.revoke(5.0)
    assert harness.revocations() == [1, 2]
    await harness.apply_revocations()
    assert not harness.keeper.revoke(5.0)
    assert harness.revocations() == [1, 2, 3]


async def test_a_follower_expires_nothing() -> None:
    harness = Harness()
    harness.lessor.grant(1, 5, 0.0)
    harness.keeper.tick(100.0)
    harness.keeper.become_leader(100.0, 1.0)
    assert harness.keeper.leads
    harness.keeper.tick(105.9)  # a new leader gives all of its time again, and an election's more
    assert harness.revocations() == []
    harness.keeper.become_follower()
    harness.keeper.tick(200.0)
    assert harness.revocations() == []


async def test_long_leases_are_checkpointed() -> None:
    harness = Harness()
    harness.keeper.become_leader(0.0, 0.0)
    harness.lessor.grant(1, 1_000, 0.0)
    harness.keeper.tick(299.0)
    assert harness.proposed == []
    harness.keeper.tick(300.0)
    ((request, answered),) = harness.proposed
    assert isinstance(request, LeaseCheckpointRequest)
    assert [(c.ID, c.remaining_TTL) for c in request.checkpoints] == [(1, 700)]
    answered.set_exception(TooManyRequests())
    await asyncio.sleep(0)
