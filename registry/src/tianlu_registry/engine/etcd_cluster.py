"""A `Cluster` on an existing etcd cluster: everything is asked of etcd and answered as it answers.

Whichever member is in use is asked, and the next one while that one cannot answer, or does not
lead where only the leader will do. `hash`, `hash_kv` and `snapshot` are those of the member in use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from tianlu._proto.etcd.rpc_pb2 import (
    AlarmRequest,
    AlarmResponse,
    HashKVRequest,
    HashKVResponse,
    HashRequest,
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
    SnapshotRequest,
    SnapshotResponse,
)
from tianlu_registry.engine.etcd_channels import EtcdMethod
from tianlu_registry.engine.etcd_requests import EtcdRequests

_MEMBER_LIST: Final = EtcdMethod("Cluster/MemberList", MemberListResponse)
_MEMBER_ADD: Final = EtcdMethod("Cluster/MemberAdd", MemberAddResponse)
_MEMBER_REMOVE: Final = EtcdMethod("Cluster/MemberRemove", MemberRemoveResponse)
_MEMBER_UPDATE: Final = EtcdMethod("Cluster/MemberUpdate", MemberUpdateResponse)
_MEMBER_PROMOTE: Final = EtcdMethod("Cluster/MemberPromote", MemberPromoteResponse)
_MOVE_LEADER: Final = EtcdMethod("Maintenance/MoveLeader", MoveLeaderResponse)
_ALARM: Final = EtcdMethod("Maintenance/Alarm", AlarmResponse)
_HASH: Final = EtcdMethod("Maintenance/Hash", HashResponse)
_HASH_KV: Final = EtcdMethod("Maintenance/HashKV", HashKVResponse)
_SNAPSHOT: Final = EtcdMethod("Maintenance/Snapshot", SnapshotResponse)


class EtcdCluster:
    """Implements `engine.cluster.Cluster`.

    Args:
        store: whose connections are used; it is closed by its owner.
    """

    def __init__(self, store: EtcdRequests) -> None:
        self._store = store

    async def member_list(self, request: MemberListRequest) -> MemberListResponse:
        return await self._store.call(_MEMBER_LIST, request)

    async def member_add(self, request: MemberAddRequest) -> MemberAddResponse:
        return await self._store.call(_MEMBER_ADD, request, writes=True)

    async def member_remove(self, request: MemberRemoveRequest) -> MemberRemoveResponse:
        return await self._store.call(_MEMBER_REMOVE, request, writes=True)

    async def member_update(self, request: MemberUpdateRequest) -> MemberUpdateResponse:
        return await self._store.call(_MEMBER_UPDATE, request, writes=True)

    async def member_promote(self, request: MemberPromoteRequest) -> MemberPromoteResponse:
        return await self._store.call(_MEMBER_PROMOTE, request, writes=True)

    async def move_leader(self, request: MoveLeaderRequest) -> MoveLeaderResponse:
        """See `Cluster.move_leader`. Whoever leads is found among the endpoints; `NotLeader` after
        the request timeout means that it is none of them."""
        return await self._store.call(_MOVE_LEADER, request, writes=True)

    async def alarm(self, request: AlarmRequest) -> AlarmResponse:
        writes = request.action != AlarmRequest.GET
        return await self._store.call(_ALARM, request, writes=writes)

    async def hash(self) -> HashResponse:
        return await self._store.call(_HASH, HashRequest())

    async def hash_kv(self, request: HashKVRequest) -> HashKVResponse:
        return await self._store.call(_HASH_KV, request)

    def snapshot(self) -> AsyncGenerator[SnapshotResponse, None]:
        return self._store.stream(_SNAPSHOT, SnapshotRequest())
