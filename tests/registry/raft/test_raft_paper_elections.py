"""Raft, sections 5.1, 5.2 and 5.4.1, and the dissertation's 4.2.3, 6.2 and 9.6: claim by claim."""

from __future__ import annotations

import pytest
from registry.raft.raft_bench_member import ELECTION_TICKS, BenchMember, log_of, role_members

from tianlu_registry.raft import (
    AppendEntries,
    AppendEntriesResponse,
    HardState,
    Heartbeat,
    HeartbeatResponse,
    RequestVote,
    RequestVoteResponse,
    Role,
)

ROLES = [Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER]


# 5.1 Raft basics


@pytest.mark.parametrize("role", ROLES)
def test_5_1_a_higher_term_makes_a_follower_in_that_term(role: Role):
    """If one server's current term is smaller than the other's, it updates its current term to
    the larger value; a candidate or leader immediately reverts to follower state."""
    member = role_members()[role]
    member.step(member.append(2, term=7))
    assert member.status.role is Role.FOLLOWER
    assert member.status.term == 7
    assert member.status.leader_id == 2
    assert member.hard_state.term == 7


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("pre_vote", [False, True])
def test_5_1_a_request_with_a_stale_term_is_rejected(role: Role, pre_vote: bool):
    member = role_members()[role]
    (answer,) = member.step(member.request(3, term=1, last=(9, 1), pre_vote=pre_vote))
    assert answer == RequestVoteResponse(3, 1, 2, granted=False, pre_vote=pre_vote)


@pytest.mark.parametrize("role", ROLES)
def test_5_1_a_stale_leader_learns_the_present_term(role: Role):
    member = role_members()[role]
    (answer,) = member.step(member.append(3, term=1))
    assert isinstance(answer, AppendEntriesResponse)
    assert answer.term == 2
    (answer,) = member.step(member.heartbeat(3, term=1))
    assert answer.term == 2


def test_5_1_stale_answers_change_nothing():
    member = BenchMember(voters=5, term=3)
    member.become_candidate()
    assert member.step(member.vote(4, term=3)) == []
    assert member.step(member.vote(5, term=3)) == []
    assert member.status.role is Role.CANDIDATE


# 5.2 Leader election


def test_5_2_servers_begin_as_followers():
    assert BenchMember().status.role is Role.FOLLOWER


def test_5_2_a_follower_that_hears_from_its_leader_does_not_campaign():
    member = BenchMember(term=1)
    for _ in range(50):
        member.step(member.heartbeat(2, term=1))
        member.tick(ELECTION_TICKS - 1)
    assert member.status.role is Role.FOLLOWER


def test_5_2_a_leader_sends_heartbeats_to_all_others_to_keep_its_authority():
    member = BenchMember(heartbeat_ticks=3)
    member.become_leader()
    assert member.tick(2) == []
    sent = member.tick()
    assert sent == [Heartbeat(2, 1, 1, 0, 0), Heartbeat(3, 1, 1, 0, 0)]


def test_5_2_a_follower_that_hears_nothing_campaigns():
    """To begin an election, a follower increments its current term, votes for itself and issues
    RequestVote RPCs to all others (after the pre-vote of 9.6)."""
    member = BenchMember(log=log_of(1, 1, 2), term=2)
    asked = member.tick(2 * ELECTION_TICKS)
    assert asked[:2] == [RequestVote(peer, 1, 3, 3, 2, pre_vote=True) for peer in (2, 3)]
    sent = member.step(member.vote(2, term=3, pre_vote=True))
    assert sent == [RequestVote(peer, 1, 3, 3, 2) for peer in (2, 3)]
    assert member.hard_state == HardState(3, 1, 0)


def test_5_2_a_candidate_whose_election_ends_without_a_winner_starts_another():
    member = BenchMember()
    member.become_candidate()
    member.tick(2 * ELECTION_TICKS)
    assert member.status.role is Role.PRE_CANDIDATE
    member.step(member.vote(3, term=2, pre_vote=True))
    assert member.status.role is Role.CANDIDATE
    assert member.status.term == 2


@pytest.mark.parametrize(
    ("voters", "votes", "role"),
    [
        (1, {}, Role.LEADER),
        (3, {2: True, 3: True}, Role.LEADER),
        (3, {2: True}, Role.LEADER),
        (5, {2: True, 3: True}, Role.LEADER),
        (5, {2: True, 3: True, 4: False, 5: False}, Role.LEADER),
        (3, {2: False, 3: False}, Role.FOLLOWER),
        (5, {2: False, 3: False, 4: False}, Role.FOLLOWER),
        (5, {2: True, 3: False, 4: False, 5: False}, Role.FOLLOWER),
        (3, {}, Role.CANDIDATE),
        (5, {2: True}, Role.CANDIDATE),
        (5, {2: False, 3: False}, Role.CANDIDATE),
    ],
)
def test_5_2_a_candidate_wins_with_a_majority_of_the_full_cluster(
    voters: int, votes: dict[int, bool], role: Role
):
    member = BenchMember(voters)
    member.become_candidate()
    for peer, granted in votes.items():
        member.step(member.vote(peer, term=1, granted=granted))
    assert member.status.role is role


