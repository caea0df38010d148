from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PeerConnectionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PEER_CONNECTION_KIND_UNSPECIFIED: _ClassVar[PeerConnectionKind]
    PEER_CONNECTION_KIND_LOG: _ClassVar[PeerConnectionKind]
    PEER_CONNECTION_KIND_SNAPSHOT: _ClassVar[PeerConnectionKind]
    PEER_CONNECTION_KIND_CALL: _ClassVar[PeerConnectionKind]
PEER_CONNECTION_KIND_UNSPECIFIED: PeerConnectionKind
PEER_CONNECTION_KIND_LOG: PeerConnectionKind
PEER_CONNECTION_KIND_SNAPSHOT: PeerConnectionKind
PEER_CONNECTION_KIND_CALL: PeerConnectionKind

class PeerHello(_message.Message):
    __slots__ = ("cluster_id", "sender", "receiver", "release", "kind")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    RECEIVER_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    cluster_id: int
    sender: int
    receiver: int
    release: str
    kind: PeerConnectionKind
    def __init__(self, cluster_id: _Optional[int] = ..., sender: _Optional[int] = ..., receiver: _Optional[int] = ..., release: _Optional[str] = ..., kind: _Optional[_Union[PeerConnectionKind, str]] = ...) -> None: ...

class PeerWelcome(_message.Message):
    __slots__ = ("cluster_id", "member", "release", "refusal")
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    cluster_id: int
    member: int
    release: str
    refusal: str
    def __init__(self, cluster_id: _Optional[int] = ..., member: _Optional[int] = ..., release: _Optional[str] = ..., refusal: _Optional[str] = ...) -> None: ...

class PeerMessage(_message.Message):
    __slots__ = ("to", "sender", "term", "request_vote", "request_vote_response", "append_entries", "append_entries_response", "heartbeat", "heartbeat_response", "install_snapshot", "timeout_now", "forwarded_transfer", "forwarded_proposal", "read_index_request", "read_index_response")
    TO_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    REQUEST_VOTE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_VOTE_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    APPEND_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    APPEND_ENTRIES_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    INSTALL_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_NOW_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_TRANSFER_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    READ_INDEX_REQUEST_FIELD_NUMBER: _ClassVar[int]
    READ_INDEX_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    to: int
    sender: int
    term: int
    request_vote: PeerRequestVote
    request_vote_response: PeerRequestVoteResponse
    append_entries: PeerAppendEntries
    append_entries_response: PeerAppendEntriesResponse
    heartbeat: PeerHeartbeat
    heartbeat_response: PeerHeartbeatResponse
    install_snapshot: PeerInstallSnapshot
    timeout_now: PeerTimeoutNow
    forwarded_transfer: PeerForwardedTransfer
    forwarded_proposal: PeerForwardedProposal
    read_index_request: PeerReadIndexRequest
    read_index_response: PeerReadIndexResponse
    def __init__(self, to: _Optional[int] = ..., sender: _Optional[int] = ..., term: _Optional[int] = ..., request_vote: _Optional[_Union[PeerRequestVote, _Mapping]] = ..., request_vote_response: _Optional[_Union[PeerRequestVoteResponse, _Mapping]] = ..., append_entries: _Optional[_Union[PeerAppendEntries, _Mapping]] = ..., append_entries_response: _Optional[_Union[PeerAppendEntriesResponse, _Mapping]] = ..., heartbeat: _Optional[_Union[PeerHeartbeat, _Mapping]] = ..., heartbeat_response: _Optional[_Union[PeerHeartbeatResponse, _Mapping]] = ..., install_snapshot: _Optional[_Union[PeerInstallSnapshot, _Mapping]] = ..., timeout_now: _Optional[_Union[PeerTimeoutNow, _Mapping]] = ..., forwarded_transfer: _Optional[_Union[PeerForwardedTransfer, _Mapping]] = ..., forwarded_proposal: _Optional[_Union[PeerForwardedProposal, _Mapping]] = ..., read_index_request: _Optional[_Union[PeerReadIndexRequest, _Mapping]] = ..., read_index_response: _Optional[_Union[PeerReadIndexResponse, _Mapping]] = ...) -> None: ...

class PeerRequestVote(_message.Message):
    __slots__ = ("last_index", "last_term", "pre_vote", "by_transfer")
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_TERM_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    BY_TRANSFER_FIELD_NUMBER: _ClassVar[int]
    last_index: int
    last_term: int
    pre_vote: bool
    by_transfer: bool
    def __init__(self, last_index: _Optional[int] = ..., last_term: _Optional[int] = ..., pre_vote: _Optional[bool] = ..., by_transfer: _Optional[bool] = ...) -> None: ...

class PeerRequestVoteResponse(_message.Message):
    __slots__ = ("granted", "pre_vote", "commit", "commit_term")
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    PRE_VOTE_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_TERM_FIELD_NUMBER: _ClassVar[int]
    granted: bool
    pre_vote: bool
    commit: int
    commit_term: int
    def __init__(self, granted: _Optional[bool] = ..., pre_vote: _Optional[bool] = ..., commit: _Optional[int] = ..., commit_term: _Optional[int] = ...) -> None: ...

