"""The log and the writes under way, beside what the paper tests reach."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry.raft.raft_bench_member import log_of

from tianlu_registry.errors import InvariantBroken
from tianlu_registry.raft import (
    ConfState,
    Entry,
    LogCompacted,
    MemberId,
    Message,
    TimeoutNow,
)
from tianlu_registry.raft.log import RaftLog
from tianlu_registry.raft.write_pipeline import WritePipeline
from tianlu_registry.storage.log import MemoryLog

MANY = 1 << 30


def memory_log(entries: list[Entry], compacted: tuple[int, int] = (0, 0)) -> MemoryLog:
    index, term = compacted
    return MemoryLog(
        ConfState((MemberId(1),)), compacted_index=index, compacted_term=term, entries=entries
    )


def raft_log(stable: list[Entry], unstable: list[Entry]) -> RaftLog:
    log = RaftLog(memory_log(stable), committed=0, applied=0)
    for entry in unstable:
        log.append_new(entry)
    return log


terms = st.lists(st.integers(1, 4), max_size=8).map(sorted)


@given(terms, terms)
def test_a_conflict_is_sought_where_the_logs_may_still_agree(one: list[int], other: list[int]):
    """The position found is never before the last one at which the logs agree, and one step later
    they could not agree."""
    log = raft_log(log_of(*one), [])
    agreed = 0
    while agreed < min(len(one), len(other)) and one[agreed] == other[agreed]:
        agreed += 1
    index, term = len(other), other[-1] if other else 0
    found, found_term = log.find_conflict(index, term)
    assert found >= agreed
    assert found <= min(len(one), len(other))
    assert found_term == (one[found - 1] if found else 0)
    assert found_term <= term
    assert all(one[i - 1] > term for i in range(found + 1, min(len(one), index) + 1))


@given(st.integers(0, 6), st.integers(1, 7), st.integers(1, 40))
def test_entries_are_read_across_the_stable_and_unstable_parts(split: int, low: int, limit: int):
    entries = [Entry(1, i, b"x" * i) for i in range(1, 7)]
    log = raft_log(entries[:split], entries[split:])
    found = log.entries_from(low, limit)
    wanted = entries[low - 1 :]
    assert found == wanted[: len(found)]
    size = sum(len(entry.data) for entry in found)
    if len(found) > 1:
        assert size <= limit
    if len(found) < len(wanted):
        assert not found or size + len(wanted[len(found)].data) > limit
    assert found or not wanted


def test_a_compacted_log_keeps_the_term_before_its_first_entry():
    log = memory_log(log_of(1, 1, 2, 3))
    log.compact(3)
    assert (log.first_index, log.last_index, log.term(3), log.term(4)) == (4, 4, 2, 3)
    with pytest.raises(LogCompacted):
        log.term(2)
    with pytest.raises(LogCompacted):
        log.entries(3, 5, MANY)
    log.compact(1)  # older than what is gone
    assert log.first_index == 4
    log.compact(4)
    assert (log.first_index, log.last_index, log.bytes) == (5, 4, 0)


def test_the_memory_log_counts_its_bytes():
    log = memory_log([Entry(1, 1, b"aa"), Entry(1, 2, b"bbb"), Entry(1, 3, b"c")])
    assert log.bytes == 6
    log.append([Entry(2, 2, b"dddd")])
    assert (log.bytes, log.last_index) == (6, 2)
    log.compact(1)
    assert log.bytes == 4


@pytest.mark.parametrize(
    "misuse",
    [
        lambda log: log.append([Entry(1, 5)]),
        lambda log: log.append([Entry(1, 4), Entry(1, 6)]),
        lambda log: log.append([Entry(1, 1)]),
        lambda log: log.term(4),
        lambda log: log.entries(2, 5, MANY),
        lambda log: log.compact(9),
    ],
)
def test_misusing_the_memory_log_is_an_error(misuse: Callable[[MemoryLog], object]):
    log = memory_log(log_of(1, 1, 1)[1:], compacted=(1, 1))
    with pytest.raises(InvariantBroken):
        misuse(log)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda log: log.commit_to(9),
        lambda log: log.stable_to(4),
        lambda log: log.applied_to(1),
        lambda log: log.term(9),
        lambda log: log.append_after(3, [Entry(1, 5)]),
        lambda log: log.append_after(3, [Entry(1, 4), Entry(1, 6)]),
    ],
)
def test_breaking_the_log_is_an_error(misuse: Callable[[RaftLog], object]):
    log = raft_log(log_of(1, 1), [Entry(1, 3), Entry(1, 4)])
    with pytest.raises(InvariantBroken):
        misuse(log)


def test_only_durable_committed_entries_are_given_out_and_each_once():
    storage = memory_log(log_of(1, 1))
    log = RaftLog(storage, committed=1, applied=0)
    log.append_new(Entry(1, 3))
    log.commit_to(3)
    assert [entry.index for entry in log.take_committed(MANY)] == [1, 2]
    assert log.take_committed(MANY) == ()
    storage.append(log.take_unstable())
    log.stable_to(3)
    assert [entry.index for entry in log.take_committed(MANY)] == [3]


# Writes under way


def message(number: int) -> Message:
    """A message that differs from those of other numbers."""
    return TimeoutNow(to=number, sender=1, term=1)


def test_messages_wait_for_all_writes_before_them():
    pipeline = WritePipeline()
    a, b, c, d = map(message, range(4))
    pipeline.hold(a)
    assert pipeline.start(1, 5, writes=True) == []
    pipeline.hold(b)
    assert pipeline.start(2, 5, writes=False) == []
    pipeline.hold(c)
    assert pipeline.start(3, 7, writes=True) == []
    assert pipeline.complete(2) == (5, [a, b])
    assert pipeline.complete(3) == (7, [c])
    pipeline.hold(d)
    assert pipeline.start(4, 7, writes=False) == [d]


def test_several_writes_may_be_reported_at_once():
    pipeline = WritePipeline()
    for number in (1, 2, 3):
        pipeline.hold(message(number))
        pipeline.start(number, number, writes=True)
    assert pipeline.complete(3) == (3, [message(1), message(2), message(3)])
    assert pipeline.complete(3) == (0, [])


@pytest.mark.parametrize("number", [1, 5])
def test_reports_must_be_of_taken_readies_in_order(number: int):
    pipeline = WritePipeline()
    for started in (1, 2, 3):
        pipeline.start(started, started, writes=True)
    pipeline.complete(2)
    with pytest.raises(InvariantBroken):
        pipeline.complete(number)
