"""Raft, section 7 (log compaction), claim by claim; and how replication goes round a snapshot."""

from __future__ import annotations

import pytest
from registry.raft.raft_bench_member import ELECTION_TICKS, BenchMember, log_of

from tianlu_registry.errors import InvariantBroken
from tianlu_registry.raft import (
    AppendEntries,
    AppendEntriesResponse,
    ChangeKind,
    ConfState,
    Entry,
    HardState,
    HeartbeatResponse,
    Index,
    InstallSnapshot,
    MemberId,
    ProgressState,
    RequestVote,
    RequestVoteResponse,
    SnapshotMeta,
    Term,
    Transition,
    conf_change,
)

TWO = MemberId(2)
THREE = ConfState((MemberId(1), MemberId(2), MemberId(3)))


def meta(index: int, term: int, conf_state: ConfState = THREE) -> SnapshotMeta:
    return SnapshotMeta(Index(index), Term(term), conf_state)


def install(index: int, term: int, *, sender_term: int = 2) -> InstallSnapshot:
    return InstallSnapshot(MemberId(1), TWO, Term(sender_term), meta(index, term))


def rejection(member: BenchMember, prev: int, hint: int = 0) -> AppendEntriesResponse:
    return AppendEntriesResponse(1, 2, member.status.term, prev, rejected=True, hint_index=hint)


def compacted_leader() -> BenchMember:
    """Return the leader of term 2 whose log is [4, 6]: all applied, 3 and before compacted."""
    member = BenchMember(log=log_of(1, 1, 1, 1, 1), term=1)
    member.become_leader()
    member.step(member.accept(3, 6))
    assert member.status.applied == 6
    member.log.compact(Index(3))
    return member


def sending_leader() -> BenchMember:
    """Return the same, sending its snapshot to member 2."""
    member = compacted_leader()
    sent = member.step(rejection(member, prev=5))
    assert sent == [InstallSnapshot(2, 1, 2, meta(6, 2))]
    return member


# The leader


def test_7_a_follower_that_needs_discarded_entries_is_sent_a_snapshot():
    member = sending_leader()
    peer = member.status.peers[TWO]
    assert peer.state is ProgressState.SNAPSHOT
    assert (peer.pending_snapshot, peer.needs_snapshot) == (6, True)


def test_a_follower_that_the_log_still_reaches_is_not():
    member = compacted_leader()
    (message,) = member.step(rejection(member, prev=5, hint=3))
    assert isinstance(message, AppendEntries)
    assert (message.prev_index, message.prev_term) == (3, 1)


def test_one_that_is_not_heard_of_is_not():
    member = compacted_leader()
    member.step(rejection(member, prev=5, hint=3))
    member.log.compact(Index(5))
    for _ in range(2):
        member.step(member.accept(3, 6))
        member.tick(ELECTION_TICKS)
    member.node.report_unreachable(TWO)
    member.node.propose(b"x")
    assert not any(isinstance(message, InstallSnapshot) for message in member.work())


def test_nothing_else_is_sent_meanwhile():
    member = sending_leader()
    member.node.propose(b"x")
    sent = [
        *member.work(),
        *member.step(HeartbeatResponse(1, 2, 2)),
        *member.step(rejection(member, 5)),
    ]
    assert not [m for m in sent if m.to == 2]


def test_its_acknowledgement_lets_replication_go_on():
    member = sending_leader()
    member.node.propose(b"x")
    member.work()
    (message,) = [m for m in member.step(member.accept(2, 6)) if m.to == 2]
    assert [entry.data for entry in message.entries] == [b"x"]
    assert member.status.peers[TWO].state is ProgressState.REPLICATE


def test_so_does_that_of_an_older_snapshot_which_the_log_still_reaches():
    """The shell may have sent an older one than the message said (duty 13)."""
    member = sending_leader()
    member.step(member.accept(2, 2))
    assert member.status.peers[TWO].state is ProgressState.SNAPSHOT
    (message,) = [m for m in member.step(member.accept(2, 4)) if m.to == 2]
    assert [entry.index for entry in message.entries] == [5, 6]