def test_5_2_a_repeated_vote_counts_once():
    member = BenchMember(voters=5)
    member.become_candidate()
    for _ in range(3):
        member.step(member.vote(2, term=1))
    assert member.status.role is Role.CANDIDATE


@pytest.mark.parametrize(
    ("vote", "sender", "granted"),
    [(0, 2, True), (0, 3, True), (2, 2, True), (3, 3, True), (2, 3, False), (3, 2, False)],
)
def test_5_2_each_server_votes_for_one_candidate_in_a_term_first_come_first_served(
    vote: int, sender: int, granted: bool
):
    member = BenchMember(term=1, vote=vote)
    (answer,) = member.step(member.request(sender, term=1))
    assert answer == RequestVoteResponse(sender, 1, 1, granted=granted)
    assert member.hard_state.vote == (vote or sender)


@pytest.mark.parametrize("term", [1, 2])
def test_5_2_a_candidate_that_hears_from_a_legitimate_leader_follows_it(term: int):
    for message in ("append", "heartbeat"):
        member = BenchMember()
        member.become_candidate()
        member.step(getattr(member, message)(2, term))
        assert member.status.role is Role.FOLLOWER
        assert member.status.leader_id == 2
        assert member.status.term == term


def test_5_2_election_timeouts_are_random_within_a_fixed_interval():
    waited = {ticks_to_campaign(BenchMember(seed=seed)) for seed in range(200)}
    assert waited == set(range(ELECTION_TICKS, 2 * ELECTION_TICKS))


def ticks_to_campaign(member: BenchMember) -> int:
    ticks = 0
    while member.status.role is Role.FOLLOWER:
        member.tick()
        ticks += 1
    return ticks


def test_5_2_granting_a_vote_puts_off_the_own_campaign_and_refusing_does_not():
    """Figure 2, followers: an election timeout counts from a leader's message or a vote given."""
    timeout = ticks_to_campaign(BenchMember(log=log_of(1), term=2))
    for last, campaigns in (((9, 1), False), ((0, 0), True)):
        member = BenchMember(log=log_of(1), term=2)
        member.tick(timeout - 1)
        member.step(member.request(3, term=2, last=last))
        member.tick()
        assert (member.status.role is Role.PRE_CANDIDATE) is campaigns


def test_5_2_a_vote_is_durable_before_it_is_given():
    """Figure 2: persistent state is updated on stable storage before responding to RPCs."""
    member = BenchMember()
    member.node.step(member.request(2, term=5))
    ready = member.take()
    assert ready.hard_state == HardState(5, 2, 0)
    assert ready.messages == ()
    assert not member.node.has_ready()
    member.persist(ready)
    assert member.take().messages == (RequestVoteResponse(2, 1, 5, granted=True),)


def test_5_2_a_candidate_asks_for_votes_only_when_its_own_vote_is_durable():
    member = BenchMember()
    member.node.campaign()
    member.work()
    member.node.step(member.vote(2, term=1, pre_vote=True))
    ready = member.take()
    assert ready.hard_state == HardState(1, 1, 0)
    assert ready.messages == ()
    member.persist(ready)
    assert member.take().messages == (RequestVote(2, 1, 1, 0, 0), RequestVote(3, 1, 1, 0, 0))


# 5.4.1 Election restriction


@pytest.mark.parametrize(
    ("log", "last", "granted"),
    [
        # same log
        ([1], (1, 1), True),
        ([1], (2, 1), True),
        ([1, 1], (1, 1), False),
        # candidate's last term higher
        ([1], (1, 2), True),
        ([1, 1], (1, 2), True),
        # voter's last term higher
        ([2], (1, 1), False),
        ([2], (2, 1), False),
        ([2, 1 + 1], (1, 1), False),
    ],
)
def test_5_4_1_a_voter_denies_its_vote_if_its_own_log_is_more_up_to_date(
    log: list[int], last: tuple[int, int], granted: bool
):
    for pre_vote in (False, True):
        member = BenchMember(log=log_of(*log))
        (answer,) = member.step(member.request(2, term=3, last=last, pre_vote=pre_vote))
        assert isinstance(answer, RequestVoteResponse)
        assert answer.granted is granted


