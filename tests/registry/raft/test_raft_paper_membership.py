"""Raft dissertation, chapter 4 (membership changes), claim by claim."""

from __future__ import annotations

import pytest
from registry.raft.raft_bench_member import ELECTION_TICKS, BenchMember
from registry.raft.raft_cluster import Cluster

from tianlu_registry.errors import Conflict, InvariantBroken, NoLeader
from tianlu_registry.raft import (
    LEAVE_JOINT,
    AppendEntries,
    ChangeKind,
    ConfChange,
    ConfChangePending,
    ConfState,
    Entry,
    EntryType,
    ForwardedProposal,
    HeartbeatResponse,
    ReadState,
    RequestVote,
    RequestVoteResponse,
    Role,
    TimeoutNow,
    Transition,
    conf_change,
)

VOTER, LEARNER, REMOVE = ChangeKind
SIMPLE, JOINT, EXPLICIT, LEAVE = Transition


def ids(*members: int) -> tuple[int, ...]:
    return members


def change_entry(term: int, index: int, change: ConfChange) -> Entry:
    return Entry(term, index, change.encode(), EntryType.CONF_CHANGE)


def ready_leader(conf_state: ConfState | None = None, voters: int = 3) -> BenchMember:
    """Return a leader that has applied its first entry, at index 1."""
    member = BenchMember(voters=voters, conf_state=conf_state)
    member.become_leader()
    for peer in range(2, voters + 1):
        member.step(member.accept(peer, 1))
    assert member.status.applied == 1
    return member


def change(member: BenchMember, wanted: ConfChange, *acknowledging: int) -> None:
    """Propose a change and let others acknowledge it."""
    member.node.propose_conf_change(wanted)
    member.work()
    index = member.status.last_index
    for peer in acknowledging:
        member.step(member.accept(peer, index))


# 4.1 Safety


def test_4_1_one_change_at_a_time():
    member = ready_leader()
    change(member, conf_change(SIMPLE, (VOTER, 4)))
    with pytest.raises(ConfChangePending):
        member.node.propose_conf_change(conf_change(SIMPLE, (VOTER, 5)))
    member.step(member.accept(2, 2))
    member.node.propose_conf_change(conf_change(SIMPLE, (VOTER, 5)))


def test_4_1_a_new_leader_takes_no_change_before_it_has_applied_an_entry_of_its_own_term():
    """Ongaro's correction of 2015 to the single-server change."""
    member = BenchMember()
    member.become_leader()
    with pytest.raises(ConfChangePending):
        member.node.propose_conf_change(conf_change(SIMPLE, (VOTER, 4)))


def test_4_1_a_member_does_not_campaign_by_a_membership_that_it_knows_to_be_old():
    entries = [Entry(1, 1), change_entry(1, 2, conf_change(SIMPLE, (VOTER, 4)))]
    member = BenchMember(log=entries, commit=2)
    member.node.tick()
    member.node.campaign()
    member.node.step(TimeoutNow(1, 2, 1))
    assert member.status.role is Role.FOLLOWER
    assert member.status.term == 1
    member.work()  # applies it
    member.node.campaign()
    asked = {message.to for message in member.work()}
    assert asked == {2, 3, 4}


def test_4_1_whoever_stores_a_change_stores_that_the_one_before_is_committed():
    first = change_entry(1, 1, conf_change(SIMPLE, (VOTER, 4)))
    member = BenchMember(term=1)
    member.step(member.append(2, 1, entries=[first]))
    second = change_entry(1, 2, conf_change(SIMPLE, (VOTER, 5)))
    member.node.step(member.append(2, 1, (1, 1), [second], commit=1))
    ready = member.node.ready()
    assert ready.entries == (second,)
    assert ready.hard_state is not None
    assert ready.hard_state.commit == 1


def test_4_1_a_change_is_in_force_once_it_is_applied():
    member = ready_leader()
    change(member, conf_change(SIMPLE, (VOTER, 4)), 2)
    assert member.status.conf_state.voters == ids(1, 2, 3, 4)
    assert set(member.status.peers) == {2, 3, 4}
    member.node.propose(b"x")
    member.work()
    member.step(member.accept(2, 3))
    assert member.status.committed == 2, "two of four are no majority"
    member.step(member.accept(4, 3))
    assert member.status.committed == 3


