"""etcdserverpb.Maintenance, as far as the store can honestly answer.

Hash, HashKV, Snapshot, MoveLeader and Downgrade are absent and answer UNIMPLEMENTED: a hash that
is not comparable with other members' or a snapshot nobody can restore would be worse than none.
"""

from __future__ import annotations

from tianlu._proto.etcd.rpc_pb2 import (
    CORRUPT,
    NOSPACE,
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    DefragmentRequest,
    DefragmentResponse,
    StatusRequest,
    StatusResponse,
)
from tianlu_registry.api.grpc_asgi import RpcContext, RpcError, StatusCode
from tianlu_registry.engine.store import Store, StoreStatus

ETCD_VERSION = "3.5.13"
"""The etcd release whose API we serve. Clients choose by it: Kubernetes, for one, relies on watch
progress requests only from 3.5.13 on, and ours keep their promise (`etcd_watch.py`)."""

_ALARM_NAMES: dict[str, AlarmType] = {"NOSPACE": NOSPACE, "CORRUPT": CORRUPT}


def raised_alarms(status: StoreStatus) -> list[AlarmMember]:
    """Return the alarms that the store's errors speak of."""
    return [
        AlarmMember(memberID=status.member_id, alarm=alarm)
        for name, alarm in _ALARM_NAMES.items()
        if any(name in error for error in status.errors)
    ]


class MaintenanceServicer:
    """Status and alarms."""

    def __init__(self, store: Store) -> None:
        self._store = store

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
        )

    async def Alarm(self, request: AlarmRequest, context: RpcContext) -> AlarmResponse:  # noqa: N802
        """List the alarms. They rise and clear by what is measured, not by request.

        Raises:
            RpcError: FAILED_PRECONDITION, an alarm is to be raised, or one that still stands is to
                be put down.
        """
        alarms = raised_alarms(self._store.status())
        if request.action == AlarmRequest.ACTIVATE:
            raise RpcError(
                StatusCode.FAILED_PRECONDITION,
                "tianlu: action: alarms are raised by the node's own measurements only",
            )
        if request.action == AlarmRequest.DEACTIVATE:
            if any(alarm.alarm == request.alarm for alarm in alarms):
                raise RpcError(
                    StatusCode.FAILED_PRECONDITION,
                    f"tianlu: action: alarm {AlarmType.Name(request.alarm)} still stands; "
                    "make room (delete keys, compact) and it clears by itself",
                )
            return AlarmResponse(header=self._store.header())
        return AlarmResponse(header=self._store.header(), alarms=alarms)

    async def Defragment(  # noqa: N802
        self, request: DefragmentRequest, context: RpcContext
    ) -> DefragmentResponse:
        """Do nothing: the database reuses freed pages and needs no defragmenting."""
        return DefragmentResponse(header=self._store.header())


def _errors(status: StoreStatus) -> list[str]:
    errors = list(status.errors)
    if status.leader_id == 0:
        errors.append("etcdserver: no leader")
    return errors