def test_a_reported_arrival_is_followed_by_a_probe_behind_it():
    member = sending_leader()
    member.node.report_snapshot(TWO, installed=True)
    assert member.work() == []
    (message,) = member.step(HeartbeatResponse(1, 2, 2))
    assert message.prev_index == 6


def test_a_reported_failure_is_followed_by_another_attempt():
    member = sending_leader()
    member.node.report_snapshot(TWO, installed=False)
    assert member.work() == []
    assert member.step(HeartbeatResponse(1, 2, 2)) == [InstallSnapshot(2, 1, 2, meta(6, 2))]


def test_reports_about_others_change_nothing():
    member = compacted_leader()
    before = member.status
    member.node.report_snapshot(MemberId(3), installed=True)
    member.node.report_snapshot(MemberId(9), installed=True)
    member.node.report_unreachable(MemberId(9))
    assert member.status == before


def test_an_unreachable_peer_is_probed_from_what_it_has_acknowledged():
    member = compacted_leader()
    member.step(rejection(member, prev=5, hint=4))
    member.step(member.accept(2, 4))
    assert member.status.peers[TWO].next == 7
    member.node.report_unreachable(TWO)
    peer = member.status.peers[TWO]
    assert (peer.state, peer.next) == (ProgressState.PROBE, 5)


def test_a_snapshot_stands_for_the_membership_at_its_index():
    member = compacted_leader()
    member.node.propose_conf_change(conf_change(Transition.SIMPLE, (ChangeKind.REMOVE, 3)))
    member.work()
    member.step(member.accept(3, 7))
    assert member.status.conf_state.voters == (1, 2)
    (message,) = member.step(rejection(member, prev=5))
    assert message.snapshot == meta(7, 2, ConfState((1, 2)))


# The follower


def test_7_a_snapshot_with_new_information_replaces_the_whole_log():
    member = BenchMember(log=log_of(1, 1), term=2)
    sent = member.step(install(9, 2))
    assert sent == [AppendEntriesResponse(2, 1, 2, 9)]
    assert member.restored == [meta(9, 2)]
    status = member.status
    assert (status.last_index, status.committed, status.applied) == (9, 9, 9)
    assert member.hard_state == HardState(2, 0, 9)


def test_it_is_acknowledged_when_it_is_durable():
    member = BenchMember(term=2)
    member.node.step(install(9, 2))
    ready = member.take()
    assert ready.snapshot == meta(9, 2)
    assert ready.must_sync
    assert not ready.messages
    assert not member.node.has_ready(), "it is handed out once"
    member.persist(ready)
    assert member.work() == [AppendEntriesResponse(2, 1, 2, 9)]


def test_entries_behind_it_may_come_before_it_is_durable():
    member = BenchMember(term=2)
    member.node.step(install(9, 2))
    first = member.take()
    member.node.step(member.append(2, 2, (9, 2), [Entry(2, 10, b"x")], commit=10))
    second = member.take()
    assert (second.snapshot, second.committed_entries) == (None, ())
    member.persist(first)
    member.persist(second)
    sent = member.work()
    assert [m.index for m in sent] == [9, 10]
    assert [entry.index for entry in member.applied] == [10]


def test_7_a_snapshot_that_describes_a_prefix_of_the_log_keeps_what_follows():
    member = BenchMember(log=log_of(1, 1, 1), term=2)
    assert member.step(install(2, 1)) == [AppendEntriesResponse(2, 1, 2, 2)]
    assert member.restored == []
    status = member.status
    assert (status.last_index, status.committed, status.applied) == (3, 2, 2)


def test_one_that_conflicts_with_the_log_replaces_even_a_longer_one():
    member = BenchMember(log=log_of(1, 1, 1, 1), term=2)
    assert member.step(install(3, 2)) == [AppendEntriesResponse(2, 1, 2, 3)]
    assert member.status.last_index == 3
    assert member.log.last_index == 3


