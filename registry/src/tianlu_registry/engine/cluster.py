"""The seam to what makes a store a cluster: its members, its leader, its alarms and its copies.

Beside `Store`, and in the same vocabulary: etcd's own messages. `engine.embedded_cluster` answers
from our own node, `engine.etcd_cluster` passes on to an existing etcd cluster.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from tianlu._proto.etcd.rpc_pb2 import (
    AlarmRequest,
    AlarmResponse,
    HashKVRequest,
    HashKVResponse,
    HashResponse,
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPromoteResponse,
    MemberRemoveRequest,
    MemberRemoveResponse,
    MemberUpdateRequest,
    MemberUpdateResponse,
    MoveLeaderRequest,
    MoveLeaderResponse,
    SnapshotResponse,
)


class Cluster(Protocol):
    """The members of a replicated store, and what is done to a store as a whole.

    Ownership and threading are those of `Store`. Every member answers; what only the leader can do
    is passed on to it.

    Raises (all calls): errors of `tianlu_registry.errors`, with etcd's texts.
    """

    async def member_list(self, request: MemberListRequest) -> MemberListResponse:
        """Return the members; as of now if `linearizable`, else as this member knows them."""
        ...

    async def member_add(self, request: MemberAddRequest) -> MemberAddResponse:
        """Add a voter or a learner at `peerURLs`. It is started afterwards, with
        `--initial-cluster-state existing`.

        Raises:
            PeerUrlExists: another member has one of the URLs.
            TooManyLearners: there is a learner already.
            UnhealthyCluster: (strict) a member that is away would cost the quorum.
        """
        ...

    async def member_remove(self, request: MemberRemoveRequest) -> MemberRemoveResponse:
        """Remove a member for ever: its id is never used again.

        Raises:
            MemberNotFound: there is none of this id.
            UnhealthyCluster: too few of the others are connected.
        """
        ...

    async def member_update(self, request: MemberUpdateRequest) -> MemberUpdateResponse:
        """Give a member other peer URLs."""
        ...

    async def member_promote(self, request: MemberPromoteRequest) -> MemberPromoteResponse:
        """Make a learner a voter.

        Raises:
            MemberNotLearner: it votes already.
            LearnerNotReady: it has not caught up with the leader.
        """
        ...

    async def move_leader(self, request: MoveLeaderRequest) -> MoveLeaderResponse:
        """Hand leadership over to `targetID`; returns when it leads.

        Raises:
            NotLeader: this member does not lead (etcd's clients then ask the one that does).
            BadLeaderTransferee: it is no voter.
            LeaderTransferTimeout: it does not lead after an election timeout.
        """
        ...

    async def alarm(self, request: AlarmRequest) -> AlarmResponse:
        """List, raise or put down alarms of the whole cluster."""
        ...

    async def hash(self) -> HashResponse:
        """Return a checksum of all that this member stores, for etcd's older tools."""
        ...

    async def hash_kv(self, request: HashKVRequest) -> HashKVResponse:
        """Return the checksum of the keys up to a revision: equal on members that agree.

        Raises:
            Compacted, FutureRevision: the revision is not there (any more, or yet).
        """
        ...

    def snapshot(self) -> AsyncGenerator[SnapshotResponse, None]:
        """Yield this member's state as one file in pieces: the database, then its SHA-256.

        The caller closes the generator, whole or not: what the copy holds is let go then.
        `remaining_bytes` falls to 0 with the last piece. See docs/reference/snapshot-file.md.
        """
        ...
