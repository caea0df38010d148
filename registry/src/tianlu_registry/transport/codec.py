"""The consensus core's messages as bytes, and back: `PeerMessage` of proto/tianlu/v1/peer.proto.

Reading trusts nothing: what it returns is a message that the core may be given, or it raises
`BadPeerMessage`. Who sent it and to whom is compared by the connection that knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate, groupby, pairwise
from typing import Any, Final

from google.protobuf.message import DecodeError

from tianlu._proto.v1 import peer_pb2 as pb
from tianlu_registry.raft import (
    NO_MEMBER,
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
from tianlu_registry.transport.errors import BadPeerMessage

NUMBER_MAX: Final = (1 << 63) - 1
"""Terms and indexes are signed in etcd's API, so none may grow beyond this."""

MEMBERS_MAX: Final = 1024
"""In one ConfState."""

_ENTRY_TYPES: Final = {int(each): each for each in EntryType}


def encode_message(message: Message) -> bytes:
    """Return a message's bytes."""
    return to_proto(message).SerializeToString()


def decode_message(data: bytes | memoryview) -> Message:
    """Read a message.

    Raises:
        BadPeerMessage: it is none, or one that cannot be.
    """
    try:
        wire = pb.PeerMessage.FromString(data)  # type: ignore[arg-type]  # any buffer will do
    except DecodeError as error:
        raise BadPeerMessage("tianlu: a message cannot be parsed") from error
    return from_proto(wire)


def to_proto(message: Message) -> pb.PeerMessage:
    """Return a message as protobuf has it."""
    return _ENCODERS[type(message)](message)


def from_proto(wire: pb.PeerMessage) -> Message:
    """Check a parsed message and return it.

    Raises:
        BadPeerMessage: it cannot be.
    """
    kind = wire.WhichOneof("kind")
    if kind is None:
        raise BadPeerMessage("tianlu: a message is of no kind that this release knows")
    if not wire.to or not wire.sender:
        raise BadPeerMessage(f"tianlu: {kind} without sender or receiver")
    if wire.term > NUMBER_MAX:
        raise BadPeerMessage(f"tianlu: {kind} with the impossible term {wire.term}")
    return _DECODERS[kind](wire, getattr(wire, kind))


def _check_numbers(kind: str, *numbers: int) -> None:
    if max(numbers) > NUMBER_MAX:
        raise BadPeerMessage(f"tianlu: {kind} with the impossible number {max(numbers)}")


def _entry_type(number: int) -> EntryType:
    entry_type = _ENTRY_TYPES.get(number)
    if entry_type is None:
        raise BadPeerMessage(f"tianlu: an entry of the unknown type {number}")
    return entry_type


# ------------------------------------------------------------------------------- votes


def _encode_request_vote(message: RequestVote) -> pb.PeerMessage:
    return pb.PeerMessage(
        to=message.to,
        sender=message.sender,
        term=message.term,
        request_vote=pb.PeerRequestVote(
            last_index=message.last_index,
            last_term=message.last_term,
            pre_vote=message.pre_vote,
            by_transfer=message.by_transfer,
        ),
    )


def _decode_request_vote(wire: pb.PeerMessage, body: pb.PeerRequestVote) -> RequestVote:
    _check_numbers("request_vote", body.last_index, body.last_term)
    return RequestVote(
        MemberId(wire.to),
        MemberId(wire.sender),
        Term(wire.term),
        Index(body.last_index),
        Term(body.last_term),
        body.pre_vote,
        body.by_transfer,
    )


def _encode_request_vote_response(message: RequestVoteResponse) -> pb.PeerMessage:
    return pb.PeerMessage(
        to=message.to,
        sender=message.sender,
        term=message.term,
        request_vote_response=pb.PeerRequestVoteResponse(
            granted=message.granted,
            pre_vote=message.pre_vote,
            commit=message.commit,
            commit_term=message.commit_term,
        ),
    )


