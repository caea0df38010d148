"""What members say to each other. A message is a value: the shell encodes and carries it.

The names are those of the Raft paper's RPCs; answers are messages of their own because the core
never waits. Delivery may lose, repeat, delay and reorder messages, but never alter them.

Every message names its receiver (`to`) and its sender. All but the forwarded ones carry the
sender's term, by which stale senders are found out (Raft, section 5.1). A forwarded one never
changes its receiver's term.
"""

from __future__ import annotations

from dataclasses import dataclass

from tianlu_registry.raft.types import (
    NO_INDEX,
    NO_TERM,
    Entry,
    EntryType,
    Index,
    MemberId,
    SnapshotMeta,
    Term,
)


@dataclass(frozen=True, slots=True)
class RequestVote:
    """A candidate asks for a vote, or with `pre_vote` whether it would get one.

    Attributes:
        term: the term to be elected in; for a pre-vote one beyond the sender's own.
        last_index, last_term: where the candidate's log ends (Raft, section 5.4.1).
        by_transfer: the leader itself has asked for this election, so that whoever still hears
            from it may vote all the same (dissertation, section 4.2.3).
    """

    to: MemberId
    sender: MemberId
    term: Term
    last_index: Index
    last_term: Term
    pre_vote: bool = False
    by_transfer: bool = False


@dataclass(frozen=True, slots=True)
class RequestVoteResponse:
    """The answer. Granted: `term` is the request's. Refused: `term` is the voter's own.

    Attributes:
        commit, commit_term: when refused, how far the voter knows its log to be committed. The
            candidate may be the last to learn that a membership change is.
    """

    to: MemberId
    sender: MemberId
    term: Term
    granted: bool
    pre_vote: bool = False
    commit: Index = NO_INDEX
    commit_term: Term = NO_TERM


@dataclass(frozen=True, slots=True)
class AppendEntries:
    """The leader's entries after (`prev_index`, `prev_term`), and how far it has committed.

    Without entries it is a probe: it asks whether the logs agree at `prev_index`.
    """

    to: MemberId
    sender: MemberId
    term: Term
    prev_index: Index
    prev_term: Term
    entries: tuple[Entry, ...]
    commit: Index


@dataclass(frozen=True, slots=True)
class AppendEntriesResponse:
    """The answer, sent only after what it acknowledges is durable.

    Attributes:
        index: accepted: the logs agree up to here. Rejected: the request's `prev_index`.
        rejected: the follower's log has another entry, or none, at `prev_index`.
        hint_index, hint_term: when rejected, the follower's last entry that may still agree.
        needs_snapshot: rejected because the follower does not know the membership that the log
            begins with: it can only start from a raft_snapshot.
    """

    to: MemberId
    sender: MemberId
    term: Term
    index: Index
    rejected: bool = False
    hint_index: Index = NO_INDEX
    hint_term: Term = NO_TERM
    needs_snapshot: bool = False


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The leader is alive.

    Attributes:
        commit: never beyond what the receiver is known to hold.
        read_round: the newest round of read requests that an answer confirms; 0 for none.
    """

    to: MemberId
    sender: MemberId
    term: Term
    commit: Index
    read_round: int = 0


@dataclass(frozen=True, slots=True)
class HeartbeatResponse:
    to: MemberId
    sender: MemberId
    term: Term
    read_round: int = 0


@dataclass(frozen=True, slots=True)
class InstallSnapshot:
    """The state machine as of `snapshot`, in place of entries that the leader has no longer.

    The data travels beside the message, by the shells: see DESIGN.md, duties 13 and 14. The answer
    is an AppendEntriesResponse.
    """

    to: MemberId
    sender: MemberId
    term: Term
    snapshot: SnapshotMeta


@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader asks a member that has caught up to take over: to campaign at once."""

    to: MemberId
    sender: MemberId
    term: Term


@dataclass(frozen=True, slots=True)
class ForwardedTransfer:
    """A follower passes on that `transferee` is to lead. It may be lost without a word."""

    to: MemberId
    sender: MemberId
    transferee: MemberId


@dataclass(frozen=True, slots=True)
class ForwardedProposal:
    """A proposal made at a follower, on its way to the leader. It may be lost without a word.

    Attributes:
        term: the sender's. Only the leader of that term may append it, so that it becomes an entry
            of that term or none: who has applied an entry of a later term and not this one may
            propose it again (DESIGN.md, duty 9).
    """

    to: MemberId
    sender: MemberId
    term: Term
    data: bytes
    type: EntryType = EntryType.NORMAL


@dataclass(frozen=True, slots=True)
class ReadIndexRequest:
    """A follower asks for a read index on behalf of the reads that `context` stands for."""

    to: MemberId
    sender: MemberId
    context: int


@dataclass(frozen=True, slots=True)
class ReadIndexResponse:
    to: MemberId
    sender: MemberId
    term: Term
    index: Index
    context: int


TermedMessage = (
    RequestVote
    | RequestVoteResponse
    | AppendEntries
    | AppendEntriesResponse
    | Heartbeat
    | HeartbeatResponse
    | ReadIndexResponse
    | InstallSnapshot
    | TimeoutNow
)
ForwardedMessage = ForwardedProposal | ReadIndexRequest | ForwardedTransfer
Message = TermedMessage | ForwardedMessage
