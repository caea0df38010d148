"""The audit between members, on one loop and without sockets."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tianlu_registry.errors import Corrupt, InvalidArgument, NoLeader, RegistryError, Unavailable
from tianlu_registry.node.state_audit import (
    INTERVAL_SECONDS,
    METHOD,
    REPORT_SECONDS_MAX,
    Audited,
    StateAuditor,
)
from tianlu_registry.node.state_hash import HashReport
from tianlu_registry.raft.types import Index, MemberId

ROUNDS = 3
"""Ticks in which everything has happened that will: a mismatch is found, all are asked, the alarm
is raised."""


class Member:
    """One auditor, and what it did."""

    def __init__(self, cluster: Cluster, member_id: MemberId) -> None:
        self.id = member_id
        self.points: dict[Index, int] = {}
        self.chain = Index(0)
        self.away = False
        self.failures: list[Exception] = []
        self.alarms: list[MemberId] = []
        self.alarm_error: RegistryError | None = None
        self.auditor = StateAuditor(
            asyncio.get_running_loop(),
            member_id,
            report=lambda: HashReport(self.chain, dict(self.points)),
            members=lambda: cluster.audited,
            leads=lambda: cluster.leader == member_id,
            call=cluster.call,
            raise_alarm=self.raise_alarm,
            fail=self.fail,
        )

    def fail(self, error: Exception) -> None:
        self.failures.append(error)
        self.away = True

    async def raise_alarm(self, member: MemberId) -> None:
        if self.alarm_error is not None:
            raise self.alarm_error
        self.alarms.append(member)


class Cluster:
    """Members by number, from 1; the first leads."""

    def __init__(self, *hashes: int, learners: int = 0) -> None:
        ids = [MemberId(number) for number in range(1, len(hashes) + 1)]
        votes = len(ids) - learners
        self.audited = Audited(frozenset(ids[:votes]), frozenset(ids[votes:]))
        self.leader = ids[0]
        self.now = 100.0
        self.members = {member_id: Member(self, member_id) for member_id in ids}
        for member, value in zip(self.members.values(), hashes, strict=True):
            member.points = {Index(256): value}

    def __getitem__(self, number: int) -> Member:
        return self.members[MemberId(number)]

    async def call(self, to: MemberId, method: str, payload: bytes, seconds: float) -> bytes:
        assert method == METHOD
        assert seconds > 0
        await asyncio.sleep(0)
        member = self.members[to]
        if member.away:
            raise Unavailable
        return await member.auditor.on_call(payload)

    async def round(self, count: int = 1) -> None:
        """Let a second pass, and everything that follows from it."""
        for _ in range(count):
            self.now += INTERVAL_SECONDS
            for member in self.members.values():
                if not member.away:
                    member.auditor.tick(self.now)
            while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(tasks)

    @property
    def stopped(self) -> list[int]:
        return [member.id for member in self.members.values() if member.failures]


async def test_members_that_agree_are_left_alone() -> None:
    cluster = Cluster(7, 7, 7)
    await cluster.round(ROUNDS)
    assert cluster.stopped == []
    leader, follower = cluster[1].auditor.counts, cluster[2].auditor.counts
    assert (leader.rounds, leader.mismatches, leader.agreed_index) == (ROUNDS, 0, 256)
    assert follower.rounds == 0  # the leader asks, the others answer


@pytest.mark.parametrize("wrong", [1, 2, 3])
async def test_the_member_in_the_minority_takes_itself_out(wrong: int) -> None:
    cluster = Cluster(*(8 if number == wrong else 7 for number in (1, 2, 3)))
    await cluster.round(ROUNDS)
    assert cluster.stopped == [wrong]
    (failure,) = cluster[wrong].failures
    assert isinstance(failure, Corrupt)
    assert "diverges from the majority at index 256" in str(failure)
    raised = {member for m in cluster.members.values() for member in m.alarms}
    assert raised == {wrong}
    assert cluster[wrong].alarms == []


async def test_the_alarm_is_raised_once_it_can_be() -> None:
    cluster = Cluster(8, 7, 7)
    for number in (2, 3):
        cluster[number].alarm_error = NoLeader()
    await cluster.round(ROUNDS)
    assert cluster.stopped == [1]
    for number in (2, 3):
        cluster[number].alarm_error = None
    await cluster.round(ROUNDS)
    assert cluster[2].alarms == cluster[3].alarms == [1]


async def test_one_that_was_heard_and_stopped_is_alarmed_all_the_same() -> None:
    """The leader was wrong and is gone before the others have asked it."""
    cluster = Cluster(8, 7, 7)
    await cluster[2].auditor.on_call(_said(cluster, 1))
    cluster[1].away = True
    await cluster.round(ROUNDS)
    assert cluster[2].alarms == [1]


async def test_one_that_is_convicted_by_the_answers_tells_before_it_goes() -> None:
    """The leader's question said nothing yet; it has come as far as the answers meanwhile."""
    cluster = Cluster(8, 7, 7)
    wrong = cluster[1]
    late, wrong.points = wrong.points, {}
    answer = wrong.auditor._call

    async def answered_late(to: MemberId, method: str, payload: bytes, seconds: float) -> bytes:
        reply = await answer(to, method, payload, seconds)
        wrong.points = late
        return reply

    wrong.auditor._call = answered_late
    await cluster.round(ROUNDS)
    assert cluster.stopped == [1]
    assert cluster[2].alarms == cluster[3].alarms == [1]


