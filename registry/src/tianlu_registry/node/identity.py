"""Who a node is: its member and cluster ids, and how its WAL remembers them.

The ids are etcd's function of the peer URLs and the cluster token, so a cluster of one with etcd's
default settings carries etcd's well-known default ids.
Source: etcd server/etcdserver/api/membership/member.go `computeMemberID`, cluster.go `genID`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tianlu_registry.errors import Corrupt, InvalidArgument
from tianlu_registry.node.config import NodeConfig
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


def encode_metadata(identity: Identity) -> bytes:
    """Return the record that stands at the head of the WAL."""
    return json.dumps(
        {
            "format": _FORMAT,
            "cluster_id": f"{identity.cluster_id:x}",
            "member_id": f"{identity.member_id:x}",
        }
    ).encode()


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


def check_identity(stored: Identity, configured: Identity) -> None:
    """Refuse to run one member's data as another's.

    Raises:
        InvalidArgument: the data directory belongs to another member or cluster.
    """
    if stored != configured:
        raise InvalidArgument(
            "data_dir",
            f"holds member {stored.member_id:x} of cluster {stored.cluster_id:x}, but "
            "--initial-cluster, --initial-cluster-token and --initial-advertise-peer-urls make "
            f"this member {configured.member_id:x} of cluster {configured.cluster_id:x}; "
            "give the settings it was made with, or another --data-dir",
        )


def _member_id(peer_urls: Iterable[str], cluster_token: str) -> MemberId:
    return MemberId(_digest("".join(sorted(peer_urls)).encode() + cluster_token.encode()))


def _cluster_id(member_ids: Iterable[MemberId]) -> int:
    return _digest(b"".join(id_.to_bytes(8, "big") for id_ in sorted(member_ids)))


def _digest(data: bytes) -> int:
    # SHA-1 because the ids are etcd's; nothing here is a secret or a proof.
    return int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8], "big")
