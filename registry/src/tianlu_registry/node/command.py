"""How a command travels through the log: a short envelope around etcd's own request bytes.

    kind      1 byte    what the bytes after the envelope are (CommandKind)
    id        8 bytes   little-endian; the proposer's number for it, to find who waits
    request             the serialized etcdserverpb message

The member that proposed a command keeps the parsed request beside the waiter
(`proposals.Proposal`), so only replay and the other members parse these bytes again.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, TypeAlias

from google.protobuf.message import DecodeError

from tianlu._proto.etcd.rpc_pb2 import (
    AlarmRequest,
    CompactionRequest,
    DeleteRangeRequest,
    LeaseCheckpointRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    Member,
    MemberUpdateRequest,
    PutRequest,
    TxnRequest,
)
from tianlu_registry.auth import AuthCommand
from tianlu_registry.auth.commands import MESSAGES as AUTH_MESSAGES
from tianlu_registry.auth.commands import AuthRequest
from tianlu_registry.auth.envelope import CLAIMED_KIND, Claimed, unseal
from tianlu_registry.errors import Corrupt

PlainRequest: TypeAlias = (
    PutRequest
    | DeleteRangeRequest
    | TxnRequest
    | CompactionRequest
    | LeaseGrantRequest
    | LeaseRevokeRequest
    | LeaseCheckpointRequest
    | Member
    | MemberUpdateRequest
    | AlarmRequest
    | AuthRequest
)
Request: TypeAlias = PlainRequest | Claimed


class CommandKind(IntEnum):
    """What a command does. The numbers are stored: never reuse one."""

    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    COMPACTION = 4
    LEASE_GRANT = 5
    LEASE_REVOKE = 6
    LEASE_CHECKPOINT = 7
    MEMBER_PUBLISH = 8
    MEMBER_UPDATE = 9
    ALARM = 10
    AUTH_ENABLE = AuthCommand.ENABLE
    AUTH_DISABLE = AuthCommand.DISABLE
    AUTH_USER_ADD = AuthCommand.USER_ADD
    AUTH_USER_DELETE = AuthCommand.USER_DELETE
    AUTH_USER_CHANGE_PASSWORD = AuthCommand.USER_CHANGE_PASSWORD
    AUTH_USER_GRANT_ROLE = AuthCommand.USER_GRANT_ROLE
    AUTH_USER_REVOKE_ROLE = AuthCommand.USER_REVOKE_ROLE
    AUTH_ROLE_ADD = AuthCommand.ROLE_ADD
    AUTH_ROLE_DELETE = AuthCommand.ROLE_DELETE
    AUTH_ROLE_GRANT_PERMISSION = AuthCommand.ROLE_GRANT_PERMISSION
    AUTH_ROLE_REVOKE_PERMISSION = AuthCommand.ROLE_REVOKE_PERMISSION
    AUTH_LOG_IN = AuthCommand.LOG_IN
    CLAIMED = CLAIMED_KIND  # one of the others, on behalf of a user: see `auth.envelope`


_ENVELOPE: Final = struct.Struct("<BQ")
ENVELOPE_BYTES: Final = _ENVELOPE.size
ID_MAX: Final = (1 << 64) - 1

_MESSAGE_OF: Final[dict[int, type[PlainRequest]]] = {
    CommandKind.PUT: PutRequest,
    CommandKind.DELETE_RANGE: DeleteRangeRequest,
    CommandKind.TXN: TxnRequest,
    CommandKind.COMPACTION: CompactionRequest,
    CommandKind.LEASE_GRANT: LeaseGrantRequest,
    CommandKind.LEASE_REVOKE: LeaseRevokeRequest,
    CommandKind.LEASE_CHECKPOINT: LeaseCheckpointRequest,
    CommandKind.MEMBER_PUBLISH: Member,
    CommandKind.MEMBER_UPDATE: MemberUpdateRequest,
    CommandKind.ALARM: AlarmRequest,
    **{int(kind): message for kind, message in AUTH_MESSAGES.items()},
}


def encode(kind: CommandKind, proposal_id: int, request: bytes) -> bytes:
    """Return the bytes of a log entry."""
    return _ENVELOPE.pack(kind, proposal_id) + request


def proposal_id_of(data: bytes) -> int:
    """Return the proposer's number, without parsing the request. Data must not be empty.

    Raises:
        Corrupt: the entry is shorter than an envelope.
    """
    return _envelope(data)[1]


def decode(data: bytes) -> tuple[CommandKind, Request]:
    """Parse a log entry.

    Raises:
        Corrupt: the entry is no command. Its checksum was right, so whatever wrote it was wrong.
    """
    kind, _ = _envelope(data)
    payload = data[ENVELOPE_BYTES:]
    if kind == CommandKind.CLAIMED:
        claim, kind, payload = unseal(payload)
        return CommandKind.CLAIMED, Claimed(claim, kind, _parse(kind, payload))
    request = _parse(kind, payload)
    return CommandKind(kind), request


def _parse(kind: int, payload: bytes) -> PlainRequest:
    try:
        return _MESSAGE_OF[kind].FromString(payload)
    except (KeyError, DecodeError) as error:
        what = f"log entry of kind {kind} with a request of {len(payload)} bytes is no command"
        raise Corrupt(what) from error


def _envelope(data: bytes) -> tuple[int, int]:
    try:
        kind, proposal_id = _ENVELOPE.unpack_from(data)
    except struct.error as error:
        raise Corrupt(f"log entry of {len(data)} bytes has no envelope") from error
    return int(kind), int(proposal_id)