class PeerAppendEntries(_message.Message):
    __slots__ = ("prev_index", "prev_term", "commit", "runs", "sizes", "data")
    PREV_INDEX_FIELD_NUMBER: _ClassVar[int]
    PREV_TERM_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    prev_index: int
    prev_term: int
    commit: int
    runs: _containers.RepeatedCompositeFieldContainer[PeerEntryRun]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, prev_index: _Optional[int] = ..., prev_term: _Optional[int] = ..., commit: _Optional[int] = ..., runs: _Optional[_Iterable[_Union[PeerEntryRun, _Mapping]]] = ..., sizes: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class PeerEntryRun(_message.Message):
    __slots__ = ("term", "type", "count")
    TERM_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    term: int
    type: int
    count: int
    def __init__(self, term: _Optional[int] = ..., type: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class PeerAppendEntriesResponse(_message.Message):
    __slots__ = ("index", "rejected", "hint_index", "hint_term", "needs_snapshot")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    HINT_INDEX_FIELD_NUMBER: _ClassVar[int]
    HINT_TERM_FIELD_NUMBER: _ClassVar[int]
    NEEDS_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    index: int
    rejected: bool
    hint_index: int
    hint_term: int
    needs_snapshot: bool
    def __init__(self, index: _Optional[int] = ..., rejected: _Optional[bool] = ..., hint_index: _Optional[int] = ..., hint_term: _Optional[int] = ..., needs_snapshot: _Optional[bool] = ...) -> None: ...

class PeerHeartbeat(_message.Message):
    __slots__ = ("commit", "read_round")
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    READ_ROUND_FIELD_NUMBER: _ClassVar[int]
    commit: int
    read_round: int
    def __init__(self, commit: _Optional[int] = ..., read_round: _Optional[int] = ...) -> None: ...

class PeerHeartbeatResponse(_message.Message):
    __slots__ = ("read_round",)
    READ_ROUND_FIELD_NUMBER: _ClassVar[int]
    read_round: int
    def __init__(self, read_round: _Optional[int] = ...) -> None: ...

class PeerInstallSnapshot(_message.Message):
    __slots__ = ("snapshot_index", "snapshot_term", "conf_state")
    SNAPSHOT_INDEX_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_TERM_FIELD_NUMBER: _ClassVar[int]
    CONF_STATE_FIELD_NUMBER: _ClassVar[int]
    snapshot_index: int
    snapshot_term: int
    conf_state: PeerConfState
    def __init__(self, snapshot_index: _Optional[int] = ..., snapshot_term: _Optional[int] = ..., conf_state: _Optional[_Union[PeerConfState, _Mapping]] = ...) -> None: ...

class PeerConfState(_message.Message):
    __slots__ = ("voters", "learners", "voters_outgoing", "learners_next", "auto_leave")
    VOTERS_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    VOTERS_OUTGOING_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_NEXT_FIELD_NUMBER: _ClassVar[int]
    AUTO_LEAVE_FIELD_NUMBER: _ClassVar[int]
    voters: _containers.RepeatedScalarFieldContainer[int]
    learners: _containers.RepeatedScalarFieldContainer[int]
    voters_outgoing: _containers.RepeatedScalarFieldContainer[int]
    learners_next: _containers.RepeatedScalarFieldContainer[int]
    auto_leave: bool
    def __init__(self, voters: _Optional[_Iterable[int]] = ..., learners: _Optional[_Iterable[int]] = ..., voters_outgoing: _Optional[_Iterable[int]] = ..., learners_next: _Optional[_Iterable[int]] = ..., auto_leave: _Optional[bool] = ...) -> None: ...

class PeerTimeoutNow(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PeerForwardedTransfer(_message.Message):
    __slots__ = ("transferee",)
    TRANSFEREE_FIELD_NUMBER: _ClassVar[int]
    transferee: int
    def __init__(self, transferee: _Optional[int] = ...) -> None: ...

class PeerForwardedProposal(_message.Message):
    __slots__ = ("data", "type")
    DATA_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    type: int
    def __init__(self, data: _Optional[bytes] = ..., type: _Optional[int] = ...) -> None: ...

class PeerReadIndexRequest(_message.Message):
    __slots__ = ("context",)
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    context: int
    def __init__(self, context: _Optional[int] = ...) -> None: ...

class PeerReadIndexResponse(_message.Message):
    __slots__ = ("index", "context")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    index: int
    context: int
    def __init__(self, index: _Optional[int] = ..., context: _Optional[int] = ...) -> None: ...

class PeerSnapshotOffer(_message.Message):
    __slots__ = ("message", "size", "sha256")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    message: PeerMessage
    size: int
    sha256: bytes
    def __init__(self, message: _Optional[_Union[PeerMessage, _Mapping]] = ..., size: _Optional[int] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class PeerSnapshotResume(_message.Message):
    __slots__ = ("offset", "refusal")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    offset: int
    refusal: str
    def __init__(self, offset: _Optional[int] = ..., refusal: _Optional[str] = ...) -> None: ...

class PeerSnapshotResult(_message.Message):
    __slots__ = ("installed", "reason", "retry")
    INSTALLED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    installed: bool
    reason: str
    retry: bool
    def __init__(self, installed: _Optional[bool] = ..., reason: _Optional[str] = ..., retry: _Optional[bool] = ...) -> None: ...

class PeerCall(_message.Message):
    __slots__ = ("id", "method", "timeout_milliseconds", "payload")
    ID_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    id: int
    method: str
    timeout_milliseconds: int
    payload: bytes
    def __init__(self, id: _Optional[int] = ..., method: _Optional[str] = ..., timeout_milliseconds: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class PeerAnswer(_message.Message):
    __slots__ = ("id", "payload", "error", "text")
    ID_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    id: int
    payload: bytes
    error: str
    text: str
    def __init__(self, id: _Optional[int] = ..., payload: _Optional[bytes] = ..., error: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...
