"""Raft, sections 5.3 and 5.4.2, and the dissertation's 3.8 and 10.2.1: claim by claim."""

from __future__ import annotations

from dataclasses import replace

import pytest
from registry.raft.raft_bench_member import BenchMember, log_of

from tianlu_registry.errors import InvariantBroken
from tianlu_registry.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    ForwardedProposal,
    Heartbeat,
    HeartbeatResponse,
    Role,
)


def appends(messages: list) -> list[AppendEntries]:
    return [message for message in messages if isinstance(message, AppendEntries)]


def leader_with_followers(voters: int = 3, **settings: int) -> BenchMember:
    """A leader whose followers hold its first entry."""
    member = BenchMember(voters, **settings)
    member.become_leader()
    for peer in range(2, voters + 1):
        member.step(member.accept(peer, index=1))
    return member


# 5.3 Log replication


def test_5_3_a_leader_appends_a_proposal_and_sends_it_to_all_with_what_precedes_it():
    member = leader_with_followers()
    member.node.propose(b"a")
    member.node.propose(b"b")
    entries = (Entry(1, 2, b"a"), Entry(1, 3, b"b"))
    assert member.work() == [AppendEntries(peer, 1, 1, 1, 1, entries, 1) for peer in (2, 3)]
    assert tuple(member.entries()[1:]) == entries


@pytest.mark.parametrize(
    ("voters", "acknowledging", "committed"),
    [(1, 0, True), (3, 0, False), (3, 1, True), (5, 1, False), (5, 2, True), (5, 4, True)],
)
def test_5_3_an_entry_is_committed_once_a_majority_holds_it(
    voters: int, acknowledging: int, committed: bool
):
    member = leader_with_followers(voters)
    member.node.propose(b"a")
    member.work()
    for peer in range(2, 2 + acknowledging):
        member.step(member.accept(peer, index=2))
    assert (member.applied[-1].data == b"a") is committed


def test_5_3_committing_an_entry_commits_all_that_precede_it():
    log = log_of(1, 1, 2)
    member = BenchMember(log=log)
    member.become_leader()
    assert member.applied == []
    member.step(member.accept(2, index=4))
    assert member.applied == [*log, Entry(3, 4, b"")]


def test_5_3_followers_learn_the_commit_index_with_the_next_append():
    member = leader_with_followers()
    member.node.propose(b"a")
    member.work()
    sent = member.step(member.accept(2, index=2))
    assert AppendEntries(2, 1, 1, 2, 1, (), 2) in sent
    member.node.propose(b"b")
    assert {append.commit for append in appends(member.work())} == {2}


def test_5_3_a_follower_applies_what_is_committed_in_log_order():
    member = BenchMember(term=1)
    log = log_of(1, 1, 1)
    member.step(member.append(2, 1, entries=log, commit=2))
    assert member.applied == log[:2]
    member.step(member.append(2, 1, previous=(3, 1), commit=3))
    assert member.applied == log


@pytest.mark.parametrize(
    ("previous", "accepted"),
    [((0, 0), True), ((1, 1), True), ((2, 2), True), ((1, 2), False), ((3, 3), False)],
)
def test_5_3_a_follower_refuses_entries_if_its_log_differs_before_them(
    previous: tuple[int, int], accepted: bool
):
    member = BenchMember(log=log_of(1, 2))
    (answer,) = member.step(member.append(2, 2, previous))
    assert isinstance(answer, AppendEntriesResponse)
    assert answer.rejected is not accepted


@pytest.mark.parametrize(
    ("previous", "terms", "result"),
    [
        ((2, 2), [3], [1, 2, 3]),
        ((1, 1), [3, 4], [1, 3, 4]),
        ((0, 0), [1], [1, 2]),
        ((0, 0), [3], [3]),
        ((1, 1), [2], [1, 2]),
    ],
)
def test_5_3_a_follower_removes_what_conflicts_and_keeps_what_does_not(
    previous: tuple[int, int], terms: list[int], result: list[int]
):
    member = BenchMember(log=log_of(1, 2))
    entries = [
        Entry(term, previous[0] + i, b"%d" % (previous[0] + i)) for i, term in enumerate(terms, 1)
    ]
    member.step(member.append(2, 4, previous, entries))
    assert [entry.term for entry in member.entries()] == result


def test_5_3_an_old_append_does_not_shorten_the_log():
    member = BenchMember(term=1)
    log = log_of(1, 1, 1)
    member.step(member.append(2, 1, entries=log))
    (answer,) = member.step(member.append(2, 1, entries=log[:1]))
    assert answer == AppendEntriesResponse(2, 1, 1, 1)
    assert member.entries() == log


def test_5_3_a_follower_does_not_commit_beyond_what_it_was_just_sent():
    """It may hold more entries, from another leader, that are not yet known to agree."""
    member = BenchMember(log=log_of(1, 1, 1))
    member.step(member.append(2, 2, entries=log_of(1), commit=3))
    assert member.status.committed == 1


