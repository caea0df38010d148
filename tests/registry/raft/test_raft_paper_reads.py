"""Linearizable reads: the dissertation's section 6.4, claim by claim."""

from __future__ import annotations

import pytest
from registry.raft.raft_bench_member import BenchMember, log_of

from tianlu_registry.errors import TooManyRequests
from tianlu_registry.raft import (
    Heartbeat,
    HeartbeatResponse,
    ReadIndexRequest,
    ReadIndexResponse,
    ReadState,
    Role,
)


def leader(voters: int = 3, **settings: int) -> BenchMember:
    """A leader that has committed its first entry."""
    member = BenchMember(voters, **settings)
    member.become_leader()
    for peer in range(2, voters + 1):
        member.step(member.accept(peer, index=1))
    return member


def read_round(messages: list) -> int:
    """The round that the heartbeats among these messages ask to be confirmed."""
    rounds = {message.read_round for message in messages if isinstance(message, Heartbeat)}
    return max(rounds, default=0)


def test_6_4_a_leader_waits_until_it_has_committed_an_entry_of_its_term():
    member = BenchMember(log=log_of(1, 1), commit=1)
    member.become_leader()
    member.node.read_index(7)
    assert read_round(member.work()) == 0
    sent = member.step(member.accept(2, index=3))
    member.step(HeartbeatResponse(1, 2, member.status.term, read_round(sent)))
    assert member.read_states == [ReadState(3, 7)]


@pytest.mark.parametrize(("voters", "answers"), [(3, 1), (5, 2)])
def test_6_4_a_read_needs_a_round_of_heartbeats_answered_by_a_majority(voters: int, answers: int):
    member = leader(voters)
    member.node.read_index(7)
    asked = read_round(member.work())
    assert asked
    for peer in range(2, 2 + answers):
        assert member.read_states == []
        member.step(HeartbeatResponse(1, peer, 1, asked))
    assert member.read_states == [ReadState(1, 7)]


def test_6_4_an_answer_to_an_earlier_heartbeat_confirms_nothing():
    member = leader()
    earlier = read_round(member.tick())
    member.node.read_index(7)
    member.work()
    member.step(HeartbeatResponse(1, 2, 1, earlier))
    assert member.read_states == []


def test_6_4_an_answer_confirms_the_reads_before_its_heartbeat_only():
    member = leader()
    member.node.read_index(7)
    first = read_round(member.work())
    member.node.read_index(8)
    second = read_round(member.work())
    member.step(HeartbeatResponse(1, 2, 1, first))
    assert member.read_states == [ReadState(1, 7)]
    member.step(HeartbeatResponse(1, 2, 1, second))
    assert member.read_states == [ReadState(1, 7), ReadState(1, 8)]


def test_6_4_many_reads_cost_one_round():
    member = leader()
    for context in range(100):
        member.node.read_index(context)
    sent = member.work()
    assert len(sent) == 2
    member.step(HeartbeatResponse(1, 2, 1, read_round(sent)))
    assert [state.context for state in member.read_states] == list(range(100))


def test_6_4_a_lost_round_is_repeated_with_the_next_heartbeat():
    member = leader()
    member.node.read_index(7)
    lost = read_round(member.work())
    assert read_round(member.tick()) == lost


def test_6_4_learners_confirm_nothing():
    member = BenchMember(voters=3, learners=2)
    member.become_leader()
    member.step(member.accept(2, index=1))
    member.node.read_index(7)
    asked = read_round(member.work())
    for learner in (4, 5):
        member.step(HeartbeatResponse(1, learner, 1, asked))
    assert member.read_states == []


def test_6_4_the_index_is_the_commit_index_when_the_read_came():
    member = leader()
    member.node.read_index(7)
    asked = read_round(member.work())
    member.node.propose(b"a")
    member.work()
    member.step(member.accept(2, index=2))
    member.step(HeartbeatResponse(1, 3, 1, asked))
    assert member.read_states == [ReadState(1, 7)]


def test_6_4_a_deposed_leader_answers_no_read():
    member = leader()
    member.node.read_index(7)
    asked = read_round(member.work())
    member.step(member.heartbeat(3, term=2))
    assert member.status.role is Role.FOLLOWER
    member.step(HeartbeatResponse(1, 2, 1, asked))
    assert member.read_states == []


def test_6_4_followers_ask_the_leader():
    member = BenchMember(term=1)
    member.step(member.heartbeat(2, term=1))
    member.node.read_index(7)
    assert member.work() == [ReadIndexRequest(2, 1, 7)]
    member.step(ReadIndexResponse(1, 2, 1, 5, 7))
    assert member.read_states == [ReadState(5, 7)]


def test_6_4_a_leader_answers_followers():
    member = leader()
    asked = read_round(member.step(ReadIndexRequest(1, 3, 7)))
    (answer,) = member.step(HeartbeatResponse(1, 2, 1, asked))
    assert answer == ReadIndexResponse(3, 1, 1, 1, 7)
    assert member.read_states == []


def test_a_follower_that_is_taken_for_the_leader_passes_a_read_on():
    member = BenchMember(term=1)
    member.step(member.heartbeat(2, term=1))
    assert member.step(ReadIndexRequest(1, 3, 7)) == [ReadIndexRequest(2, 3, 7)]


def test_pending_reads_are_limited():
    member = leader(reads_pending_max=2)
    member.node.read_index(1)
    member.node.read_index(2)
    with pytest.raises(TooManyRequests):
        member.node.read_index(3)
    assert member.step(ReadIndexRequest(1, 3, 4))  # dropped: the follower asks again
    member.step(HeartbeatResponse(1, 2, 1, 2))
    assert [state.context for state in member.read_states] == [1, 2]
    member.node.read_index(5)


def test_a_follower_answers_heartbeats_with_the_round_that_they_name():
    member = BenchMember(term=1)
    assert member.step(member.heartbeat(2, 1, read_round=4)) == [HeartbeatResponse(2, 1, 1, 4)]


def test_a_read_that_is_confirmed_at_once_cancels_no_heartbeat():
    member = BenchMember(voters=1, learners=1)
    member.become_leader()
    member.node.tick()
    member.node.read_index(7)
    assert [message.to for message in member.work() if isinstance(message, Heartbeat)] == [2]
