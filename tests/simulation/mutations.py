"""Ways to break the consensus core and the WAL on purpose: a simulation that does not notice them
would prove nothing.

Each is one mistake that somebody could make, put into the production code while a `with` lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest import mock

from tianlu_registry.raft import (
    NO_MEMBER,
    AppendEntriesResponse,
    ConfChange,
    Entry,
    EntryType,
    HardState,
    Heartbeat,
    HeartbeatResponse,
    Index,
    InstallSnapshot,
    RawNode,
    RequestVote,
    Role,
    candidate,
    membership,
    node,
    quorum,
    read_only,
    reads,
    replication,
)
from tianlu_registry.raft import election as election_module
from tianlu_registry.raft.confchange import changed
from tianlu_registry.raft.log import RaftLog
from tianlu_registry.raft.progress import Progress
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.step import HANDLERS
from tianlu_registry.raft.tracker import ProgressTracker
from tianlu_registry.raft.write_pipeline import WritePipeline
from tianlu_registry.storage import wal, wal_recovery
from tianlu_registry.storage.wal_format import encode_hard_state

Mutation = Callable[[], AbstractContextManager[None]]
MUTATIONS: dict[str, Mutation] = {}


def mutation(*targets: tuple[object, str], as_property: bool = False) -> Callable[[Any], Any]:
    """Register a function as the mutation, called after it, that replaces each `target.name`."""

    def register(replacement: Any) -> Any:
        @contextmanager
        def broken() -> Iterator[None]:
            with ExitStack() as stack:
                for target, name in targets:
                    new = property(replacement) if as_property else replacement
                    stack.enter_context(mock.patch.object(target, name, new))
                yield

        broken.__module__ = replacement.__module__
        MUTATIONS[replacement.__name__] = broken
        return replacement

    return register


def handler_mutation(message: type, *roles: Role) -> Callable[[Any], Any]:
    """Register a function as the mutation, called after it, that handles a message in its place."""

    def register(replacement: Any) -> Any:
        @contextmanager
        def broken() -> Iterator[None]:
            with ExitStack() as stack:
                for role in roles:
                    stack.enter_context(mock.patch.dict(HANDLERS[role], {message: replacement}))
                yield

        broken.__module__ = replacement.__module__
        MUTATIONS[replacement.__name__] = broken
        return replacement

    return register


# Elections


@mutation((election_module, "_may_vote"))
def vote_twice_in_a_term(raft: Raft, request: Any) -> bool:
    return request.term > raft.term if request.pre_vote else True


@mutation((RaftLog, "is_up_to_date"))
def vote_for_an_older_log(self: RaftLog, last_index: Index, last_term: int) -> bool:
    return True


_take_hard_state = RawNode._take_hard_state


@mutation((RawNode, "_take_hard_state"))
def forget_the_vote_in_a_crash(self: RawNode, *, writing: bool) -> HardState | None:
    state = _take_hard_state(self, writing=writing)
    return state and HardState(state.term, NO_MEMBER, state.commit)


@mutation((WritePipeline, "start"))
def answer_before_it_is_durable(
    self: WritePipeline, number: int, last_index: Index, *, writes: bool
) -> list[Any]:
    held, self._held = self._held, []
    released = _start(self, number, last_index, writes=writes)
    own = [message for message in held if message.to == message.sender]
    if own and self._writes:
        self._writes[-1].messages += own
        return [message for message in held if message not in own]
    return [*released, *held]


_start = WritePipeline.start


# Commitment


@mutation((Raft, "maybe_commit"))
def commit_an_old_term_by_counting(self: Raft) -> bool:
    index = self.tracker.committed_index()
    if index <= self.log.committed:
        return False
    self.log.commit_to(index)
    self.uncommitted.free_to(index)
    self.appends_due = True
    return True


_ready = RawNode.ready


@mutation((RawNode, "ready"))
def count_what_is_not_on_the_own_disk(self: RawNode) -> Any:
    ready = _ready(self)
    raft = self._raft
    if raft.role is Role.LEADER:
        raft.tracker.progress[raft.id].accepted(raft.log.last_index)
        replication.commit_if_possible(raft)
    return ready


@mutation((quorum, "_majority_index"))
def commit_with_one_less_than_a_majority(voters: frozenset[Any], acknowledged: Any) -> Index:
    indexes = sorted((acknowledged.get(voter, 0) for voter in voters), reverse=True)
    return Index(indexes[max(0, len(indexes) // 2 - 1)])


@mutation((quorum.Quorum, "committed_index"))
def forget_the_joint_quorum(self: quorum.Quorum, acknowledged: Any) -> Index:
    return quorum._majority_index(self.voters, acknowledged)


_adopt = ProgressTracker._adopt


@mutation((ProgressTracker, "_adopt"))
def let_learners_decide(self: ProgressTracker, conf_state: Any) -> None:
    _adopt(self, conf_state)
    voters = self.quorum.voters | self._learners
    self.quorum = quorum.Quorum(voters, self.quorum.outgoing)


@mutation((replication, "_send_heartbeat"))
def tell_a_commit_index_that_the_follower_does_not_hold(raft: Raft, peer: Any) -> None:
    commit = raft.log.committed
    raft.messages.append(Heartbeat(peer, raft.id, raft.term, commit, raft.read_only.newest_round))


# The log


@mutation((RaftLog, "matches"))
def append_without_comparing(self: RaftLog, index: Index, term: int) -> bool:
    return index <= self.last_index


_append_after = RaftLog.append_after


@mutation((RaftLog, "append_after"))
def keep_a_conflicting_end(self: RaftLog, index: Index, entries: Sequence[Entry]) -> Any:
    new = [entry for entry in entries if entry.index > self.last_index]
    return _append_after(self, Index(new[0].index - 1) if new else index, new)


@mutation((WritePipeline, "truncated"))
def take_an_old_write_for_the_new_entries(self: WritePipeline, index: Index) -> None:
    pass


@mutation((RawNode, "_take_committed"))
def apply_before_it_is_committed(self: RawNode) -> tuple[Entry, ...]:
    log = self._raft.log
    entries = tuple(log.entries_from(Index(log.applying + 1), 1 << 20))
    log.applying = log.last_index
    return entries


# Reads


@mutation((reads, "request_read"), (node, "request_read"))
def serve_a_read_without_confirmation(raft: Raft, request: read_only.ReadRequest) -> None:
    reads._answer(raft, request, raft.log.committed)


@mutation((Raft, "committed_in_term"), as_property=True)
def serve_a_read_before_the_first_commit(self: Raft) -> bool:
    return True


# Membership and snapshots


@mutation((election_module, "_may_campaign"))
def campaign_by_an_old_membership(raft: Raft) -> bool:
    return raft.tracker.is_promotable


@mutation((membership, "propose"))
def take_two_changes_at_once(raft: Raft, change: ConfChange) -> None:
    changed(raft.tracker.conf_state, change)
    raft.append(change.encode(), EntryType.CONF_CHANGE)


@handler_mutation(InstallSnapshot, Role.FOLLOWER)
def acknowledge_a_snapshot_and_ignore_it(raft: Raft, message: Any) -> None:
    answer = AppendEntriesResponse(message.sender, raft.id, raft.term, message.snapshot.index)
    raft.messages.append(answer)


_restore = Raft.restore


@mutation((Raft, "restore"))
def keep_the_old_membership_with_a_snapshot(self: Raft, snapshot: Any) -> None:
    with mock.patch.object(ProgressTracker, "switch", return_value=None):
        _restore(self, snapshot)


# The WAL


_sync = wal.Wal.sync


@mutation((wal.Wal, "sync"))
def skip_a_sync(self: wal.Wal) -> None:
    with mock.patch.object(type(self._file), "sync_data", return_value=None):
        _sync(self)


@mutation((wal, "encode_hard_state"))
def store_no_vote(state: HardState) -> bytes:
    return _encode_hard_state(HardState(state.term, NO_MEMBER, state.commit))


_encode_hard_state = encode_hard_state


@mutation((wal.Wal, "release"))
def release_a_segment_too_many(self: wal.Wal, up_to: Index) -> int:
    for name in self._segments[:-1]:
        self._files.remove(self._directory / str(name))
    self._files.sync_directory(self._directory)
    del self._segments[:-1]
    return 1


@mutation((wal_recovery._Replay, "_extend"))
def recover_entries_that_were_replaced(self: Any, record: Any) -> None:
    new = [entry for entry in record.entries if entry.index > self.last_index]
    self.entries += new
    self.last_index = max(self.last_index, record.last_index)
    if record.first_index <= self.after:
        self.after_term = record.term if record.last_index >= self.after else None


# What only stops progress: the second phase must notice


@mutation((election_module, "learn_commit"), (candidate, "learn_commit"))
def keep_quiet_about_what_is_committed(raft: Raft, response: Any) -> None:
    pass


@handler_mutation(HeartbeatResponse, Role.LEADER)
def never_probe_again(raft: Raft, response: Any) -> None:
    progress = raft.tracker.progress.get(response.sender)
    if progress is not None:
        progress.recent_active = True
        if response.read_round:
            raft.read_only.acknowledge(response.sender, response.read_round)
            reads.answer_confirmed_reads(raft)


@mutation((Progress, "snapshot_ended"))
def never_send_a_lost_snapshot_again(self: Progress, *, installed: bool) -> None:
    pass


@handler_mutation(RequestVote, *Role)
def never_answer_a_candidate(raft: Raft, request: Any) -> None:
    pass
