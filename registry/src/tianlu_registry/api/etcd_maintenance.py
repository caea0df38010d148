"""etcdserverpb.Maintenance: the state of a member, its copies and hashes, alarms, leadership."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from tianlu._proto.etcd.rpc_pb2 import (
    CORRUPT,
    NOSPACE,
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    DefragmentRequest,
    DefragmentResponse,
    DowngradeInfo,
    DowngradeRequest,
    DowngradeResponse,
    HashKVRequest,
    HashKVResponse,
    HashRequest,
    HashResponse,
    MoveLeaderRequest,
    MoveLeaderResponse,
    SnapshotRequest,
    SnapshotResponse,
    StatusRequest,
    StatusResponse,
)
from tianlu_registry.api.grpc_asgi import RpcContext, RpcError, StatusCode
from tianlu_registry.engine.cluster import Cluster
from tianlu_registry.engine.store import Store, StoreStatus
from tianlu_registry.errors import (
    Conflict,
    DowngradeTargetInvalid,
    DowngradeVersionMalformed,
    InvalidArgument,
    NoInflightDowngrade,
    NoLeader,
)

_log = logging.getLogger(__name__)

ETCD_VERSION = "3.5.13"
"""The etcd release whose API we serve. Clients choose by it: Kubernetes, for one, relies on watch
progress requests only from 3.5.13 on, and ours keep their promise (`etcd_watch.py`)."""

CLUSTER_VERSION: Final = "3.5.0"
"""What etcd calls the version that all members of a cluster speak; that of the stored data too."""

_DOWNGRADE_TARGET: Final = ("3", "4")
"""The only version that etcd would go back to from `CLUSTER_VERSION`."""

_VERSION: Final = re.compile(r"(\d+)\.(\d+)(?:\.\d+)?(?:[-+][0-9A-Za-z.+-]*)?")

_ALARM_NAMES: dict[str, AlarmType] = {"NOSPACE": NOSPACE, "CORRUPT": CORRUPT}


def raised_alarms(status: StoreStatus) -> list[AlarmMember]:
    """Return the alarms of the cluster, or those that the store's errors speak of."""
    if status.alarms:
        return list(status.alarms)
    return [
        AlarmMember(memberID=status.member_id, alarm=alarm)
        for name, alarm in _ALARM_NAMES.items()
        if any(name in error for error in status.errors)
    ]


def alarm_name(number: int) -> str:
    """Return what an alarm is called; its number, as in Go, if it has no name here."""
    known = AlarmType.DESCRIPTOR.values_by_number.get(number)
    return str(number) if known is None else known.name


class MaintenanceServicer:
    """The whole service, over a cluster and the store that it replicates."""

    def __init__(self, store: Store, cluster: Cluster) -> None:
        self._store = store
        self._cluster = cluster

    async def Status(self, request: StatusRequest, context: RpcContext) -> StatusResponse:  # noqa: N802
        status = self._store.status()
        return StatusResponse(
            header=self._store.header(),
            version=ETCD_VERSION,
            dbSize=status.db_size,
            dbSizeInUse=status.db_size_in_use,
            dbSizeQuota=status.db_size_quota,
            leader=status.leader_id,
            raftIndex=status.raft_index,
            raftTerm=status.raft_term,
            raftAppliedIndex=status.raft_applied_index,
            errors=_errors(status),
            isLearner=status.is_learner,
            storageVersion=CLUSTER_VERSION,
            downgradeInfo=DowngradeInfo(enabled=False),
        )

    async def Defragment(  # noqa: N802
        self, request: DefragmentRequest, context: RpcContext
    ) -> DefragmentResponse:
        """Do nothing: the database reuses freed pages and needs no defragmenting."""
        _log.info("defragment_not_needed peer=%s reason=freed_pages_are_reused", context.peer)
        return DefragmentResponse()  # etcd's has no header either

    async def Downgrade(  # noqa: N802
        self, request: DowngradeRequest, context: RpcContext
    ) -> DowngradeResponse:
        """Answer what etcd 3.5 would about going back to 3.4; it cannot be done here.

        Raises:
            DowngradeVersionMalformed, DowngradeTargetInvalid: VALIDATE or ENABLE of another
                version than 3.4.
            Conflict: ENABLE of 3.4.
            NoInflightDowngrade: CANCEL.

        Source: etcd server/etcdserver/v3_server.go, `Downgrade`.
        """
        if request.action == DowngradeRequest.CANCEL:
            raise NoInflightDowngrade
        if request.action not in {DowngradeRequest.VALIDATE, DowngradeRequest.ENABLE}:
            raise RpcError(StatusCode.UNKNOWN, "etcdserver: unknown method")
        version = _VERSION.fullmatch(request.version)
        if version is None:
            raise DowngradeVersionMalformed
        if version.groups() != _DOWNGRADE_TARGET:
            raise DowngradeTargetInvalid
        if request.action == DowngradeRequest.ENABLE:
            raise Conflict(
                "tianlu: action: a running cluster is not downgraded; to go back to an earlier "
                "release, restore a snapshot that was saved before the upgrade"
            )
        return DowngradeResponse(header=self._store.header(), version=CLUSTER_VERSION)

    async def Alarm(self, request: AlarmRequest, context: RpcContext) -> AlarmResponse:  # noqa: N802
        """List alarms, raise or disarm one.

        Raises:
            InvalidArgument: ACTIVATE of what is no alarm, at which etcd's members end.
        """
        if request.action == AlarmRequest.ACTIVATE and request.alarm not in AlarmType.values():
            raise InvalidArgument("alarm", f"is {request.alarm}, which is no type of alarm")
        return await self._cluster.alarm(request)

    async def Hash(self, request: HashRequest, context: RpcContext) -> HashResponse:  # noqa: N802
        return await self._cluster.hash()

    async def HashKV(self, request: HashKVRequest, context: RpcContext) -> HashKVResponse:  # noqa: N802
        return await self._cluster.hash_kv(request)

    async def MoveLeader(  # noqa: N802
        self, request: MoveLeaderRequest, context: RpcContext
    ) -> MoveLeaderResponse:
        """Hand leadership over; refused, as by etcd, by a member that does not lead."""
        await self._cluster.move_leader(request)
        return MoveLeaderResponse()  # etcd's has no header either

    async def Snapshot(  # noqa: N802
        self, request: SnapshotRequest, context: RpcContext
    ) -> AsyncGenerator[SnapshotResponse, None]:
        """Stream this member's state. A caller that is slow or gone holds back or ends only its
        own copy."""
        size = 0
        _log.info("snapshot_started peer=%s", context.peer)
        async with aclosing(self._cluster.snapshot()) as pieces:
            async for piece in pieces:
                size += len(piece.blob)
                piece.ClearField("header")  # as in etcd
                yield piece
        _log.info("snapshot_complete peer=%s bytes=%d", context.peer, size)


def _errors(status: StoreStatus) -> list[str]:
    """Return what is wrong: alarms as etcd writes them, then whatever else there is, in words."""
    alarms = [
        f"memberID:{alarm.memberID} alarm:{alarm_name(alarm.alarm)} " for alarm in status.alarms
    ]
    no_leader = [NoLeader.text] if status.leader_id == 0 else []
    return [*no_leader, *alarms, *status.errors]
