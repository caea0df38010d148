"""The handshake: both ends say who they are, and the accepting one says whether that fits.

dialler                           acceptor
  preface HELLO      ───────>
                     <───────      preface WELCOME (or a refusal, then it closes)
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, TypeVar

from google.protobuf.message import DecodeError

from tianlu._proto.v1 import peer_pb2 as pb
from tianlu_registry.raft import NO_MEMBER, MemberId
from tianlu_registry.transport.connection import (
    SILENT_CHECKS,
    SILENT_CHECKS_PATIENT,
    Connection,
)
from tianlu_registry.transport.errors import BadPeerMessage, PeerRefused, one_line
from tianlu_registry.transport.frames import VERSION, FrameKind
from tianlu_registry.transport.handler import Admission, PeerIdentity

LOG: Final = pb.PEER_CONNECTION_KIND_LOG
SNAPSHOT: Final = pb.PEER_CONNECTION_KIND_SNAPSHOT
CALL: Final = pb.PEER_CONNECTION_KIND_CALL
KINDS: Final[AbstractSet[int]] = {LOG, SNAPSHOT, CALL}

_M = TypeVar("_M", pb.PeerHello, pb.PeerWelcome)


@dataclass(frozen=True, slots=True)
class Remote:
    """The other side, as it says.

    Attributes:
        member: NO_MEMBER for a stranger.
    """

    cluster_id: int
    member: MemberId
    release: str
    kind: int


def silent_checks_max(kind: int) -> int:
    """Return how long a connection of that kind may be silent; see `Connection.check`."""
    return SILENT_CHECKS if kind == LOG else SILENT_CHECKS_PATIENT


async def greet(
    connection: Connection, identity: PeerIdentity, kind: int, receiver: MemberId
) -> Remote:
    """Open a connection that was dialled.

    Args:
        receiver: who should be there; NO_MEMBER if that does not matter.

    Raises:
        PeerRefused: the sides do not fit; the text says where.
        RegistryError: the connection ended, or the other side is none of ours.
    """
    hello = pb.PeerHello(
        cluster_id=identity.cluster_id,
        sender=identity.member_id,
        receiver=receiver,
        release=identity.release,
        kind=kind,  # type: ignore[arg-type]  # one of KINDS
    )
    connection.write(FrameKind.HELLO, hello.SerializeToString())
    _, body = await connection.receive(FrameKind.WELCOME)
    welcome = _parse(pb.PeerWelcome, body)
    if welcome.refusal:
        raise PeerRefused(f"tianlu: refused: {one_line(welcome.refusal)}")
    if connection.peer_version != VERSION:
        raise PeerRefused(f"tianlu: {_version_mismatch(connection.peer_version)}")
    if receiver != NO_MEMBER and welcome.member != receiver:
        raise PeerRefused(f"tianlu: member {welcome.member:x} listens there, not {receiver:x}")
    return Remote(welcome.cluster_id, MemberId(welcome.member), one_line(welcome.release), kind)


async def welcome(connection: Connection, identity: PeerIdentity, admit: Admission) -> Remote:
    """Open a connection that was accepted.

    Raises:
        PeerRefused: the sides do not fit; the other side has been told.
        RegistryError: the connection ended, or the other side is none of ours.
    """
    _, body = await connection.receive(FrameKind.HELLO)
    hello = _parse(pb.PeerHello, body)
    answer = pb.PeerWelcome(
        cluster_id=identity.cluster_id, member=identity.member_id, release=identity.release
    )
    if connection.peer_version != VERSION:
        refusal: str | None = _version_mismatch(connection.peer_version)
    else:
        refusal = misfit(hello, identity) or admit(MemberId(hello.sender))
    answer.refusal = refusal or ""
    connection.write(FrameKind.WELCOME, answer.SerializeToString())
    if refusal:
        raise PeerRefused(f"tianlu: member {hello.sender:x} was refused: {refusal}")
    return Remote(hello.cluster_id, MemberId(hello.sender), one_line(hello.release), hello.kind)


def misfit(hello: pb.PeerHello, identity: PeerIdentity) -> str | None:
    """Say in one line what of a HELLO does not fit this member, or None."""
    if hello.kind not in KINDS:
        return f"connections of kind {hello.kind} are not known to release {identity.release}"
    is_call = hello.kind == CALL
    if hello.cluster_id != identity.cluster_id and not (is_call and not hello.cluster_id):
        return f"this is cluster {identity.cluster_id:x}, you are of cluster {hello.cluster_id:x}"
    if hello.receiver != identity.member_id and not (is_call and not hello.receiver):
        return f"this is member {identity.member_id:x}, you want {hello.receiver:x}"
    if not hello.sender and not is_call:
        return "you did not say which member you are"
    if hello.sender == identity.member_id and hello.sender:
        return f"you say that you are member {hello.sender:x}, but that is me"
    return None


def _version_mismatch(version: int) -> str:
    return f"one side speaks version {version} of the peer protocol, the other version {VERSION}"


def _parse(kind: type[_M], body: bytes) -> _M:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise BadPeerMessage("tianlu: a handshake that cannot be parsed") from error