def _said(cluster: Cluster, number: int) -> bytes:
    member = cluster[number]
    return member.id.to_bytes(8, "big") + HashReport(member.chain, member.points).encode()


async def test_without_a_majority_nobody_stops_and_everybody_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Cluster(8, 7)
    with caplog.at_level(logging.ERROR):
        await cluster.round(ROUNDS)
    assert cluster.stopped == []
    assert [cluster[n].auditor.counts.disputed_index for n in (1, 2)] == [256, 256]
    disputed = [r for r in caplog.records if r.getMessage().startswith("state_audit.disputed")]
    assert len(disputed) == 2  # each of the two, once


async def test_the_missing_third_decides_when_it_is_back() -> None:
    cluster = Cluster(8, 7, 7)
    cluster[3].away = True
    await cluster.round(ROUNDS)
    assert cluster.stopped == []
    cluster[3].away = False
    await cluster.round(ROUNDS)
    assert cluster.stopped == [1]


async def test_a_learner_is_judged_but_has_no_say() -> None:
    cluster = Cluster(7, 8, learners=1)
    await cluster.round(ROUNDS)
    assert cluster.stopped == [2]
    assert cluster[1].alarms == [2]


async def test_a_cluster_of_one_agrees_with_itself() -> None:
    cluster = Cluster(7)
    await cluster.round(ROUNDS)
    assert cluster.stopped == []


async def test_another_chain_cannot_be_compared() -> None:
    cluster = Cluster(7, 7, 8)
    cluster[3].chain = Index(5)
    await cluster.round(ROUNDS)
    assert cluster.stopped == []
    assert cluster[1].auditor.counts.incomparable == 1


async def test_a_removed_member_is_forgotten() -> None:
    cluster = Cluster(7, 7, 8)
    cluster[1].alarm_error = NoLeader()
    await cluster.round(ROUNDS)
    assert cluster[1].auditor.counts.diverged == 1
    cluster.audited = Audited(frozenset({MemberId(1), MemberId(2)}))
    cluster[1].alarm_error = None
    await cluster.round(ROUNDS)
    assert cluster[1].auditor.counts.diverged == 0
    assert cluster[1].alarms == []


async def test_an_old_report_is_not_held_against_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(7, 7, 8)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await cluster[1].auditor.on_call(_said(cluster, 3))
    cluster[3].away = True
    monkeypatch.setattr(loop, "time", lambda: began + REPORT_SECONDS_MAX + 1)
    await cluster.round()
    assert cluster[1].alarms == []


async def test_rounds_are_a_second_apart() -> None:
    cluster = Cluster(7, 7, 7)
    auditor = cluster[1].auditor
    for hundredth in range(250):
        auditor.tick(10.0 + hundredth / 100)
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks)
    assert auditor.counts.rounds == 3


@pytest.mark.parametrize("payload", [b"", b"1234567", b"12345678", b"12345678" + b"\x01" * 12])
async def test_a_payload_that_is_no_report_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidArgument):
        await Cluster(7)[1].auditor.on_call(payload)


async def test_a_stopped_auditor_asks_nobody() -> None:
    cluster = Cluster(7, 8, 8)
    cluster[1].auditor.tick(cluster.now)
    await cluster[1].auditor.stop()
    cluster[1].auditor.tick(cluster.now + 10)
    await cluster.round(0)
    assert cluster[1].auditor.counts.rounds == 0
    assert cluster.stopped == []


async def test_a_fault_of_the_audit_itself_is_no_secret() -> None:
    cluster = Cluster(7, 7)
    cluster[1].points = {Index(-1): 7}  # cannot be encoded
    await cluster.round()
    assert len(cluster[1].failures) == 1
    assert not isinstance(cluster[1].failures[0], RegistryError)