def _decode_request_vote_response(
    wire: pb.PeerMessage, body: pb.PeerRequestVoteResponse
) -> RequestVoteResponse:
    _check_numbers("request_vote_response", body.commit, body.commit_term)
    return RequestVoteResponse(
        MemberId(wire.to),
        MemberId(wire.sender),
        Term(wire.term),
        body.granted,
        body.pre_vote,
        Index(body.commit),
        Term(body.commit_term),
    )


# ------------------------------------------------------------------------------- replication


def _encode_append_entries(message: AppendEntries) -> pb.PeerMessage:
    entries = message.entries
    body = pb.PeerAppendEntries(
        prev_index=message.prev_index, prev_term=message.prev_term, commit=message.commit
    )
    if entries:
        data = [entry.data for entry in entries]
        body.sizes.extend(map(len, data))
        body.data = b"".join(data)
        _encode_runs(body, entries)
    return pb.PeerMessage(
        to=message.to, sender=message.sender, term=message.term, append_entries=body
    )


def _encode_runs(body: pb.PeerAppendEntries, entries: tuple[Entry, ...]) -> None:
    """Add the entries' terms and types."""
    for (term, type_), run in groupby([(entry.term, entry.type) for entry in entries]):
        body.runs.add(term=term, type=type_, count=sum(1 for _ in run))


def _decode_append_entries(wire: pb.PeerMessage, body: pb.PeerAppendEntries) -> AppendEntries:
    _check_numbers("append_entries", body.prev_index, body.prev_term, body.commit)
    return AppendEntries(
        MemberId(wire.to),
        MemberId(wire.sender),
        Term(wire.term),
        Index(body.prev_index),
        Term(body.prev_term),
        _decode_entries(wire.term, body) if body.sizes or body.runs or body.data else (),
        Index(body.commit),
    )