def test_4_1_what_waited_for_a_larger_quorum_is_committed_with_the_smaller_one():
    member = ready_leader()
    member.node.propose_conf_change(conf_change(SIMPLE, (REMOVE, 3)))
    member.node.propose(b"x")
    member.work()
    member.step(member.accept(2, 2))
    assert member.status.committed == 2
    smaller = ready_leader(ConfState(ids(1, 2)), voters=2)
    smaller.node.propose_conf_change(conf_change(SIMPLE, (REMOVE, 2)))
    smaller.node.propose(b"x")
    smaller.work()
    smaller.step(smaller.accept(2, 2))
    assert smaller.status.committed == 3, "alone it is a majority"


def test_4_1_a_change_that_does_not_fit_never_reaches_the_log():
    member = ready_leader()
    with pytest.raises(Conflict):
        member.node.propose_conf_change(conf_change(SIMPLE, (REMOVE, 9)))
    wrong = conf_change(SIMPLE, (REMOVE, 9)).encode()
    member.step(ForwardedProposal(1, 2, member.status.term, wrong, EntryType.CONF_CHANGE))
    member.step(ForwardedProposal(1, 2, member.status.term, b"no change", EntryType.CONF_CHANGE))
    assert member.status.last_index == 1


def test_a_follower_passes_a_change_on():
    member = BenchMember(term=1)
    wanted = conf_change(SIMPLE, (VOTER, 4))
    with pytest.raises(NoLeader):
        member.node.propose_conf_change(wanted)
    member.step(member.heartbeat(2, term=1))
    member.node.propose_conf_change(wanted)
    (message,) = member.work()
    assert message == ForwardedProposal(2, 1, 1, wanted.encode(), EntryType.CONF_CHANGE)
    leader = ready_leader()
    sent = leader.step(
        ForwardedProposal(1, 2, leader.status.term, wanted.encode(), EntryType.CONF_CHANGE)
    )
    assert {m.entries[0].type for m in sent if isinstance(m, AppendEntries)} == {
        EntryType.CONF_CHANGE
    }


# 4.2 Availability


def test_4_2_1_a_learner_gets_entries_but_counts_in_no_majority():
    member = ready_leader(ConfState(ids(1, 2)), voters=2)
    change(member, conf_change(SIMPLE, (LEARNER, 3)), 2)
    member.node.propose(b"x")
    sent = member.work()
    assert {m.to for m in sent if isinstance(m, AppendEntries)} >= {2}
    member.step(member.accept(3, 3))
    assert member.status.committed == 2
    change(member, conf_change(SIMPLE, (VOTER, 3)), 2)
    assert member.status.conf_state == ConfState(ids(1, 2, 3))
    assert not member.status.peers[3].is_learner


def test_4_2_1_a_promoted_learner_keeps_its_progress():
    member = ready_leader(ConfState(ids(1, 2), ids(3)), voters=2)
    member.step(member.accept(3, 1))
    change(member, conf_change(SIMPLE, (VOTER, 3)), 2)
    assert member.status.peers[3].match == 1


def test_4_2_2_a_leader_that_is_removed_steps_down_once_that_is_committed():
    member = ready_leader()
    member.node.propose_conf_change(conf_change(SIMPLE, (REMOVE, 1)))
    member.work()
    assert member.status.role is Role.LEADER
    sent = member.step(member.accept(2, 2))
    assert member.status.role is Role.FOLLOWER
    assert [m.commit for m in sent if isinstance(m, AppendEntries) and m.to == 2] == [2]
    member.tick(5 * ELECTION_TICKS)
    assert member.status.role is Role.FOLLOWER


def test_4_2_2_so_does_one_that_becomes_a_learner():
    member = ready_leader()
    change(member, conf_change(SIMPLE, (LEARNER, 1)), 2)
    assert member.status.role is Role.FOLLOWER
    assert member.status.conf_state.learners == ids(1)


def test_a_handover_to_a_member_that_is_removed_ends():
    member = ready_leader()
    member.node.propose_conf_change(conf_change(SIMPLE, (REMOVE, 3)))
    member.node.transfer_leadership(3)
    member.work()
    member.step(member.accept(2, 2))
    assert member.status.transferee == 0