def test_an_old_one_is_answered_and_ignored():
    member = BenchMember(log=log_of(1, 1, 1), term=2, commit=3)
    assert member.step(install(2, 1)) == [AppendEntriesResponse(2, 1, 2, 3)]
    assert member.restored == []


def test_a_stale_leaders_is_refused():
    member = BenchMember(term=5)
    (answer,) = member.step(install(9, 2))
    assert answer.term == 5
    assert member.restored == []


def test_its_membership_is_in_force_at_once():
    member = BenchMember(conf_state=ConfState(), term=2)
    member.step(install(9, 2))
    assert member.status.conf_state == THREE


def test_writes_of_the_log_that_it_replaces_say_nothing_any_more():
    member = BenchMember(term=2)
    member.node.step(member.append(2, 2, entries=log_of(2, 2, 2, 2)))
    old = member.take()
    member.node.step(install(3, 3, sender_term=3))
    new = member.take()
    member.persist(old)
    assert member.status.stable_index == 3
    member.persist(new)
    assert member.log.last_index == 3
    sent = member.work()
    assert sent[-1] == AppendEntriesResponse(2, 1, 3, 3)


def test_what_was_given_out_before_it_may_still_be_reported_as_applied():
    member = BenchMember(log=log_of(1, 1), term=2, commit=2)
    ready = member.node.ready()
    assert len(ready.committed_entries) == 2
    member.step(install(9, 2))
    member.node.on_applied(Index(2))
    assert member.status.applied == 9


def test_of_two_the_newer_counts():
    member = BenchMember(term=2)
    member.node.step(install(5, 2))
    first = member.take()
    member.node.step(install(9, 2))
    second = member.take()
    member.persist(first)
    member.persist(second)
    assert member.log.first_index == 10
    assert member.work()[-1] == AppendEntriesResponse(2, 1, 2, 9)


def test_a_log_that_was_not_replaced_stops_the_member():
    member = BenchMember(term=2)
    member.node.step(install(9, 2))
    ready = member.take()
    with pytest.raises(InvariantBroken, match="begins at 1"):
        member.node.on_persisted(ready.number)


def test_a_vote_given_meanwhile_waits_for_it():
    member = BenchMember(term=2)
    member.node.step(install(9, 2))
    first = member.take()
    member.node.step(RequestVote(1, 3, 3, 9, 2, by_transfer=True))
    second = member.take()
    assert second.messages == ()
    member.persist(first)
    member.persist(second)
    assert member.work()[-1] == RequestVoteResponse(3, 1, 3, granted=True)


# A member that joins


def test_a_member_without_a_membership_asks_for_a_snapshot():
    """A change in the log means nothing without the membership that it changes."""
    member = BenchMember(conf_state=ConfState(), term=1)
    (answer,) = member.step(member.append(2, 1, entries=log_of(1)))
    assert answer == AppendEntriesResponse(2, 1, 1, 0, rejected=True, needs_snapshot=True)
    assert member.status.last_index == 0


def test_and_is_sent_one_even_if_the_log_is_whole():
    member = BenchMember(log=log_of(1, 1), term=1)
    member.become_leader()
    member.step(member.accept(3, 3))
    ask = AppendEntriesResponse(1, 2, 2, 2, rejected=True, needs_snapshot=True)
    assert member.step(ask) == [InstallSnapshot(2, 1, 2, meta(3, 2))]
    assert member.step(ask) == [], "one at a time"
    member.step(member.accept(2, 3))
    assert member.step(ask) == [], "an old answer"


def test_it_never_campaigns():
    member = BenchMember(conf_state=ConfState())
    member.tick(5 * ELECTION_TICKS)
    assert member.status.term == 0


def test_but_it_votes():
    """Those who know the membership may count on it."""
    member = BenchMember(conf_state=ConfState())
    (answer,) = member.step(member.request(2, 3))
    assert answer.granted