def _decode_entries(leader_term: int, body: pb.PeerAppendEntries) -> tuple[Entry, ...]:
    """Put the columns together.

    Raises:
        BadPeerMessage: they do not fit each other, or the terms do not ascend to the leader's.
    """
    sizes, data = list(body.sizes), body.data
    if sum(sizes) != len(data):
        raise BadPeerMessage("tianlu: append_entries whose sizes do not add up")
    first = body.prev_index + 1
    _check_numbers("append_entries", first + len(sizes))
    pieces = [data[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]
    entries: list[Entry] = []
    start, term_before = 0, body.prev_term
    for run in body.runs:
        term, type_, end = run.term, _entry_type(run.type), start + run.count
        if not term_before <= term <= leader_term or end == start:
            raise BadPeerMessage("tianlu: append_entries whose terms do not ascend to its own")
        entries += [
            Entry(term, index, piece, type_)  # type: ignore[arg-type]  # checked above
            for index, piece in enumerate(pieces[start:end], first + start)
        ]
        start, term_before = end, term
    if start != len(sizes):
        raise BadPeerMessage("tianlu: append_entries whose counts do not add up")
    return tuple(entries)


def _encode_append_entries_response(message: AppendEntriesResponse) -> pb.PeerMessage:
    return pb.PeerMessage(
        to=message.to,
        sender=message.sender,
        term=message.term,
        append_entries_response=pb.PeerAppendEntriesResponse(
            index=message.index,
            rejected=message.rejected,
            hint_index=message.hint_index,
            hint_term=message.hint_term,
            needs_snapshot=message.needs_snapshot,
        ),
    )


def _decode_append_entries_response(
    wire: pb.PeerMessage, body: pb.PeerAppendEntriesResponse
) -> AppendEntriesResponse:
    _check_numbers("append_entries_response", body.index, body.hint_index, body.hint_term)
    return AppendEntriesResponse(
        MemberId(wire.to),
        MemberId(wire.sender),
        Term(wire.term),
        Index(body.index),
        body.rejected,
        Index(body.hint_index),
        Term(body.hint_term),
        body.needs_snapshot,
    )


def _encode_heartbeat(message: Heartbeat) -> pb.PeerMessage:
    return pb.PeerMessage(
        to=message.to,
        sender=message.sender,
        term=message.term,
        heartbeat=pb.PeerHeartbeat(commit=message.commit, read_round=message.read_round),
    )


def _decode_heartbeat(wire: pb.PeerMessage, body: pb.PeerHeartbeat) -> Heartbeat:
    _check_numbers("heartbeat", body.commit, body.read_round)
    return Heartbeat(
        MemberId(wire.to),
        MemberId(wire.sender),
        Term(wire.term),
        Index(body.commit),
        body.read_round,
    )


def _encode_heartbeat_response(message: HeartbeatResponse) -> pb.PeerMessage:
    return pb.PeerMessage(
        to=message.to,
        sender=message.sender,
        term=message.term,
        heartbeat_response=pb.PeerHeartbeatResponse(read_round=message.read_round),
    )


def _decode_heartbeat_response(
    wire: pb.PeerMessage, body: pb.PeerHeartbeatResponse
) -> HeartbeatResponse:
    _check_numbers("heartbeat_response", body.read_round)
    return HeartbeatResponse(
        MemberId(wire.to), MemberId(wire.sender), Term(wire.term), body.read_round
    )


# ------------------------------------------------------------------------------- snapshots


def _encode_install_snapshot(message: InstallSnapshot) -> pb.PeerMessage:
    snapshot, conf = message.snapshot, message.snapshot.conf_state
    return pb.PeerMessage(
        to=message.to,
        sender=message.sender,
        term=message.term,
        install_snapshot=pb.PeerInstallSnapshot(
            snapshot_index=snapshot.index,
            snapshot_term=snapshot.term,
            conf_state=pb.PeerConfState(
                voters=conf.voters,
                learners=conf.learners,
                voters_outgoing=conf.voters_outgoing,
                learners_next=conf.learners_next,
                auto_leave=conf.auto_leave,
            ),
        ),
    )


def _decode_install_snapshot(wire: pb.PeerMessage, body: pb.PeerInstallSnapshot) -> InstallSnapshot:
    _check_numbers("install_snapshot", body.snapshot_index, body.snapshot_term)
    conf = body.conf_state
    conf_state = ConfState(
        _members(conf.voters),
        _members(conf.learners),
        _members(conf.voters_outgoing),
        _members(conf.learners_next),
        conf.auto_leave,
    )
    if not conf_state.voters or not body.snapshot_index or not body.snapshot_term:
        raise BadPeerMessage("tianlu: install_snapshot without position or voters")
    snapshot = SnapshotMeta(Index(body.snapshot_index), Term(body.snapshot_term), conf_state)
    return InstallSnapshot(MemberId(wire.to), MemberId(wire.sender), Term(wire.term), snapshot)


def _members(numbers: Iterable[int]) -> tuple[MemberId, ...]:
    members = tuple(MemberId(number) for number in numbers)
    if len(members) > MEMBERS_MAX or NO_MEMBER in members:
        raise BadPeerMessage("tianlu: install_snapshot with impossible members")
    if any(before >= after for before, after in pairwise(members)):
        raise BadPeerMessage("tianlu: install_snapshot whose members do not ascend")
    return members


# ------------------------------------------------------------------------------- the rest


def _encode_timeout_now(message: TimeoutNow) -> pb.PeerMessage:
    return pb.PeerMessage(
        to=message.to, sender=message.sender, term=message.term, timeout_now=pb.PeerTimeoutNow()
    )


def _decode_timeout_now(wire: pb.PeerMessage, _body: pb.PeerTimeoutNow) -> TimeoutNow:
    return TimeoutNow(MemberId(wire.to), MemberId(wire.sender), Term(wire.term))


def _encode_forwarded_transfer(message: ForwardedTransfer) -> pb.PeerMessage:
    return pb.PeerMessage(
        to=message.to,
        sender=message.sender,
        forwarded_transfer=pb.PeerForwardedTransfer(transferee=message.transferee),
    )


def _decode_forwarded_transfer(
    wire: pb.PeerMessage, body: pb.PeerForwardedTransfer
) -> ForwardedTransfer:
    if not body.transferee:
        raise BadPeerMessage("tianlu: forwarded_transfer to nobody")
    return ForwardedTransfer(MemberId(wire.to), MemberId(wire.sender), MemberId(body.transferee))


def _encode_forwarded_proposal(message: ForwardedProposal) -> pb.PeerMessage:
    return pb.PeerMessage(
        to=message.to,
        sender=message.sender,
        term=message.term,
        forwarded_proposal=pb.PeerForwardedProposal(data=message.data, type=message.type),
    )


def _decode_forwarded_proposal(
    wire: pb.PeerMessage, body: pb.PeerForwardedProposal
) -> ForwardedProposal:
    return ForwardedProposal(
        MemberId(wire.to),
        MemberId(wire.sender),
        Term(wire.term),
        body.data,
        _entry_type(body.type),
    )


def _encode_read_index_request(message: ReadIndexRequest) -> pb.PeerMessage:
    return pb.PeerMessage(
        to=message.to,
        sender=message.sender,
        read_index_request=pb.PeerReadIndexRequest(context=message.context),
    )


def _decode_read_index_request(
    wire: pb.PeerMessage, body: pb.PeerReadIndexRequest
) -> ReadIndexRequest:
    return ReadIndexRequest(MemberId(wire.to), MemberId(wire.sender), body.context)


def _encode_read_index_response(message: ReadIndexResponse) -> pb.PeerMessage:
    return pb.PeerMessage(
        to=message.to,
        sender=message.sender,
        term=message.term,
        read_index_response=pb.PeerReadIndexResponse(index=message.index, context=message.context),
    )


def _decode_read_index_response(
    wire: pb.PeerMessage, body: pb.PeerReadIndexResponse
) -> ReadIndexResponse:
    _check_numbers("read_index_response", body.index)
    return ReadIndexResponse(
        MemberId(wire.to),
        MemberId(wire.sender),
        Term(wire.term),
        Index(body.index),
        body.context,
    )


_ENCODERS: Final[dict[type, Callable[[Any], pb.PeerMessage]]] = {
    RequestVote: _encode_request_vote,
    RequestVoteResponse: _encode_request_vote_response,
    AppendEntries: _encode_append_entries,
    AppendEntriesResponse: _encode_append_entries_response,
    Heartbeat: _encode_heartbeat,
    HeartbeatResponse: _encode_heartbeat_response,
    InstallSnapshot: _encode_install_snapshot,
    TimeoutNow: _encode_timeout_now,
    ForwardedTransfer: _encode_forwarded_transfer,
    ForwardedProposal: _encode_forwarded_proposal,
    ReadIndexRequest: _encode_read_index_request,
    ReadIndexResponse: _encode_read_index_response,
}

_DECODERS: Final[dict[str, Callable[[pb.PeerMessage, Any], Message]]] = {
    "request_vote": _decode_request_vote,
    "request_vote_response": _decode_request_vote_response,
    "append_entries": _decode_append_entries,
    "append_entries_response": _decode_append_entries_response,
    "heartbeat": _decode_heartbeat,
    "heartbeat_response": _decode_heartbeat_response,
    "install_snapshot": _decode_install_snapshot,
    "timeout_now": _decode_timeout_now,
    "forwarded_transfer": _decode_forwarded_transfer,
    "forwarded_proposal": _decode_forwarded_proposal,
    "read_index_request": _decode_read_index_request,
    "read_index_response": _decode_read_index_response,
}
