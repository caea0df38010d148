"""The cluster as callers from outside get it: what changes it, copies it or hashes it is root's.

Source: etcd server/etcdserver/api/v3rpc/maintenance.go (`authMaintenanceServer`),
server/etcdserver/server.go (`checkMembershipOperationPermission`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

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
from tianlu_registry.authn.guard import Guard
from tianlu_registry.engine.cluster import Cluster


class GuardedCluster:
    """Implements `engine.cluster.Cluster` for callers. The list of members is for everybody, as in
    etcd: clients find the others by it before they log in."""

    def __init__(self, cluster: Cluster, guard: Guard) -> None:
        self._cluster = cluster
        self._guard = guard

    async def member_list(self, request: MemberListRequest) -> MemberListResponse:
        return await self._cluster.member_list(request)

    async def member_add(self, request: MemberAddRequest) -> MemberAddResponse:
        await self._administrator()
        return await self._cluster.member_add(request)

    async def member_remove(self, request: MemberRemoveRequest) -> MemberRemoveResponse:
        await self._administrator()
        return await self._cluster.member_remove(request)

    async def member_update(self, request: MemberUpdateRequest) -> MemberUpdateResponse:
        await self._administrator()
        return await self._cluster.member_update(request)

    async def member_promote(self, request: MemberPromoteRequest) -> MemberPromoteResponse:
        await self._administrator()
        return await self._cluster.member_promote(request)

    async def move_leader(self, request: MoveLeaderRequest) -> MoveLeaderResponse:
        await self._administrator()
        return await self._cluster.move_leader(request)

    async def alarm(self, request: AlarmRequest) -> AlarmResponse:
        if request.action != AlarmRequest.GET:
            await self._administrator()
        elif self._guard.enabled:
            await self._guard.require(self._guard.checker.anybody)
        return await self._cluster.alarm(request)

    async def hash(self) -> HashResponse:
        await self._administrator()
        return await self._cluster.hash()

    async def hash_kv(self, request: HashKVRequest) -> HashKVResponse:
        await self._administrator()
        return await self._cluster.hash_kv(request)

    async def snapshot(self) -> AsyncGenerator[SnapshotResponse, None]:
        await self._administrator()
        async with aclosing(self._cluster.snapshot()) as pieces:
            async for piece in pieces:
                yield piece

    async def _administrator(self) -> None:
        if self._guard.enabled:
            await self._guard.require(self._guard.checker.administrator)