@pytest.mark.parametrize(
    "follower_terms",
    [
        # figure 7, (a) to (f), against a leader of 1 1 1 4 4 5 5 6 6 6
        [1, 1, 1, 4, 4, 5, 5, 6, 6],
        [1, 1, 1, 4],
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        [1, 1, 1, 4, 4, 4, 4],
        [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ],
)
def test_5_3_a_leader_brings_any_follower_to_its_own_log(follower_terms: list[int]):
    # Both are number 1 on their benches; to the leader the follower is 2, to it the leader is 3.
    leader = BenchMember(log=log_of(1, 1, 1, 4, 4, 5, 5, 6, 6, 6), term=7)
    follower = BenchMember(log=log_of(*follower_terms), term=7)
    first = leader.become_leader()
    messages = [message for message in first if message.to == 2]
    exchanged = 0
    while messages:
        exchanged += 1
        assert exchanged <= 3, "more than a probe, the entries and the commit index"
        answers = follower.step(replace(messages.pop(0), to=1, sender=3))
        for answer in answers:
            messages += [m for m in leader.step(replace(answer, to=1, sender=2)) if m.to == 2]
    assert follower.entries() == leader.entries()


def test_5_3_a_lost_append_is_noticed_and_sent_again():
    member = leader_with_followers()
    member.node.propose(b"lost")
    member.work()
    member.node.propose(b"arrives")
    member.work()
    rejection = AppendEntriesResponse(1, 2, 1, 2, rejected=True, hint_index=1, hint_term=1)
    (again,) = appends(member.step(rejection))
    assert (again.to, again.prev_index) == (2, 1)
    assert [entry.data for entry in again.entries] == [b"lost", b"arrives"]


def test_5_3_a_follower_that_missed_everything_is_found_by_its_heartbeat():
    member = leader_with_followers()
    member.node.propose(b"lost")
    member.work()
    (probe,) = appends(member.step(HeartbeatResponse(1, 2, 1)))
    assert (probe.to, probe.prev_index, probe.entries) == (2, 2, ())


def test_a_heartbeat_does_not_commit_what_a_follower_may_not_hold():
    member = leader_with_followers()
    member.node.propose(b"a")
    member.work()
    member.step(member.accept(2, index=2))
    assert member.tick() == [Heartbeat(2, 1, 1, 2), Heartbeat(3, 1, 1, 1)]


def test_large_appends_are_split_and_the_window_is_respected():
    member = leader_with_followers(append_bytes_max=10, append_messages_in_flight_max=2)
    for _ in range(5):
        member.node.propose(b"x" * 8)
    sent = appends(member.work())
    assert [(m.to, len(m.entries), m.prev_index) for m in sent] == [
        (2, 1, 1),
        (2, 1, 2),
        (3, 1, 1),
        (3, 1, 2),
    ]
    sent = [m for m in appends(member.step(member.accept(2, index=2))) if m.to == 2]
    assert [(len(m.entries), m.prev_index) for m in sent if m.entries] == [(1, 3)]


def test_with_a_full_window_only_probes_go_out():
    member = leader_with_followers(append_messages_in_flight_max=1)
    for data in (b"a", b"b", b"c"):
        member.node.propose(data)
        member.work()
    for _ in range(3):
        (probe,) = appends(member.step(HeartbeatResponse(1, 2, 1)))
        assert probe.entries == ()
    assert member.status.peers[2].in_flight == 1


def test_a_follower_that_needs_compacted_entries_is_told_of_and_gets_heartbeats_only():
    member = leader_with_followers()
    for data in (b"a", b"b"):
        member.node.propose(data)
    member.work()
    member.step(member.accept(2, index=3))
    member.log.compact(3)
    rejection = AppendEntriesResponse(1, 3, 1, 1, rejected=True, hint_index=0, hint_term=0)
    member.step(rejection)
    rejection = AppendEntriesResponse(1, 3, 1, 3, rejected=True, hint_index=1, hint_term=1)
    assert appends(member.step(rejection)) == []
    assert member.status.peers[3].needs_snapshot
    assert not member.status.peers[2].needs_snapshot
    assert {message.to for message in member.tick()} == {2, 3}


# 5.4.2 Committing entries from previous terms


@pytest.mark.parametrize(("acknowledged", "committed"), [(1, 0), (2, 0), (3, 3)])
def test_5_4_2_only_entries_of_the_current_term_are_committed_by_counting(
    acknowledged: int, committed: int
):
    member = BenchMember(log=log_of(1, 2), term=2)
    member.become_leader()
    member.step(member.accept(2, index=acknowledged))
    assert member.status.committed == committed


# Dissertation, 3.8 and 10.2.1: durability


def test_3_8_a_follower_acknowledges_entries_only_when_they_are_durable():
    member = BenchMember(term=1)
    member.node.step(member.append(2, 1, entries=log_of(1, 1)))
    ready = member.take()
    assert len(ready.entries) == 2
    assert ready.messages == ()
    member.persist(ready)
    assert member.take().messages == (AppendEntriesResponse(2, 1, 1, 2),)


def test_3_8_an_acknowledgement_of_old_entries_still_waits_for_writes_under_way():
    member = BenchMember(term=1)
    member.node.step(member.append(2, 1, entries=log_of(1, 1)))
    ready = member.take()
    member.node.step(member.append(2, 1, entries=log_of(1, 1)))  # the same once more
    assert member.take().messages == ()
    member.persist(ready)
    assert member.take().messages == (AppendEntriesResponse(2, 1, 1, 2),) * 2


def test_3_8_with_nothing_to_write_an_answer_leaves_at_once():
    member = BenchMember(log=log_of(1), term=1)
    member.node.step(member.append(2, 1, previous=(9, 1)))
    ready = member.take()
    assert not ready.must_sync
    assert len(ready.messages) == 1


def test_10_2_1_a_leader_sends_entries_before_they_are_on_its_own_disk():
    member = leader_with_followers()
    member.node.propose(b"a")
    ready = member.take()
    assert [message.to for message in ready.messages] == [2, 3]


def test_10_2_1_it_may_even_commit_before_they_are_but_applies_only_what_it_holds():
    member = leader_with_followers()
    member.node.propose(b"a")
    ready = member.take()
    for peer in (2, 3):
        member.node.step(member.accept(peer, index=2))
    assert member.status.committed == 2
    assert member.take().committed_entries == ()
    member.persist(ready)
    assert member.take().committed_entries == (Entry(1, 2, b"a"),)


def test_10_2_1_a_leader_does_not_count_itself_before_its_write_is_durable():
    member = leader_with_followers(voters=3)
    member.node.propose(b"a")
    ready = member.take()
    assert member.status.committed == 1
    member.persist(ready)
    assert member.status.committed == 1
    member.node.step(member.accept(2, index=2))
    assert member.status.committed == 2


def test_an_overwritten_write_that_completes_late_acknowledges_nothing_new():
    """A-B-A: entries of term 1 are being written, are replaced by term 2's, and these by the first
    ones again. The first write's completion says nothing about the third."""
    member = BenchMember(term=1)
    first = log_of(1, 1)
    member.node.step(member.append(2, 1, entries=first))
    write_a = member.take()
    member.node.step(member.append(3, 2, entries=[Entry(2, 1, b"B")]))
    write_b = member.take()
    member.node.step(member.append(2, 3, entries=first))
    write_c = member.take()
    assert write_c.entries == tuple(first)
    member.persist(write_a)
    assert member.status.stable_index == 0
    member.persist(write_b)
    assert member.status.stable_index == 0
    member.persist(write_c)
    assert member.status.stable_index == 2
    assert member.entries() == first


# Proposals at a follower


def test_a_follower_passes_a_proposal_on_to_its_leader():
    member = BenchMember(term=1)
    member.step(member.heartbeat(2, term=1))
    member.node.propose(b"a")
    assert member.work() == [ForwardedProposal(2, 1, 1, b"a")]


def test_a_leader_appends_a_forwarded_proposal():
    member = leader_with_followers()
    member.step(ForwardedProposal(1, 3, member.status.term, b"a"))
    assert member.entries()[-1].data == b"a"


def test_a_forwarded_proposal_beyond_the_limit_is_dropped():
    member = leader_with_followers(uncommitted_bytes_max=1)
    member.step(ForwardedProposal(1, 3, member.status.term, b"fits"))
    member.step(ForwardedProposal(1, 3, member.status.term, b"does not"))
    assert member.entries()[-1].data == b"fits"


def test_a_forwarded_proposal_is_appended_in_its_own_term_or_never():
    member = leader_with_followers()
    last = member.status.last_index
    term = member.status.term
    for other in (term - 1, term + 1):
        assert member.step(ForwardedProposal(1, 3, other, b"a")) == []
    assert member.status.last_index == last
    assert member.status.term == term


def test_a_follower_that_is_taken_for_the_leader_drops_a_proposal():
    member = BenchMember(term=1)
    member.step(member.heartbeat(2, term=1))
    assert member.step(ForwardedProposal(1, 3, 1, b"a")) == []
    assert member.step(ForwardedProposal(1, 3, 9, b"a")) == []
    assert member.status.term == 1


# What cannot be


def test_a_second_leader_in_a_term_stops_the_member():
    member = BenchMember(term=1)
    member.step(member.heartbeat(2, term=1))
    with pytest.raises(InvariantBroken, match="both lead term 1"):
        member.step(member.heartbeat(3, term=1))


def test_replacing_a_committed_entry_stops_the_member():
    member = BenchMember(log=log_of(1, 1), commit=2)
    with pytest.raises(InvariantBroken, match="committed entry 2 would be replaced"):
        member.node._raft.log.append_after(1, [Entry(2, 2, b"other")])


def test_a_message_for_another_member_is_dropped():
    member = BenchMember(term=1)
    assert member.step(Heartbeat(3, 2, 5, 0)) == []
    assert member.status.term == 1
    assert member.status.role is Role.FOLLOWER
