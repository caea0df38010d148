"""What a follower does with a message.

Source: Raft, section 5.3 and figure 2 (AppendEntries, receiver implementation); etcd raft, raft.go
(handleAppendEntries) for the rejection's hint.
"""

from __future__ import annotations

from tianlu_registry.errors import check
from tianlu_registry.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    ForwardedTransfer,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    ReadIndexRequest,
    ReadIndexResponse,
)
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.types import NO_MEMBER, Index, MemberId, ReadState


def on_append_entries(raft: Raft, message: AppendEntries) -> None:
    """Take the leader's entries if the logs agree before them. The answer leaves when they are
    durable."""
    _heard_leader(raft, message.sender)
    raft.writes.hold(_append(raft, message))


def _append(raft: Raft, message: AppendEntries) -> AppendEntriesResponse:
    log = raft.log
    if not raft.tracker.conf_state.voters:
        # Changes in the log mean nothing without the membership that they change.
        return AppendEntriesResponse(
            message.sender,
            raft.id,
            raft.term,
            message.prev_index,
            rejected=True,
            needs_snapshot=True,
        )
    if message.prev_index < log.committed:
        # An old message. What is committed agrees with every later leader.
        return AppendEntriesResponse(message.sender, raft.id, raft.term, log.committed)
    if not log.matches(message.prev_index, message.prev_term):
        hint_index, hint_term = log.find_conflict(message.prev_index, message.prev_term)
        return AppendEntriesResponse(
            message.sender,
            raft.id,
            raft.term,
            message.prev_index,
            rejected=True,
            hint_index=hint_index,
            hint_term=hint_term,
        )
    replaced = log.append_after(message.prev_index, message.entries)
    if replaced is not None:
        raft.writes.truncated(replaced)
    last_index = Index(message.prev_index + len(message.entries))
    # Beyond last_index the log may hold another leader's entries: they are not yet known to agree.
    log.commit_to(min(message.commit, last_index))
    return AppendEntriesResponse(message.sender, raft.id, raft.term, last_index)


def on_install_snapshot(raft: Raft, message: InstallSnapshot) -> None:
    """Take a raft_snapshot whose data the shell has received, unless the log has come as far
    without it. The answer leaves when it is durable."""
    _heard_leader(raft, message.sender)
    log, snapshot = raft.log, message.snapshot
    if snapshot.index > log.committed:
        if log.matches(snapshot.index, snapshot.term):
            log.commit_to(snapshot.index)
        else:
            raft.restore(snapshot)
    raft.writes.hold(AppendEntriesResponse(message.sender, raft.id, raft.term, log.committed))


def on_heartbeat(raft: Raft, message: Heartbeat) -> None:
    _heard_leader(raft, message.sender)
    raft.log.commit_to(message.commit)
    raft.messages.append(HeartbeatResponse(message.sender, raft.id, raft.term, message.read_round))


def on_forwarded_transfer(raft: Raft, message: ForwardedTransfer) -> None:
    if raft.leader_id not in (NO_MEMBER, message.sender):
        raft.messages.append(ForwardedTransfer(raft.leader_id, message.sender, message.transferee))


def on_forwarded_read(raft: Raft, message: ReadIndexRequest) -> None:
    if raft.leader_id not in (NO_MEMBER, message.sender):
        raft.messages.append(ReadIndexRequest(raft.leader_id, message.sender, message.context))


def on_read_index_response(raft: Raft, message: ReadIndexResponse) -> None:
    raft.read_states.append(ReadState(message.index, message.context))


def _heard_leader(raft: Raft, leader_id: MemberId) -> None:
    check(
        raft.leader_id in (NO_MEMBER, leader_id),
        f"members {raft.leader_id} and {leader_id} both lead term {raft.term}",
    )
    raft.leader_id = leader_id
    raft.election_elapsed = 0
