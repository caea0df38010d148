"""A group of one: what every standalone node runs."""

from __future__ import annotations

import random

import pytest

from tianlu_registry.errors import InvalidArgument, InvariantBroken, NoLeader, TooManyRequests
from tianlu_registry.raft import (
    Config,
    ConfState,
    Entry,
    HardState,
    Index,
    MemberId,
    RawNode,
    ReadState,
    Ready,
    Role,
    Term,
)
from tianlu_registry.storage.log import MemoryLog

ONE = MemberId(1)


def make_node(log: MemoryLog | None = None, **settings) -> tuple[RawNode, MemoryLog]:
    log = log or MemoryLog(ConfState((ONE,)))
    return RawNode(Config(id=ONE, random=random.Random(1), **settings), log), log


def persist(node: RawNode, log: MemoryLog, ready: Ready) -> None:
    log.append(ready.entries)
    node.on_persisted(ready.number)


def drive(node: RawNode, log: MemoryLog) -> list[Entry]:
    """Do all work synchronously; return what was applied."""
    applied: list[Entry] = []
    while node.has_ready():
        ready = node.ready()
        if ready.must_sync:
            persist(node, log, ready)
        if ready.committed_entries:
            applied += ready.committed_entries
            node.on_applied(ready.committed_entries[-1].index)
    return applied


def elected(**settings) -> tuple[RawNode, MemoryLog]:
    node, log = make_node(**settings)
    node.campaign()
    drive(node, log)
    return node, log


def test_campaign_makes_it_leader_only_when_its_vote_is_durable():
    node, _log = make_node()
    assert not node.has_ready()
    node.campaign()
    ready = node.ready()
    assert ready.hard_state == HardState(Term(1), ONE, Index(0))
    assert ready.must_sync
    assert node.status().role is Role.CANDIDATE
    node.on_persisted(ready.number)
    assert node.status().role is Role.LEADER


def test_it_campaigns_by_itself_when_time_passes():
    node, log = make_node(election_timeout_ticks=10)
    for _ in range(20):
        node.tick()
    drive(node, log)
    assert node.status().role is Role.LEADER


def test_a_new_leader_opens_its_term_with_an_empty_entry():
    node, log = make_node()
    node.campaign()
    assert drive(node, log) == [Entry(Term(1), Index(1), b"")]


def test_a_proposal_commits_only_when_it_is_durable():
    node, log = elected()
    node.propose(b"a")
    ready = node.ready()
    assert ready.entries == (Entry(Term(1), Index(2), b"a"),)
    assert not node.has_ready()
    assert node.status().committed == 1
    persist(node, log, ready)
    assert node.status().committed == 2
    assert node.ready().committed_entries == (Entry(Term(1), Index(2), b"a"),)


def test_readies_may_be_taken_while_earlier_ones_are_being_written():
    node, log = elected()
    readies = []
    for data in (b"a", b"b", b"c"):
        node.propose(data)
        readies.append(node.ready())
    assert [entry.data for ready in readies for entry in ready.entries] == [b"a", b"b", b"c"]
    for ready in readies:
        log.append(ready.entries)
    node.on_persisted(readies[1].number)
    assert node.status().committed == 3
    node.on_persisted(readies[2].number)
    assert [entry.data for entry in node.ready().committed_entries] == [b"a", b"b", b"c"]


def test_nothing_is_handed_out_twice():
    node, log = elected()
    node.propose(b"a")
    assert [entry.data for entry in drive(node, log)] == [b"a"]
    assert not node.has_ready()
    empty = node.ready()
    assert empty == Ready(empty.number)


def test_the_commit_index_alone_asks_for_no_write_but_goes_with_the_next():
    node, log = elected()
    node.propose(b"a")
    persist(node, log, node.ready())
    committing = node.ready()
    assert committing.committed_entries
    assert not committing.must_sync
    node.propose(b"b")
    assert node.ready().hard_state == HardState(Term(1), ONE, Index(2))


def test_the_bytes_given_out_to_apply_are_limited():
    node, log = elected(applying_bytes_max=10)
    for _ in range(4):
        node.propose(b"x" * 6)
    persist(node, log, node.ready())
    first = node.ready().committed_entries
    assert [entry.index for entry in first] == [2]  # a second one would pass the limit
    second = node.ready().committed_entries
    assert [entry.index for entry in second] == [3]  # six bytes were left: one is always given
    assert not node.has_ready()
    node.on_applied(Index(3))
    assert node.has_ready()
    assert [entry.index for entry in drive(node, log)] == [4, 5]


