"""The `Store` that needs nothing installed: our own replicated node, in this process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final, TypeVar

from tianlu._proto.etcd.rpc_pb2 import (
    NOSPACE,
    AlarmMember,
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseStatus,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    ResponseHeader,
    TxnRequest,
    TxnResponse,
)
from tianlu_registry.auth import Claim
from tianlu_registry.auth.envelope import Claimed, seal
from tianlu_registry.engine.range_stream import pieces
from tianlu_registry.engine.store import StoreStatus
from tianlu_registry.errors import (
    Broken,
    LeaseTtlTooLarge,
    RequestTooLarge,
    Stopped,
)
from tianlu_registry.lease import TTL_SECONDS_MAX
from tianlu_registry.mvcc import (
    check_delete_range,
    check_put,
    check_range,
    check_txn,
    is_read_only,
    is_serializable,
)
from tianlu_registry.mvcc.types import Watcher, WatchSink, WatchSpec
from tianlu_registry.node.command import CommandKind, PlainRequest
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.node.crash import CrashHook
from tianlu_registry.node.node import Node, OnFatal

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class EmbeddedStore:
    """Implements `engine.store.Store` on a node of this process.

    The store checks what can be checked without the state, then proposes; what depends on the
    state is checked when the command is applied. Reads wait for a read index and are then
    answered from memory and the mapped database.

    Args:
        claim: whose writes these are; None for the node's own, or while nobody asks.
    """

    def __init__(self, node: Node, claim: Claim | None = None) -> None:
        self._node = node
        self._claim = claim
        self._machine = node.machine
        self._mvcc = node.machine.mvcc
        self._lessor = node.machine.lessor
        self._request_bytes_max = node.config.request_bytes_max
        self._txn_ops_max = node.config.txn_ops_max

    def header(self) -> ResponseHeader:
        return self._machine.header()

    async def range(self, request: RangeRequest) -> RangeResponse:
        check_range(request)
        if not request.serializable:
            await self._node.read()
        response = self._read(self._mvcc.range, request)
        self._machine.complete(response.header)
        return response

    async def range_encoded(self, request: RangeRequest) -> bytes:
        check_range(request)
        if not request.serializable:
            await self._node.read()
        return self._read(self._encoded, request)

    def _encoded(self, request: RangeRequest) -> bytes:
        body = self._mvcc.range_encoded(request)
        if body is not None:
            return self._machine.encoded_header() + body
        response = self._mvcc.range(request)
        self._machine.complete(response.header)
        return response.SerializeToString()

    def range_stream(self, request: RangeRequest) -> AsyncGenerator[RangeResponse, None]:
        check_range(request)
        return pieces(request, self._range_piece)

    async def _range_piece(self, request: RangeRequest) -> RangeResponse:
        if not request.serializable:
            await self._node.read()
        read = self._mvcc.range if request.count_only else self._mvcc.range_piece
        response = self._read(read, request)
        self._machine.complete(response.header)
        return response

    async def put(self, request: PutRequest) -> PutResponse:
        check_put(request)
        payload = self._serialized(request)
        self._node.admit(len(payload))
        response: PutResponse = await self._propose(CommandKind.PUT, request, payload)
        return response

    async def delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        check_delete_range(request)
        payload = self._serialized(request)
        response: DeleteRangeResponse = await self._propose(
            CommandKind.DELETE_RANGE, request, payload
        )
        return response

    async def txn(self, request: TxnRequest) -> TxnResponse:
        check_txn(request, self._txn_ops_max)
        if is_read_only(request):
            return await self._read_only_txn(request)
        payload = self._serialized(request)
        if _puts(request):
            self._node.admit(len(payload))
        response: TxnResponse = await self._propose(CommandKind.TXN, request, payload)
        return response

    async def compact(self, request: CompactionRequest) -> CompactionResponse:
        payload = self._serialized(request)
        response: CompactionResponse = await self._propose(CommandKind.COMPACTION, request, payload)
        if request.physical:
            await self._node.compaction.finished()
        return response

    def watch(self, spec: WatchSpec, sink: WatchSink) -> Watcher:
        self._check_runs()
        return self._machine.hub.watch(spec, sink)

    async def lease_grant(self, request: LeaseGrantRequest) -> LeaseGrantResponse:
        if request.TTL > TTL_SECONDS_MAX:
            raise LeaseTtlTooLarge
        if not request.ID:
            request.ID = self._fresh_lease_id()
        # Before the log, not when it is applied: members with other election timeouts have
        # other minima, and would come to different states.
        request.TTL = max(request.TTL, self._node.config.lease_ttl_seconds_min)
        payload = self._serialized(request)
        self._node.admit(len(payload))
        response: LeaseGrantResponse = await self._propose(
            CommandKind.LEASE_GRANT, request, payload
        )
        return response

    async def lease_revoke(self, request: LeaseRevokeRequest) -> LeaseRevokeResponse:
        payload = self._serialized(request)
        response: LeaseRevokeResponse = await self._propose(
            CommandKind.LEASE_REVOKE, request, payload
        )
        return response

    async def lease_keep_alive(self, lease_id: int) -> LeaseKeepAliveResponse:
        self._check_runs()
        header = self.header()
        ttl_seconds = await self._node.others.leases.renew(lease_id)
        return LeaseKeepAliveResponse(header=header, ID=lease_id, TTL=ttl_seconds)

    async def lease_keep_alives(self, lease_ids: Sequence[int]) -> list[LeaseKeepAliveResponse]:
        self._check_runs()
        header = self.header()
        ttls = await self._node.others.leases.renew_all(lease_ids)
        return [
            LeaseKeepAliveResponse(header=header, ID=lease_id, TTL=ttl_seconds)
            for lease_id, ttl_seconds in zip(lease_ids, ttls, strict=True)
        ]

    async def lease_time_to_live(self, request: LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse:
        self._check_runs()
        response = await self._node.others.leases.time_to_live(request)
        response.header.CopyFrom(self.header())
        return response

    async def lease_leases(self) -> LeaseLeasesResponse:
        await self._node.read()
        self._check_runs()
        leases = [LeaseStatus(ID=lease_id) for lease_id in self._lessor.ids()]
        return LeaseLeasesResponse(header=self.header(), leases=leases)

    def status(self) -> StoreStatus:
        node = self._node
        raft = node.raft_status()
        db_size, db_size_in_use = node.db_sizes()
        return StoreStatus(
            member_id=node.identity.member_id,
            leader_id=raft.leader_id,
            raft_term=raft.term,
            raft_index=raft.committed,
            raft_applied_index=node.applied_index,
            revision=self._mvcc.revision,
            compact_revision=self._mvcc.compact_revision,
            db_size=db_size,
            db_size_in_use=db_size_in_use,
            db_size_quota=node.config.quota_bytes,
            is_learner=node.is_learner,
            errors=self._errors(),
            alarms=tuple(self._alarms()),
        )

    async def _read_only_txn(self, request: TxnRequest) -> TxnResponse:
        # A comparison reads too, so only a transaction whose every read says so is serializable.
        if not is_serializable(request):
            await self._node.read()
        response = self._read(self._mvcc.txn, request).response
        self._machine.complete(response.header)
        return response

    def _read(self, read: Callable[[_Request], _Answer], request: _Request) -> _Answer:
        """Read from the local state. What cannot be read stops the node: it cannot be trusted."""
        self._check_runs()
        try:
            return read(request)
        except Broken as error:
            self._node.fail(error)
            raise Stopped from error

    def _alarms(self) -> list[AlarmMember]:
        """Return the alarms, with this member's own at once when it has measured it."""
        own = AlarmMember(memberID=self._node.identity.member_id, alarm=NOSPACE)
        alarms = self._node.machine.cluster.alarm_messages()
        is_new = self._node.space.alarm is not None and own not in alarms
        return [*alarms, own] if is_new else alarms

    def _errors(self) -> tuple[str, ...]:
        """Return this member's own trouble in words."""
        own = self._node.space.alarm
        return () if own is None else (own,)

    def _propose(
        self, kind: CommandKind, request: PlainRequest, payload: bytes
    ) -> asyncio.Future[Any]:
        if self._claim is None:
            return self._node.propose(kind, request, payload)
        claimed = Claimed(self._claim, kind, request)
        return self._node.propose(CommandKind.CLAIMED, claimed, seal(self._claim, kind, payload))

    def _serialized(self, request: PlainRequest) -> bytes:
        payload = request.SerializeToString()
        if len(payload) > self._request_bytes_max:
            raise RequestTooLarge
        return payload

    def _fresh_lease_id(self) -> int:
        # 63 bits: etcd's clients print and parse ids as positive hexadecimal numbers.
        while True:
            lease_id = random.SystemRandom().getrandbits(63)
            if lease_id and not self._lessor.has(lease_id):
                return lease_id

    def _check_runs(self) -> None:
        if not self._node.runs:
            raise Stopped


class EmbeddedNode:
    """A node and the store on it: what a process that embeds the registry starts and stops.

    Attributes:
        store: the store; it refuses with `Stopped` after `stop` or a failure.
        node: the node beneath, for what is not the store's (metrics, readiness).
    """

    def __init__(self, node: Node) -> None:
        self.node: Final = node
        self.store: Final = EmbeddedStore(node)

    @classmethod
    async def start(
        cls,
        config: NodeConfig,
        *,
        on_fatal: OnFatal | None = None,
        crash_hook: CrashHook | None = None,
    ) -> EmbeddedNode:
        """Start a node; see `Node.start` for the arguments and what it raises."""
        return cls(await Node.start(config, on_fatal=on_fatal, crash_hook=crash_hook))

    @property
    def stopped_with(self) -> Broken | None:
        """The error that stopped the node; None while it runs and after `stop`."""
        return self.node.stopped_with

    async def stop(self) -> None:
        """Stop in order; see `Node.stop`."""
        await self.node.stop()


def _puts(request: TxnRequest) -> bool:
    """Whether any branch, nested ones included, may put a key."""
    return any(
        op.HasField("request_put") or (op.HasField("request_txn") and _puts(op.request_txn))
        for branch in (request.success, request.failure)
        for op in branch
    )
