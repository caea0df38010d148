"""What a member can say of itself, for people and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tianlu_registry.raft.progress import ProgressState
from tianlu_registry.raft.types import ConfState, Index, MemberId, Role, Term


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A leader's view of another member.

    Attributes:
        match: durable at the member and agreed upon up to here.
        next: the next entry to send.
        in_flight: unacknowledged messages.
        recent_active: heard of within the last election timeout; for one that fell silent it takes
            up to two until this says so.
        pending_snapshot: index of the raft_snapshot on its way there; 0 if there is none.
        needs_snapshot: entries that it lacks have been compacted away; the log alone can no
            longer bring it up to date.
    """

    match: Index
    next: Index
    state: ProgressState
    in_flight: int
    recent_active: bool
    is_learner: bool
    pending_snapshot: Index
    needs_snapshot: bool


@dataclass(frozen=True, slots=True)
class Status:
    """A member at one moment.

    Attributes:
        last_index, stable_index: the log's end, and the end of what is durable of it.
        conf_state: the membership in force here.
        transferee: whom a leader is handing over to; NO_MEMBER if it is not.
        uncommitted_bytes: what counts against Config.uncommitted_bytes_max, on a leader.
        peers: on a leader; empty otherwise.
    """

    id: MemberId
    term: Term
    vote: MemberId
    role: Role
    leader_id: MemberId
    committed: Index
    applied: Index
    last_index: Index
    stable_index: Index
    conf_state: ConfState
    transferee: MemberId
    uncommitted_bytes: int
    peers: Mapping[MemberId, PeerStatus]
