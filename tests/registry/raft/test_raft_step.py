"""The table of role and message: it is total, and every pair in it is harmless."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry.raft.raft_bench_member import ELECTION_TICKS, BenchMember, log_of, role_members

from tianlu_registry.errors import InvalidArgument, InvariantBroken
from tianlu_registry.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Config,
    ConfState,
    Entry,
    ForwardedProposal,
    ForwardedTransfer,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    MemberId,
    RawNode,
    ReadIndexRequest,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    Role,
    SnapshotMeta,
    TimeoutNow,
)
from tianlu_registry.raft.messages import ForwardedMessage, TermedMessage
from tianlu_registry.raft.raft import ROLE_TRANSITIONS
from tianlu_registry.raft.step import HANDLERS
from tianlu_registry.storage.log import MemoryLog

MESSAGE_TYPES = {*get_args(TermedMessage), *get_args(ForwardedMessage)}


def test_every_role_has_a_handler_for_every_message():
    assert set(HANDLERS) == set(Role)
    for role in Role:
        assert set(HANDLERS[role]) == MESSAGE_TYPES, role


def test_every_role_says_which_roles_may_follow_it():
    assert set(ROLE_TRANSITIONS) == set(Role)


small = st.integers(0, 4)
senders = st.sampled_from([2, 3, 9])
entry_lists = st.lists(st.integers(1, 3), max_size=3)


def messages() -> st.SearchStrategy:
    """Any message that a correct peer, or one that has left the group, could have sent."""

    def append(sender: int, term: int, previous: int, terms: list[int]) -> AppendEntries:
        run = tuple(Entry(min(t, term), previous + i, b"x") for i, t in enumerate(sorted(terms), 1))
        return AppendEntries(1, sender, term, previous, min(1, previous), run, 0)

    def install(term: int, index: int, snapshot_term: int) -> InstallSnapshot:
        meta = SnapshotMeta(index, min(term, snapshot_term), ConfState((1, 2, 3)))
        return InstallSnapshot(1, 2, term, meta)

    return st.one_of(
        st.builds(
            RequestVote, st.just(1), senders, small, small, small, st.booleans(), st.booleans()
        ),
        st.builds(RequestVoteResponse, st.just(1), senders, small, st.booleans(), st.booleans()),
        st.builds(append, st.just(2), st.integers(1, 4), st.integers(0, 2), entry_lists),
        st.builds(AppendEntriesResponse, st.just(1), senders, small, st.just(1), st.booleans()),
        st.builds(Heartbeat, st.just(1), st.just(2), small, st.just(0), small),
        st.builds(HeartbeatResponse, st.just(1), senders, small, small),
        st.builds(ForwardedProposal, st.just(1), senders, small, st.binary(min_size=1, max_size=3)),
        st.builds(install, st.integers(1, 4), st.integers(1, 6), st.integers(1, 4)),
        st.builds(TimeoutNow, st.just(1), st.just(2), small),
        st.builds(ForwardedTransfer, st.just(1), senders, st.sampled_from([1, 2, 3, 9])),
        st.builds(ReadIndexRequest, st.just(1), senders, small),
        st.builds(ReadIndexResponse, st.just(1), senders, small, small, small),
    )


def is_of_leader(message: object, term: int) -> bool:
    of_leader = AppendEntries | Heartbeat | InstallSnapshot | TimeoutNow
    return isinstance(message, of_leader) and message.term == term


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(Role)), st.lists(messages(), max_size=12), st.data())
def test_no_order_of_messages_lowers_term_or_commit_index(
    role: Role, received: list, data: st.DataObject
):
    member = role_members()[role]
    term, commit, stable_votes = member.status.term, 0, {}
    for message in received:
        if member.status.role is Role.LEADER and is_of_leader(message, member.status.term):
            continue  # a second leader in this term cannot be
        member.step(message)
        if data.draw(st.booleans()):
            member.tick()
        status = member.status
        assert status.term >= term
        assert status.committed >= commit
        assert stable_votes.setdefault(status.term, status.vote) in (0, status.vote)
        stable_votes[status.term] = status.vote
        term, commit = status.term, status.committed
        assert member.hard_state.term == status.term
        assert member.hard_state.vote == status.vote


@pytest.mark.parametrize(
    ("field", "settings_"),
    [
        ("id", {"id": 0}),
        ("heartbeat_ticks", {"heartbeat_ticks": 0}),
        ("election_timeout_ticks", {"election_timeout_ticks": 3, "heartbeat_ticks": 3}),
        ("append_bytes_in_flight_max", {"append_bytes_in_flight_max": 1}),
        ("applying_bytes_max", {"applying_bytes_max": 0}),
        ("applied", {"applied": -1}),
    ],
)
def test_a_config_that_cannot_work_is_refused_by_field(field: str, settings_: dict[str, int]):
    with pytest.raises(InvalidArgument) as caught:
        Config(**{"id": MemberId(1), "random": None, **settings_})
    assert caught.value.field == field


def test_a_member_is_voter_or_learner_not_both():
    log = MemoryLog(ConfState((MemberId(1), MemberId(2)), (MemberId(2),)))
    with pytest.raises(InvariantBroken, match="both voter and learner"):
        RawNode(Config(id=MemberId(1), random=None), log)


def test_the_status_shows_what_a_leader_knows_of_its_peers():
    member = BenchMember(voters=2, learners=1, log=log_of(1, 1))
    member.become_leader()
    member.step(member.accept(2, index=3))
    peer, learner = member.status.peers[2], member.status.peers[3]
    assert (peer.match, peer.next, peer.recent_active, peer.is_learner) == (3, 4, True, False)
    assert (learner.match, learner.recent_active, learner.is_learner) == (0, False, True)
    member.step(member.heartbeat(2, term=9))
    assert member.status.peers == {}


def test_the_status_does_not_call_a_peer_silent_because_the_quorum_was_just_checked():
    member = BenchMember(voters=3, log=log_of(1, 1))
    member.become_leader()
    term = member.status.term
    seen = set()
    for _ in range(3 * ELECTION_TICKS):
        member.step(HeartbeatResponse(MemberId(1), MemberId(2), term))
        member.tick()
        seen.add(member.status.peers[2].recent_active)
    assert member.status.role is Role.LEADER
    assert seen == {True}
    assert not member.status.peers[3].recent_active
