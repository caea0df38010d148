"""Who a node is: its member and cluster ids, and how its WAL remembers them.

The ids are etcd's function of the peer URLs and the cluster token, so a cluster of one with etcd's
default settings carries etcd's well-known default ids.
Source: etcd server/etcdserver/api/membership/member.go `computeMemberID`, cluster.go `genID`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

from tianlu_registry.errors import Corrupt, InvalidArgument
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.node.membership import MemberRecord, Membership
from tianlu_registry.raft.types import MemberId

_FORMAT: Final = 1
"""Version of the metadata record. A node refuses data of a format it does not know."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The ids that a data directory belongs to for its whole life."""

    cluster_id: int
    member_id: MemberId


def identity_of(config: NodeConfig) -> Identity:
    """Derive the ids from the configured members. Equal settings give equal ids anywhere."""
    ids = {name: _member_id(urls, config.cluster_token) for name, urls in config.members().items()}
    return Identity(cluster_id=_cluster_id(ids.values()), member_id=ids[config.name])


def founders_of(config: NodeConfig) -> Membership:
    """Return the membership that the configured members found a cluster with."""
    return Membership.founded_by(
        MemberRecord(_member_id(urls, config.cluster_token), name, urls)
        for name, urls in config.members().items()
    )


def new_member_id(peer_urls: Iterable[str], cluster_token: str, taken: Container[int]) -> MemberId:
    """Return a number for a member that is added: of its URLs, and of a counter while the number
    is taken, because a removed member's is never used again."""
    urls = sorted(peer_urls)
    for attempt in itertools.count():
        salt = f"+{attempt}" if attempt else ""
        member = _member_id(urls, cluster_token + salt)
        if member not in taken:
            return member
    raise AssertionError("unreachable")


def encode_metadata(identity: Identity, founders: Membership) -> bytes:
    """Return the record that stands at the head of the WAL.

    Args:
        founders: the membership that the log begins with; `Membership.of_strangers` in a member
            that joins.
    """
    return json.dumps(
        {
            "format": _FORMAT,
            "cluster_id": f"{identity.cluster_id:x}",
            "member_id": f"{identity.member_id:x}",
            "founders": founders.encode().decode(),
        }
    ).encode()


def decode_founders(metadata: bytes) -> Membership | None:
    """Return the membership that the log begins with; None where an earlier release did not store
    it.

    Raises:
        Corrupt: as `decode_metadata`.
    """
    founders = json.loads(metadata).get("founders")
    return None if founders is None else Membership.decode(founders.encode())


def decode_metadata(metadata: bytes) -> Identity:
    """Read the record back.

    Raises:
        Corrupt: it is not such a record, or of a later format.
    """
    try:
        fields = json.loads(metadata)
        found = fields["format"]
        identity = Identity(int(fields["cluster_id"], 16), MemberId(int(fields["member_id"], 16)))
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"the WAL's metadata is not a node identity: {metadata[:80]!r}") from error
    if found != _FORMAT:
        raise Corrupt(
            f"the WAL has format {found}; this version reads format {_FORMAT}: "
            "start the version of Tianlu that wrote it"
        )
    return identity


def check_owner(
    stored: Identity, founders: Membership, membership: Membership, config: NodeConfig
) -> None:
    """Refuse to run one member's data as another's.

    A member may have moved since the data was made; then its name tells it. A founder that has not
    must have been made with the same token. The number of one that joined is not of URLs and token
    alone.

    Args:
        founders, membership: who the members were at the beginning, and are now.

    Raises:
        InvalidArgument: the data directory belongs to another member or cluster.
    """
    record = membership.members.get(stored.member_id)
    if record is None:
        return  # joining, or removed: nothing is known to compare
    if set(record.peer_urls) != set(config.peer_urls):
        is_owner = record.name == config.name
    else:
        is_owner = (
            not founders.is_voter(stored.member_id)
            or record.peer_urls != founders.members[stored.member_id].peer_urls
            or _member_id(config.peer_urls, config.cluster_token) == stored.member_id
        )
    if not is_owner:
        raise InvalidArgument(
            "data_dir",
            f"holds member {stored.member_id:x} of cluster {stored.cluster_id:x}, which is "
            f"{record.name!r} at {','.join(record.peer_urls)}; that is not what --name, "
            "--initial-cluster-token and --initial-advertise-peer-urls say. Give the settings it "
            "was made with, or another --data-dir",
        )


def _member_id(peer_urls: Iterable[str], cluster_token: str) -> MemberId:
    return MemberId(_digest("".join(sorted(peer_urls)).encode() + cluster_token.encode()))


def _cluster_id(member_ids: Iterable[MemberId]) -> int:
    return _digest(b"".join(id_.to_bytes(8, "big") for id_ in sorted(member_ids)))


def _digest(data: bytes) -> int:
    # SHA-1 because the ids are etcd's; nothing here is a secret or a proof.
    return int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8], "big")