def test_a_new_member_is_heard_of_before_it_has_spoken():
    """Else a leader might step down before the new one has had time to answer."""
    member = ready_leader(ConfState(ids(1)), voters=1)
    change(member, conf_change(SIMPLE, (VOTER, 2)))
    member.tick(ELECTION_TICKS)
    assert member.status.role is Role.LEADER


# 4.3 Joint consensus


def joint_leader() -> BenchMember:
    """Return the leader 1 of (1 4 5)&&(1 2 3)."""
    member = ready_leader()
    change(
        member,
        conf_change(EXPLICIT, (REMOVE, 2), (REMOVE, 3), (VOTER, 4), (VOTER, 5)),
        2,
    )
    assert member.status.conf_state == ConfState(ids(1, 4, 5), (), ids(1, 2, 3))
    return member


@pytest.mark.parametrize("majority", [(2, 3), (4, 5)])
def test_4_3_agreement_needs_a_majority_of_each_configuration(majority: tuple[int, int]):
    member = joint_leader()
    member.node.propose(b"x")
    member.work()
    for peer in majority:
        member.step(member.accept(peer, 3))
    assert member.status.committed == 2
    member.step(member.accept(4 if 2 in majority else 2, 3))
    assert member.status.committed == 3


def test_4_3_so_does_an_election():
    member = BenchMember(conf_state=ConfState(ids(1, 4, 5), (), ids(1, 2, 3)))
    member.node.campaign()
    sent = member.work()
    assert {m.to for m in sent if isinstance(m, RequestVote)} == {2, 3, 4, 5}
    for peer in (2, 3):
        member.step(member.vote(peer, 1, pre_vote=True))
    assert member.status.role is Role.PRE_CANDIDATE
    member.step(member.vote(4, 1, pre_vote=True))
    assert member.status.role is Role.CANDIDATE
    for peer in (4, 5):
        member.step(member.vote(peer, 1))
    assert member.status.role is Role.CANDIDATE
    member.step(member.vote(2, 1))
    assert member.status.role is Role.LEADER


def test_4_3_and_a_read():
    member = joint_leader()
    member.node.read_index(7)
    member.work()
    for peer in (2, 3):
        member.step(HeartbeatResponse(1, peer, 1, 1))
    assert member.read_states == []
    member.step(HeartbeatResponse(1, 4, 1, 1))
    assert member.read_states == [ReadState(2, 7)]


def test_4_3_no_other_change_while_the_configuration_is_joint():
    member = joint_leader()
    with pytest.raises(Conflict, match="joint"):
        member.node.propose_conf_change(conf_change(SIMPLE, (VOTER, 6)))


def test_4_3_it_is_left_by_a_change_of_its_own():
    member = joint_leader()
    change(member, LEAVE_JOINT, 4)
    assert member.status.conf_state.voters_outgoing == ids(1, 2, 3)
    member.step(member.accept(2, 3))
    assert member.status.conf_state == ConfState(ids(1, 4, 5))
    assert set(member.status.peers) == {4, 5}


def test_4_3_or_by_the_leader_itself():
    member = ready_leader()
    change(member, conf_change(JOINT, (REMOVE, 3), (VOTER, 4)), 2)
    assert member.status.last_index == 3, "the change that leaves was appended"
    member.step(member.accept(2, 3))
    assert member.status.conf_state == ConfState(ids(1, 2, 4))


def test_4_3_a_new_leader_ends_what_the_old_one_began():
    joint = ConfState(ids(1, 2, 4), (), ids(1, 2, 3), auto_leave=True)
    member = BenchMember(conf_state=joint)
    member.become_leader()
    member.step(member.vote(2, 1))
    member.step(member.accept(2, 1))
    assert member.status.last_index == 2
    member.step(member.accept(2, 2))
    assert member.status.conf_state == ConfState(ids(1, 2, 4))