def test_too_many_uncommitted_bytes_are_refused_until_some_commit():
    node, log = elected(uncommitted_bytes_max=10)
    node.propose(b"x" * 100)  # alone, any size
    with pytest.raises(TooManyRequests):
        node.propose(b"y")
    drive(node, log)
    node.propose(b"y")
    assert [entry.data for entry in drive(node, log)] == [b"y"]


def test_proposing_and_reading_need_a_leader():
    node, _log = make_node()
    with pytest.raises(NoLeader):
        node.propose(b"a")
    with pytest.raises(NoLeader):
        node.read_index(1)


def test_an_empty_proposal_is_refused():
    node, _log = elected()
    with pytest.raises(InvalidArgument, match="data"):
        node.propose(b"")


def test_a_read_gets_the_commit_index_at_once():
    node, log = elected()
    node.propose(b"a")
    drive(node, log)
    node.read_index(7)
    assert node.ready().read_states == (ReadState(Index(2), 7),)


def test_a_read_after_a_restart_waits_until_the_leader_knows_what_is_committed():
    # Entries 2 and 3 were acknowledged, but the last hard state written still says commit 1.
    entries = [Entry(Term(1), Index(i), b"x") for i in (1, 2, 3)]
    log = MemoryLog(
        ConfState((ONE,)), hard_state=HardState(Term(1), ONE, Index(1)), entries=entries
    )
    node, _ = make_node(log)
    node.campaign()
    node.on_persisted(node.ready().number)
    assert node.status().role is Role.LEADER
    node.read_index(7)
    ready = node.ready()
    assert ready.read_states == ()
    persist(node, log, ready)
    assert node.ready().read_states == (ReadState(Index(4), 7),)


def test_reads_waiting_for_the_first_commit_are_limited():
    node, _log = make_node(reads_pending_max=2)
    node.campaign()
    node.on_persisted(node.ready().number)
    node.read_index(1)
    node.read_index(2)
    with pytest.raises(TooManyRequests):
        node.read_index(3)


def test_a_restart_replays_from_the_applied_index():
    node, log = elected()
    for data in (b"a", b"b", b"c"):
        node.propose(data)
    drive(node, log)
    entries = log.entries(Index(3), Index(5), 1 << 20)
    restarted_log = MemoryLog(
        ConfState((ONE,)),
        hard_state=HardState(Term(1), ONE, Index(2)),
        compacted_index=Index(2),
        compacted_term=Term(1),
        entries=entries,
    )
    restarted, _ = make_node(restarted_log, applied=Index(2))
    assert not restarted.has_ready()
    restarted.campaign()
    applied = drive(restarted, restarted_log)
    assert [(entry.index, entry.data) for entry in applied] == [(3, b"b"), (4, b"c"), (5, b"")]
    assert restarted.status().term == 2


def test_what_is_applied_counts_as_committed_whatever_the_hard_state_says():
    entries = [Entry(Term(1), Index(i), b"x") for i in (1, 2, 3)]
    log = MemoryLog(
        ConfState((ONE,)), hard_state=HardState(Term(1), ONE, Index(1)), entries=entries
    )
    node, _ = make_node(log, applied=Index(3))
    assert node.status().committed == 3


@pytest.mark.parametrize(
    ("hard_state", "applied"),
    [
        (HardState(Term(1), ONE, Index(4)), 0),  # committed what the log does not hold
        (HardState(Term(1), ONE, Index(1)), 4),  # applied what the log does not hold
        (HardState(Term(0), ONE, Index(1)), 0),  # entries of a term that never was
    ],
)
def test_a_storage_that_contradicts_itself_is_refused(hard_state: HardState, applied: int):
    entries = [Entry(Term(1), Index(i), b"x") for i in (1, 2, 3)]
    log = MemoryLog(ConfState((ONE,)), hard_state=hard_state, entries=entries)
    with pytest.raises(InvariantBroken):
        make_node(log, applied=Index(applied))


def test_a_leader_of_one_keeps_leading():
    node, log = elected()
    for _ in range(100):
        node.tick()
        drive(node, log)
    assert node.status().role is Role.LEADER
    assert node.status().term == 1


def test_reporting_a_ready_that_was_not_taken_is_an_error():
    node, _log = elected()
    with pytest.raises(InvariantBroken):
        node.on_persisted(1000)


def test_a_learner_alone_never_campaigns():
    log = MemoryLog(ConfState(voters=(MemberId(2),), learners=(ONE,)))
    node, _ = make_node(log)
    node.campaign()
    for _ in range(50):
        node.tick()
    assert node.status().role is Role.FOLLOWER
    assert not node.has_ready()
