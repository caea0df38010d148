"""A store of which the tests say everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tianlu._proto.etcd.rpc_pb2 import AlarmMember, RangeResponse, ResponseHeader
from tianlu_registry.engine.store import StoreStatus
from tianlu_registry.mvcc.types import WatchBatch, WatchSink, WatchSpec


class FakeWatcher:
    """A watcher that remembers what was asked of it."""

    def __init__(self, spec: WatchSpec, sink: WatchSink, synced_revision: int) -> None:
        self.spec = spec
        self.sink = sink
        self.synced_revision = synced_revision
        self.resumed = 0
        self.cancelled = False

    def resume(self) -> None:
        self.resumed += 1

    def cancel(self) -> None:
        self.cancelled = True


class FakeStore:
    """As much of `Store` as the API's tests need."""

    def __init__(self) -> None:
        self.revision = 10
        self.leader_id = 1
        self.errors: tuple[str, ...] = ()
        self.alarms: tuple[AlarmMember, ...] = ()
        self.catalogue_is_ready = True
        self.error: Exception | None = None
        self.watchers: list[FakeWatcher] = []
        self.on_watch: Callable[[FakeWatcher], None] | None = None
        self.watch_error: Exception | None = None

    def header(self) -> ResponseHeader:
        return ResponseHeader(cluster_id=7, member_id=1, revision=self.revision, raft_term=2)

    async def range(self, request: Any) -> RangeResponse:
        if self.error is not None:
            raise self.error
        return RangeResponse(header=self.header())

    async def range_encoded(self, request: Any) -> bytes:
        return (await self.range(request)).SerializeToString()

    def watch(self, spec: WatchSpec, sink: WatchSink) -> FakeWatcher:
        if self.watch_error is not None:
            raise self.watch_error
        watcher = FakeWatcher(spec, sink, self.revision)
        self.watchers.append(watcher)
        if self.on_watch is not None:
            self.on_watch(watcher)
        return watcher

    def publish(self, batch: WatchBatch) -> list[bool]:
        """Deliver to every watcher that was not cancelled."""
        self.revision = batch.revision
        return [watcher.sink.deliver(batch) for watcher in self.watchers if not watcher.cancelled]

    def status(self) -> StoreStatus:
        return StoreStatus(
            member_id=1,
            leader_id=self.leader_id,
            raft_term=2,
            raft_index=5,
            raft_applied_index=5,
            revision=self.revision,
            compact_revision=0,
            db_size=100,
            db_size_in_use=50,
            db_size_quota=1000,
            is_learner=False,
            errors=self.errors,
            alarms=self.alarms,
        )

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test did not expect {name}")
