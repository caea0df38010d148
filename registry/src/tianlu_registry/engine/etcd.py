"""A `Store` on an existing etcd cluster, for those who run one or outgrow the embedded node.

Everything is asked of one member at a time; when it cannot answer, the next one is tried. Reads
are repeated until their time is up. A write is repeated only when it certainly had no effect;
otherwise the caller is told `RequestTimeout`, its outcome being unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.message import Message

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    ResponseHeader,
    StatusRequest,
    StatusResponse,
    TxnRequest,
    TxnResponse,
)
from tianlu_registry.engine.etcd_channels import EtcdChannels, EtcdEndpoint, EtcdMethod, Response
from tianlu_registry.engine.etcd_errors import map_error, was_not_sent
from tianlu_registry.engine.etcd_lease import EtcdKeepAlive
from tianlu_registry.engine.etcd_watch import EtcdWatcher, EtcdWatchStream
from tianlu_registry.engine.range_stream import pieces
from tianlu_registry.engine.store import StoreStatus
from tianlu_registry.errors import InvalidArgument, RegistryError, Unavailable
from tianlu_registry.mvcc.types import WatchSink, WatchSpec

logger = logging.getLogger(__name__)

_RANGE = EtcdMethod("KV/Range", RangeResponse)
_PUT = EtcdMethod("KV/Put", PutResponse)
_DELETE_RANGE = EtcdMethod("KV/DeleteRange", DeleteRangeResponse)
_TXN = EtcdMethod("KV/Txn", TxnResponse)
_COMPACT = EtcdMethod("KV/Compact", CompactionResponse)
_LEASE_GRANT = EtcdMethod("Lease/LeaseGrant", LeaseGrantResponse)
_LEASE_REVOKE = EtcdMethod("Lease/LeaseRevoke", LeaseRevokeResponse)
_LEASE_TIME_TO_LIVE = EtcdMethod("Lease/LeaseTimeToLive", LeaseTimeToLiveResponse)
_LEASE_LEASES = EtcdMethod("Lease/LeaseLeases", LeaseLeasesResponse)
_STATUS = EtcdMethod("Maintenance/Status", StatusResponse)

_RETRY_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class EtcdConfig:
    """Where an etcd cluster is and how patient to be.

    Attributes:
        endpoints: client addresses of members, at least one: ``http://host:port``,
            ``https://host:port``, ``host:port`` or ``unix:/path``.
        credentials: for ``https`` members; None takes the system's roots.
        request_timeout_seconds: for one request with its repetitions. etcd's own limit is 5 s
            plus two election timeouts.
        status_interval_seconds: how old `status` may get, and how soon an idle store learns of
            revisions that others made.
    """

    endpoints: tuple[str, ...]
    credentials: grpc.ChannelCredentials | None = field(default=None, repr=False)
    request_timeout_seconds: float = 7.0
    status_interval_seconds: float = 1.0

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise InvalidArgument("etcd_endpoints", "is empty; name at least one member")
        if self.request_timeout_seconds <= 0:
            raise InvalidArgument("request_timeout_seconds", "must be positive")


class EtcdStore:
    """Implements `engine.store.Store`. Make it with `connect`, end it with `close`."""

    def __init__(self, config: EtcdConfig) -> None:
        self._config = config
        endpoints = tuple(EtcdEndpoint.parse(url) for url in config.endpoints)
        self._channels = EtcdChannels(endpoints, config.credentials)
        self._header = ResponseHeader()
        self._status = StatusResponse()
        self._compact_revision = 0
        self._watch_stream = EtcdWatchStream(self._channels, lambda: self._header.revision)
        self._keep_alive = EtcdKeepAlive(self._channels)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def connect(cls, config: EtcdConfig) -> Self:
        """Reach a member and start.

        Raises:
            Unavailable: no member answered within the request timeout.
        """
        store = cls(config)
        try:
            await store._refresh_status()
        except BaseException:
            await store._channels.close()
            raise
        store._start(store._watch_stream.run(), "etcd-watch")
        store._start(store._poll_status(), "etcd-status")
        return store

    async def close(self) -> None:
        """End all watches with `Stopped` and close the connections. May be called twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watch_stream.close()
        await self._keep_alive.close()
        await self._channels.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def header(self) -> ResponseHeader:
        header = ResponseHeader()
        header.CopyFrom(self._header)
        return header

    def status(self) -> StoreStatus:
        """What the member in use said last; at most a status interval old while it is there.

        `compact_revision` is known only after this store has compacted, and etcd before 3.6 does
        not tell its quota: both are 0 then.
        """
        status = self._status
        return StoreStatus(
            member_id=status.header.member_id,
            leader_id=status.leader,
            raft_term=status.raftTerm,
            raft_index=status.raftIndex,
            raft_applied_index=status.raftAppliedIndex,
            revision=self._header.revision,
            compact_revision=self._compact_revision,
            db_size=status.dbSize,
            db_size_in_use=status.dbSizeInUse,
            db_size_quota=status.dbSizeQuota,
            is_learner=status.isLearner,
            errors=tuple(status.errors),
        )

    async def range(self, request: RangeRequest) -> RangeResponse:
        return await self.call(_RANGE, request)

    async def range_encoded(self, request: RangeRequest) -> bytes:
        return (await self.range(request)).SerializeToString()

    def range_stream(self, request: RangeRequest) -> AsyncGenerator[RangeResponse, None]:
        # Of ranges, because etcd has streams of its own since 3.7 only.
        return pieces(request, self.range)

    async def put(self, request: PutRequest) -> PutResponse:
        return await self.call(_PUT, request, writes=True)

    async def delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        return await self.call(_DELETE_RANGE, request, writes=True)

    async def txn(self, request: TxnRequest) -> TxnResponse:
        return await self.call(_TXN, request, writes=True)

    async def compact(self, request: CompactionRequest) -> CompactionResponse:
        response = await self.call(_COMPACT, request, writes=True)
        self._compact_revision = max(self._compact_revision, request.revision)
        return response

    def watch(self, spec: WatchSpec, sink: WatchSink) -> EtcdWatcher:
        """Start a watch. A start that is compacted is told by `WatchSink.ended`, not raised."""
        return self._watch_stream.watch(spec, sink)

    async def lease_grant(self, request: LeaseGrantRequest) -> LeaseGrantResponse:
        return await self.call(_LEASE_GRANT, request, writes=True)

    async def lease_revoke(self, request: LeaseRevokeRequest) -> LeaseRevokeResponse:
        return await self.call(_LEASE_REVOKE, request, writes=True)

    async def lease_keep_alive(self, lease_id: int) -> LeaseKeepAliveResponse:
        deadline = time.monotonic() + self._config.request_timeout_seconds
        while True:
            endpoint = self._channels.endpoint
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    response = await self._keep_alive.renew(lease_id)
            except TimeoutError as late:
                raise Unavailable("etcd did not answer a lease renewal in time") from late
            except Unavailable:
                if time.monotonic() + _RETRY_PAUSE_SECONDS >= deadline:
                    raise
                self._channels.rotate(endpoint)
                await asyncio.sleep(_RETRY_PAUSE_SECONDS)
            else:
                self._note(response)
                return response

    async def lease_time_to_live(self, request: LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse:
        return await self.call(_LEASE_TIME_TO_LIVE, request)

    async def lease_leases(self) -> LeaseLeasesResponse:
        return await self.call(_LEASE_LEASES, LeaseLeasesRequest())

    async def call(
        self, method: EtcdMethod[Response], request: Message, *, writes: bool = False
    ) -> Response:
        """Ask the member in use, and others while it cannot answer and time is left.

        Raises:
            RegistryError: what etcd answered, or that nobody did; see `map_error`.
        """
        deadline = time.monotonic() + self._config.request_timeout_seconds
        while True:
            endpoint = self._channels.endpoint
            try:
                response = await self._channels.unary(method)(
                    request, timeout=max(0.001, deadline - time.monotonic())
                )
            except grpc.aio.AioRpcError as failed:
                error = map_error(failed, writes=writes)
                harmless = was_not_sent(failed) or (not writes and isinstance(error, Unavailable))
                if not harmless or time.monotonic() + _RETRY_PAUSE_SECONDS >= deadline:
                    raise error from failed
                self._channels.rotate(endpoint)
                await asyncio.sleep(_RETRY_PAUSE_SECONDS)
            else:
                self._note(response)
                return response

    async def stream(
        self, method: EtcdMethod[Response], request: Message
    ) -> AsyncGenerator[Response, None]:
        """Yield what the member in use streams. Nothing is repeated: others would stream
        something else. Closing the generator ends the call.

        Raises:
            RegistryError: as `call`; the next call goes to another member then.
        """
        endpoint = self._channels.endpoint
        call = self._channels.server_streaming(method)(request)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as failed:
            error = map_error(failed, writes=False)
            if isinstance(error, Unavailable):
                self._channels.rotate(endpoint)
            raise error from failed
        finally:
            call.cancel()

    def _note(self, response: Any) -> None:  # noqa: ANN401 - every answer of etcd has a header
        """Keep the newest header seen. Answers of lagging members must not take us back."""
        header: ResponseHeader = response.header
        if header.revision >= self._header.revision:
            self._header = header

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    async def _refresh_status(self) -> None:
        self._status = await self.call(_STATUS, StatusRequest())

    async def _poll_status(self) -> None:
        while True:
            await asyncio.sleep(self._config.status_interval_seconds)
            with contextlib.suppress(RegistryError):
                await self._refresh_status()
