"""Raft dissertation, section 3.10 (leadership transfer), claim by claim."""

from __future__ import annotations

import pytest
from registry.raft.raft_bench_member import ELECTION_TICKS, BenchMember, log_of
from registry.raft.raft_cluster import Cluster

from tianlu_registry.errors import InvalidArgument, NoLeader
from tianlu_registry.raft import (
    ForwardedProposal,
    ForwardedTransfer,
    MemberId,
    RequestVote,
    RequestVoteResponse,
    Role,
    TimeoutNow,
)

TWO = MemberId(2)


def leader_with_peer_at(index: int) -> BenchMember:
    """Return the leader of term 2, whose log ends at 3; member 2 has acknowledged `index`."""
    member = BenchMember(log=log_of(1, 1), term=1)
    member.become_leader()
    member.step(member.accept(2, index))
    return member


def test_3_10_a_prior_leader_stops_accepting_proposals():
    member = leader_with_peer_at(3)
    member.node.transfer_leadership(TWO)
    with pytest.raises(NoLeader):
        member.node.propose(b"x")
    assert member.step(ForwardedProposal(1, 3, member.status.term, b"x")) == [TimeoutNow(2, 1, 2)]
    assert member.status.last_index == 3
    assert member.status.transferee == 2


def test_3_10_it_brings_the_target_up_to_date_and_then_asks_it_to_campaign():
    member = leader_with_peer_at(2)
    member.node.transfer_leadership(TWO)
    assert not any(isinstance(message, TimeoutNow) for message in member.work())
    assert member.step(member.accept(2, 3))[-1:] == [TimeoutNow(2, 1, 2)]


def test_3_10_a_target_that_is_up_to_date_is_asked_at_once():
    member = leader_with_peer_at(3)
    member.node.transfer_leadership(TWO)
    assert TimeoutNow(2, 1, 2) in member.work()


def test_3_10_a_lost_request_is_repeated_with_the_next_answer():
    member = leader_with_peer_at(3)
    member.node.transfer_leadership(TWO)
    member.work()
    assert TimeoutNow(2, 1, 2) in member.step(member.accept(2, 3))


def test_3_10_the_target_starts_an_election_without_waiting_and_without_pre_vote():
    member = BenchMember(log=log_of(1, 1))
    member.step(member.heartbeat(2, term=1))
    sent = member.step(TimeoutNow(1, 2, 1))
    assert sent == [RequestVote(peer, 1, 2, 2, 1, by_transfer=True) for peer in (2, 3)]
    assert member.status.role is Role.CANDIDATE


def test_3_10_a_learner_does_not_follow_the_request():
    member = BenchMember(voters=2, learners=1)
    learner = BenchMember(voters=2, learners=1, member_id=3)
    assert learner.step(TimeoutNow(3, 1, 1)) == []
    assert learner.status.role is Role.FOLLOWER
    member.become_leader()
    with pytest.raises(InvalidArgument, match="voter"):
        member.node.transfer_leadership(MemberId(3))


def test_4_2_3_servers_that_hear_a_leader_vote_if_it_has_asked_for_the_election():
    member = BenchMember(term=1)
    member.step(member.heartbeat(2, term=1))
    assert member.step(RequestVote(1, 3, 2, 0, 0)) == []
    sent = member.step(RequestVote(1, 3, 2, 0, 0, by_transfer=True))
    assert sent == [RequestVoteResponse(3, 1, 2, granted=True)]


def test_3_10_after_an_election_timeout_the_prior_leader_resumes():
    member = leader_with_peer_at(2)
    member.node.transfer_leadership(TWO)
    for _ in range(ELECTION_TICKS - 1):
        member.step(member.accept(3, 2))
        member.tick()
    with pytest.raises(NoLeader):
        member.node.propose(b"x")
    member.tick()
    assert member.status.transferee == 0
    member.node.propose(b"x")
    assert member.status.last_index == 4


def test_the_leaders_own_number_cancels_and_another_replaces():
    member = leader_with_peer_at(2)
    member.node.transfer_leadership(TWO)
    member.node.transfer_leadership(MemberId(3))
    assert member.status.transferee == 3
    member.node.transfer_leadership(MemberId(1))
    member.node.propose(b"x")
    assert member.status.transferee == 0


def test_a_follower_passes_the_wish_on():
    member = BenchMember(term=1)
    with pytest.raises(NoLeader):
        member.node.transfer_leadership(TWO)
    member.step(member.heartbeat(2, term=1))
    member.node.transfer_leadership(MemberId(1))
    assert member.work() == [ForwardedTransfer(2, 1, 1)]


def test_leadership_goes_where_it_is_sent_and_nothing_is_lost():
    cluster = Cluster(1, 3)
    cluster.elect(1)
    data = cluster.propose(cluster.member(1))
    cluster.member(3).node.transfer_leadership(TWO)
    cluster.settle()
    assert cluster.leader() is cluster.member(2)
    assert data in [entry.data for entry in cluster.member(2).applied]
