"""What happens when a message arrives or a tick passes: the one table of role and message.

First the term decides (Raft, section 5.1): a higher one makes a follower of its receiver, a lower
one is stale. Then the table names the handler. It is total: what a role ignores, it ignores by an
entry that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tianlu_registry.raft import (
    candidate,
    election,
    follower,
    leader,
    membership,
    reads,
    replication,
    transfer,
)
from tianlu_registry.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    ForwardedMessage,
    ForwardedProposal,
    ForwardedTransfer,
    Heartbeat,
    HeartbeatResponse,
    InstallSnapshot,
    Message,
    ReadIndexRequest,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    TermedMessage,
    TimeoutNow,
)
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.types import NO_INDEX, NO_MEMBER, Role

Handler = Callable[[Raft, Any], None]


def _ignore(_raft: Raft, _message: Message) -> None:
    """The role has no use for the message: it was late, or for an earlier role."""


HANDLERS: Mapping[Role, Mapping[type[Message], Handler]] = {
    Role.FOLLOWER: {
        RequestVote: election.on_request_vote,
        RequestVoteResponse: election.learn_commit,
        AppendEntries: follower.on_append_entries,
        AppendEntriesResponse: _ignore,
        Heartbeat: follower.on_heartbeat,
        HeartbeatResponse: _ignore,
        ForwardedProposal: _ignore,  # this member leads its term no more, and nobody else does
        ReadIndexRequest: follower.on_forwarded_read,
        ReadIndexResponse: follower.on_read_index_response,
        InstallSnapshot: follower.on_install_snapshot,
        TimeoutNow: election.on_timeout_now,
        ForwardedTransfer: follower.on_forwarded_transfer,
    },
    Role.PRE_CANDIDATE: {
        RequestVote: election.on_request_vote,
        RequestVoteResponse: candidate.on_pre_vote_response,
        AppendEntries: candidate.on_append_entries,
        AppendEntriesResponse: _ignore,
        Heartbeat: candidate.on_heartbeat,
        HeartbeatResponse: _ignore,
        ForwardedProposal: _ignore,
        ReadIndexRequest: _ignore,
        ReadIndexResponse: _ignore,
        InstallSnapshot: candidate.on_install_snapshot,
        TimeoutNow: _ignore,
        ForwardedTransfer: _ignore,
    },
    Role.CANDIDATE: {
        RequestVote: election.on_request_vote,
        RequestVoteResponse: candidate.on_vote_response,
        AppendEntries: candidate.on_append_entries,
        AppendEntriesResponse: _ignore,
        Heartbeat: candidate.on_heartbeat,
        HeartbeatResponse: _ignore,
        ForwardedProposal: _ignore,
        ReadIndexRequest: _ignore,
        ReadIndexResponse: _ignore,
        InstallSnapshot: candidate.on_install_snapshot,
        TimeoutNow: _ignore,
        ForwardedTransfer: _ignore,
    },
    Role.LEADER: {
        RequestVote: election.on_request_vote,
        RequestVoteResponse: _ignore,
        AppendEntries: follower.on_append_entries,  # from itself or a second leader: refused there
        AppendEntriesResponse: replication.on_append_response,
        Heartbeat: follower.on_heartbeat,
        HeartbeatResponse: replication.on_heartbeat_response,
        ForwardedProposal: leader.on_forwarded_proposal,
        ReadIndexRequest: reads.on_forwarded_read,
        ReadIndexResponse: _ignore,
        InstallSnapshot: follower.on_install_snapshot,
        TimeoutNow: _ignore,
        ForwardedTransfer: transfer.on_forwarded_transfer,
    },
}


def step(raft: Raft, message: Message) -> None:
    """Handle a message. One that is addressed to another member is dropped."""
    if message.to != raft.id:
        return
    if isinstance(message, ForwardedMessage) or _settle_term(raft, message):
        HANDLERS[raft.role][type(message)](raft, message)


def _settle_term(raft: Raft, message: TermedMessage) -> bool:
    """Compare terms, and follow a higher one. Returns whether the message is to be handled."""
    if message.term < raft.term:
        _answer_stale(raft, message)
        return False
    if message.term == raft.term:
        return True
    if isinstance(message, RequestVote):
        # Dissertation, section 4.2.3: whoever hears a leader does not even update its term.
        if raft.hears_leader and not message.by_transfer:
            return False
        if message.pre_vote:
            return True  # asking about a term does not begin it
    if isinstance(message, RequestVoteResponse) and message.pre_vote and message.granted:
        return True  # it names the term that this member asked about
    from_leader = isinstance(message, AppendEntries | Heartbeat | InstallSnapshot | TimeoutNow)
    raft.become_follower(message.term, message.sender if from_leader else NO_MEMBER)
    return True


def _answer_stale(raft: Raft, message: TermedMessage) -> None:
    """Tell a stale sender the present term, if it waits for an answer; or hear what remains true.

    For a stale leader this matters: having been cut off from this member while it campaigned, it
    is heard by no one here until it steps down. Source: etcd raft, raft.go, Step.
    """
    if isinstance(message, RequestVote):
        election.refuse(raft, message)
    elif isinstance(message, RequestVoteResponse) and raft.role is not Role.LEADER:
        election.learn_commit(raft, message)  # what is committed is so in every term
    elif isinstance(message, AppendEntries | Heartbeat | InstallSnapshot):
        raft.writes.hold(AppendEntriesResponse(message.sender, raft.id, raft.term, NO_INDEX))


def tick(raft: Raft) -> None:
    """Let one tick pass."""
    raft.election_elapsed += 1
    if raft.role is Role.LEADER:
        _tick_leader(raft)
    elif raft.election_elapsed >= raft.election_timeout:
        election.campaign(raft)


def _tick_leader(raft: Raft) -> None:
    if raft.election_elapsed >= raft.config.election_timeout_ticks:
        raft.election_elapsed = 0
        if not raft.tracker.take_quorum_activity():
            # Another may lead already: better no answer than a stale one (dissertation, 6.2).
            raft.become_follower(raft.term, NO_MEMBER)
            return
    transfer.tick(raft)
    membership.leave_joint_if_due(raft)
    raft.heartbeat_elapsed += 1
    if raft.heartbeat_elapsed >= raft.config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        raft.heartbeats_due = True