def test_4_3_a_demoted_voter_becomes_a_learner_when_the_joint_configuration_is_left():
    member = ready_leader()
    change(member, conf_change(EXPLICIT, (LEARNER, 3), (VOTER, 4)), 2)
    assert member.status.conf_state.learners_next == ids(3)
    change(member, LEAVE_JOINT, 2)
    assert member.status.conf_state == ConfState(ids(1, 2, 4), ids(3))
    assert member.status.peers[3].is_learner


# Whole clusters


def test_a_cluster_moves_to_other_members_altogether():
    cluster = Cluster(1, voters=3, joining=3)
    leader = cluster.elect(1)
    cluster.propose(leader)
    cluster.settle()
    moves = [(REMOVE, 1), (REMOVE, 2), (REMOVE, 3), (VOTER, 4), (VOTER, 5), (VOTER, 6)]
    leader.node.propose_conf_change(conf_change(JOINT, *moves))
    cluster.settle()
    cluster.tick(40)
    new_leader = cluster.leader()
    assert new_leader is not None
    assert new_leader.id in (4, 5, 6)
    data = cluster.propose(new_leader)
    cluster.tick(3)
    for member in (4, 5, 6):
        assert cluster.member(member).applied[-1].data == data
        assert cluster.member(member).node.status().conf_state == ConfState(ids(4, 5, 6))


def test_the_leader_of_two_can_be_removed():
    cluster = Cluster(1, voters=2)
    cluster.elect(1)
    cluster.member(2).node.propose_conf_change(conf_change(SIMPLE, (REMOVE, 1)))
    cluster.settle()
    cluster.member(1).crash()
    cluster.tick(30)
    leader = cluster.leader()
    assert leader is cluster.member(2)
    assert leader.node.status().conf_state == ConfState(ids(2))


def test_who_refuses_a_vote_tells_what_is_committed():
    """Member 1, the removed leader of two, is the only one to know that it is, and its log is
    longer than that of member 2, who needs its vote by the membership that it knows."""
    cluster = Cluster(1, voters=2)
    cluster.elect(1)
    cluster.member(1).node.propose_conf_change(conf_change(SIMPLE, (REMOVE, 1)))
    cluster.member(1).work()
    cluster.member(1).persist(1)
    cluster.deliver(0)
    cluster.propose(cluster.member(1))
    cluster.member(2).work()
    cluster.member(2).persist(1)
    cluster.member(2).work()
    cluster.network[:] = [message for message in cluster.network if message.to == 1]
    cluster.deliver(0)
    while cluster.member(1).node.has_ready():
        cluster.member(1).work()
    assert cluster.member(1).node.status().conf_state.voters == ids(2)
    cluster.network.clear()  # what the leader said at last is lost
    assert cluster.member(2).node.status().conf_state.voters == ids(1, 2)
    assert cluster.member(2).node.status().last_index < cluster.member(1).node.status().last_index
    cluster.tick(30)
    assert cluster.leader() is cluster.member(2)
    assert cluster.member(2).node.status().conf_state.voters == ids(2)


def test_a_candidate_that_learns_of_a_membership_change_gives_up():
    entries = [Entry(1, 1), change_entry(1, 2, conf_change(SIMPLE, (VOTER, 4)))]
    member = BenchMember(log=entries)
    member.become_candidate()
    refusal = RequestVoteResponse(1, 2, 2, granted=False, commit=2, commit_term=1)
    member.node.step(refusal)
    assert member.status.role is Role.FOLLOWER
    assert member.status.committed == 2


def test_what_is_committed_elsewhere_is_believed_only_of_the_same_entries():
    member = BenchMember(log=[Entry(1, 1), Entry(1, 2)])
    member.become_candidate()
    member.step(RequestVoteResponse(1, 2, 2, granted=False, commit=2, commit_term=2))
    member.step(RequestVoteResponse(1, 2, 1, granted=False, commit=9, commit_term=1))
    assert member.status.committed == 0
    member.step(RequestVoteResponse(1, 2, 1, granted=False, commit=1, commit_term=1))
    assert member.status.committed == 1, "true in every term"


def test_a_committed_change_that_does_not_fit_stops_the_member():
    entries = [change_entry(1, 1, LEAVE_JOINT)]
    member = BenchMember(log=entries, commit=1)
    with pytest.raises(InvariantBroken, match="entry 1"):
        member.work()
