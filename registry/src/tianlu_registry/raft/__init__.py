"""Core: Raft consensus, without I/O, clock or randomness of its own.

Make a `RawNode` from a `Config` and a `LogStorage`; tell it what happens (`tick`, `step`,
`propose`, `read_index`, `on_persisted`, `on_applied`) and do what its `ready()` says, by the
numbered contract in DESIGN.md.
"""

from tianlu_registry.raft.confchange import (
    LEAVE_JOINT,
    ChangeKind,
    ConfChange,
    ConfChangePending,
    MemberChange,
    Transition,
    conf_change,
)
from tianlu_registry.raft.config import Config, RandomSource
from tianlu_registry.raft.log_storage import LogCompacted, LogStorage
from tianlu_registry.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
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
    TimeoutNow,
)
from tianlu_registry.raft.node import RawNode
from tianlu_registry.raft.progress import ProgressState
from tianlu_registry.raft.ready import Ready
from tianlu_registry.raft.status import PeerStatus, Status
from tianlu_registry.raft.types import (
    NO_INDEX,
    NO_MEMBER,
    NO_TERM,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Index,
    MemberId,
    ReadState,
    Role,
    SnapshotMeta,
    SoftState,
    Term,
)

__all__ = [
    "LEAVE_JOINT",
    "NO_INDEX",
    "NO_MEMBER",
    "NO_TERM",
    "AppendEntries",
    "AppendEntriesResponse",
    "ChangeKind",
    "ConfChange",
    "ConfChangePending",
    "ConfState",
    "Config",
    "Entry",
    "EntryType",
    "ForwardedProposal",
    "ForwardedTransfer",
    "HardState",
    "Heartbeat",
    "HeartbeatResponse",
    "Index",
    "InstallSnapshot",
    "LogCompacted",
    "LogStorage",
    "MemberChange",
    "MemberId",
    "Message",
    "PeerStatus",
    "ProgressState",
    "RandomSource",
    "RawNode",
    "ReadIndexRequest",
    "ReadIndexResponse",
    "ReadState",
    "Ready",
    "RequestVote",
    "RequestVoteResponse",
    "Role",
    "SnapshotMeta",
    "SoftState",
    "Status",
    "Term",
    "TimeoutNow",
    "Transition",
    "conf_change",
]