# Dissertation, 9.6: PreVote


def test_9_6_a_pre_vote_changes_neither_term_nor_vote_of_anyone():
    voter = BenchMember(term=1, vote=3)
    (answer,) = voter.step(voter.request(2, term=2, pre_vote=True))
    assert answer == RequestVoteResponse(2, 1, 2, granted=True, pre_vote=True)
    assert (voter.status.term, voter.status.vote) == (1, 3)
    asking = BenchMember(term=1, vote=3)
    asking.node.campaign()
    asking.work()
    assert (asking.status.term, asking.status.vote) == (1, 3)


def test_9_6_a_member_that_was_cut_off_does_not_raise_its_term():
    member = BenchMember(term=1)
    member.tick(50 * ELECTION_TICKS)
    assert member.status.role is Role.PRE_CANDIDATE
    assert member.status.term == 1


def test_9_6_without_a_quorum_of_pre_votes_there_is_no_election():
    member = BenchMember(term=1)
    member.node.campaign()
    member.work()
    for peer in (2, 3):
        member.step(member.vote(peer, term=1, granted=False, pre_vote=True))
    assert member.status.role is Role.FOLLOWER
    assert member.status.term == 1


def test_9_6_a_rejection_of_a_higher_term_is_followed():
    member = BenchMember(term=1)
    member.node.campaign()
    member.work()
    member.step(member.vote(2, term=9, granted=False, pre_vote=True))
    assert member.status.role is Role.FOLLOWER
    assert member.status.term == 9


def test_9_6_a_late_pre_vote_is_no_vote():
    member = BenchMember(voters=5)
    member.become_candidate()
    assert member.status.role is Role.CANDIDATE
    for peer in (4, 5):
        member.step(member.vote(peer, term=1, pre_vote=True))
    assert member.status.role is Role.CANDIDATE


def test_9_6_a_late_vote_is_no_pre_vote():
    member = BenchMember(voters=5)
    member.become_candidate()
    member.tick(2 * ELECTION_TICKS)
    assert member.status.role is Role.PRE_CANDIDATE
    for peer in (4, 5):
        member.step(member.vote(peer, term=1))
    assert member.status.role is Role.PRE_CANDIDATE


@pytest.mark.parametrize("pre_vote", [False, True])
def test_4_2_3_whoever_hears_from_a_leader_ignores_candidates(pre_vote: bool):
    member = BenchMember(term=1)
    member.step(member.heartbeat(2, term=1))
    member.tick(ELECTION_TICKS - 1)
    assert member.step(member.request(3, term=2, last=(9, 1), pre_vote=pre_vote)) == []
    assert member.status.term == 1
    member.tick()
    (answer,) = member.step(member.request(3, term=2, last=(9, 1), pre_vote=pre_vote))
    assert isinstance(answer, RequestVoteResponse)
    assert answer.granted


def test_4_2_3_a_leader_with_a_quorum_ignores_candidates():
    member = BenchMember()
    member.become_leader()
    for _ in range(5 * ELECTION_TICKS):
        member.tick()
        member.step(HeartbeatResponse(1, 2, 1))
        assert member.step(member.request(3, term=2, last=(9, 1))) == []
    assert member.status.role is Role.LEADER


# Dissertation, 6.2: a leader without a quorum steps down


def test_6_2_a_leader_that_hears_from_no_quorum_for_an_election_timeout_steps_down():
    member = BenchMember(voters=5)
    member.become_leader()
    for _ in range(3):
        member.step(HeartbeatResponse(1, 4, 1))
        member.step(HeartbeatResponse(1, 5, 1))
        member.tick(ELECTION_TICKS)
        assert member.status.role is Role.LEADER
    member.step(HeartbeatResponse(1, 4, 1))  # two of five
    member.tick(ELECTION_TICKS)
    assert member.status.role is Role.FOLLOWER
    assert member.status.leader_id == 0


def test_6_2_learners_make_no_quorum():
    member = BenchMember(voters=3, learners=2)
    member.become_leader()
    member.tick(ELECTION_TICKS)
    for learner in (4, 5):
        member.step(HeartbeatResponse(1, learner, 1))
    member.tick(ELECTION_TICKS)
    assert member.status.role is Role.FOLLOWER


def test_learners_are_not_asked_for_votes_but_are_replicated_to():
    member = BenchMember(voters=3, learners=1)
    requests = member.become_candidate()
    assert {request.to for request in requests} == {2, 3}
    appends = member.step(member.vote(2, term=1))
    assert {append.to for append in appends if isinstance(append, AppendEntries)} == {2, 3, 4}
