"""Messages of every kind, for property tests and the fuzzer."""

from __future__ import annotations

from hypothesis import strategies as st

from tianlu_registry.raft import (
    AppendEntries,
    AppendEntriesResponse,
    ConfState,
    Entry,
    EntryType,
    ForwardedProposal,
    ForwardedTransfer,
    Heartbeat,
    HeartbeatResponse,
    Index,
    InstallSnapshot,
    MemberId,
    Message,
    ReadIndexRequest,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    SnapshotMeta,
    Term,
    TimeoutNow,
)

NUMBER_MAX = (1 << 63) - 1

members = st.integers(1, (1 << 64) - 1).map(MemberId)
numbers = st.integers(0, NUMBER_MAX)
terms = numbers.map(Term)
indexes = numbers.map(Index)
contexts = st.integers(0, (1 << 64) - 1)
types = st.sampled_from(EntryType)
data = st.binary(max_size=40)
ends = {"to": members, "sender": members}
termed = {**ends, "term": terms}


@st.composite
def append_entries(draw: st.DrawFn) -> AppendEntries:
    """The entries follow prev_index, and their terms ascend to the message's."""
    contents = draw(st.lists(st.tuples(st.integers(0, 3), types, data), max_size=20))
    prev_index = draw(st.integers(0, NUMBER_MAX - len(contents)))
    prev_term = term = draw(st.integers(0, NUMBER_MAX - 100))
    entries = []
    for number, (step, type_, content) in enumerate(contents, 1):
        term += step
        entries.append(Entry(Term(term), Index(prev_index + number), content, type_))
    return AppendEntries(
        to=draw(members),
        sender=draw(members),
        term=Term(draw(st.integers(term, NUMBER_MAX))),
        prev_index=Index(prev_index),
        prev_term=Term(prev_term),
        entries=tuple(entries),
        commit=draw(indexes),
    )


def ascending(size_min: int = 0) -> st.SearchStrategy[tuple[MemberId, ...]]:
    return st.sets(members, min_size=size_min, max_size=5).map(lambda ids: tuple(sorted(ids)))


snapshots = st.builds(
    SnapshotMeta,
    st.integers(1, NUMBER_MAX).map(Index),
    st.integers(1, NUMBER_MAX).map(Term),
    st.builds(ConfState, ascending(1), ascending(), ascending(), ascending(), st.booleans()),
)

messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        RequestVote,
        **termed,
        last_index=indexes,
        last_term=terms,
        pre_vote=st.booleans(),
        by_transfer=st.booleans(),
    ),
    st.builds(
        RequestVoteResponse,
        **termed,
        granted=st.booleans(),
        pre_vote=st.booleans(),
        commit=indexes,
        commit_term=terms,
    ),
    append_entries(),
    st.builds(
        AppendEntriesResponse,
        **termed,
        index=indexes,
        rejected=st.booleans(),
        hint_index=indexes,
        hint_term=terms,
        needs_snapshot=st.booleans(),
    ),
    st.builds(Heartbeat, **termed, commit=indexes, read_round=numbers),
    st.builds(HeartbeatResponse, **termed, read_round=numbers),
    st.builds(InstallSnapshot, **termed, snapshot=snapshots),
    st.builds(TimeoutNow, **termed),
    st.builds(ForwardedTransfer, **ends, transferee=members),
    st.builds(ForwardedProposal, **termed, data=data, type=types),
    st.builds(ReadIndexRequest, **ends, context=contexts),
    st.builds(ReadIndexResponse, **termed, index=indexes, context=contexts),
)
