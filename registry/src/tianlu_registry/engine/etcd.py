"""A `Store` on an existing etcd cluster, for those who run one or outgrow the embedded node.

Everything is asked of one member at a time; when it cannot answer, the next one is tried. Reads
are repeated until their time is up. A write is repeated only when it certainly had no effect;
otherwise the caller is told `RequestTimeout`, its outcome being unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Self

from tianlu._proto.etcd.rpc_pb2 import (
    LeaseKeepAliveResponse,
    ResponseHeader,
    StatusRequest,
    StatusResponse,
)
from tianlu_registry.engine.etcd_calls import EtcdCalls
from tianlu_registry.engine.etcd_channels import EtcdChannels, EtcdEndpoint, EtcdMethod
from tianlu_registry.engine.etcd_config import EtcdConfig
from tianlu_registry.engine.etcd_identity import OwnUser
from tianlu_registry.engine.etcd_lease import EtcdKeepAlive, renew
from tianlu_registry.engine.etcd_requests import EtcdRequests
from tianlu_registry.engine.etcd_watch import EtcdWatcher, EtcdWatchStream
from tianlu_registry.engine.store import StoreStatus
from tianlu_registry.errors import RegistryError
from tianlu_registry.mvcc.types import WatchSink, WatchSpec

logger = logging.getLogger(__name__)

_STATUS = EtcdMethod("Maintenance/Status", StatusResponse)


class EtcdStore(EtcdRequests):
    """Implements `engine.store.Store`. Make it with `connect`, end it with `close`.

    Attributes:
        calls: the connections, and as whom they are used.
    """

    def __init__(self, config: EtcdConfig) -> None:
        endpoints = tuple(EtcdEndpoint.parse(url) for url in config.endpoints)
        has_tls = any(endpoint.tls for endpoint in endpoints)
        channels = EtcdChannels(endpoints, config.credentials() if has_tls else None)
        super().__init__(EtcdCalls(channels, config.request_timeout_seconds))
        if config.user:
            nobody = EtcdCalls(channels, config.request_timeout_seconds)
            self.calls.identity = OwnUser(config, nobody.authenticate)
        self._config = config
        self._header = ResponseHeader()
        self._status = StatusResponse()
        self._compact_revision = 0
        self._knows_by_certificate = False
        self._watches = EtcdWatchStream(
            channels, lambda: self._header.revision, self.calls.identity
        )
        self._keep_alive = EtcdKeepAlive(channels, self.calls.identity)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def connect(cls, config: EtcdConfig) -> Self:
        """Reach a member and start.

        Raises:
            Unavailable: no member answered within the request timeout.
            AuthFailed: the node's user or password is not etcd's.
            InvalidArgument: a file cannot be read.
        """
        store = cls(config)
        try:
            await store._refresh_status()
            await store.calls.identity.token()
        except BaseException:
            await store.calls.channels.close()
            raise
        store._start(store._watches.run(), "etcd-watch")
        store._start(store._poll_status(), "etcd-status")
        return store

    async def close(self) -> None:
        """End all watches with `Stopped` and close the connections. May be called twice."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watches.close()
        await self._keep_alive.close()
        await self.calls.channels.close()

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

    def watch(self, spec: WatchSpec, sink: WatchSink) -> EtcdWatcher:
        """Start a watch. A start that is compacted is told by `WatchSink.ended`, not raised."""
        return self._watches.watch(spec, sink)

    async def lease_keep_alive(self, lease_id: int) -> LeaseKeepAliveResponse:
        response = await renew(self.calls, lambda: self._keep_alive, lease_id)
        self.note(response)
        return response

    async def lease_keep_alives(self, lease_ids: Sequence[int]) -> list[LeaseKeepAliveResponse]:
        return await asyncio.gather(*(self.lease_keep_alive(lease_id) for lease_id in lease_ids))

    def note(self, response: Any) -> None:  # noqa: ANN401 - every answer of etcd has a header
        """Keep the newest header seen. Answers of lagging members must not take us back."""
        header: ResponseHeader = response.header
        if header.revision >= self._header.revision:
            self._header = header

    def note_compaction(self, revision: int) -> None:
        self._compact_revision = max(self._compact_revision, revision)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))

    @property
    def knows_by_certificate(self) -> bool:
        """Whether etcd has users, and takes calls without a token for this node's own, by the
        certificate that it shows. At most a status interval old."""
        return self._knows_by_certificate

    async def _refresh_status(self) -> None:
        self._status = await self.call(_STATUS, StatusRequest())
        if self._config.cert:
            self._knows_by_certificate = await self.calls.has_users()

    async def _poll_status(self) -> None:
        while True:
            await asyncio.sleep(self._config.status_interval_seconds)
            with contextlib.suppress(RegistryError):
                await self._refresh_status()
