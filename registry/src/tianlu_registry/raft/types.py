"""The values that pass between the consensus core and its shell. Names are the Raft papers' and
etcd-raft's."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType

Term = NewType("Term", int)
Index = NewType("Index", int)
MemberId = NewType("MemberId", int)

NO_MEMBER = MemberId(0)


class EntryType(IntEnum):
    """What an entry's data is for. The numbers are stored: never reuse one."""

    NORMAL = 0
    CONF_CHANGE = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One slot of the replicated log. Empty data marks a new leader's first entry."""

    term: Term
    index: Index
    data: bytes = b""
    type: EntryType = EntryType.NORMAL


@dataclass(frozen=True, slots=True)
class HardState:
    """What must be durable before a message that depends on it is sent (Raft, figure 2:
    persistent state)."""

    term: Term = Term(0)
    vote: MemberId = NO_MEMBER
    commit: Index = Index(0)


@dataclass(frozen=True, slots=True)
class ConfState:
    """The members that a snapshot or log position stands for."""

    voters: tuple[MemberId, ...] = ()
    learners: tuple[MemberId, ...] = ()


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """The log position that a raft_snapshot replaces, and the membership there."""

    index: Index
    term: Term
    conf_state: ConfState = field(default_factory=ConfState)


class Role(IntEnum):
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


@dataclass(frozen=True, slots=True)
class SoftState:
    """What a shell may want to show or act on, but never stores."""

    leader_id: MemberId
    role: Role


@dataclass(frozen=True, slots=True)
class ReadState:
    """A read request's index: once applied_index >= index the read identified by `context` is
    linearizable."""

    index: Index
    context: int
