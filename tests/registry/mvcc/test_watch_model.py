"""Watches against a list of all events: whatever is refused, resumed, cancelled or compacted, every
watcher gets every event it asked for exactly once and in order, or is told that it cannot."""

from __future__ import annotations

from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from registry.mvcc.mvcc_fakes import StoreFixture
from registry.mvcc.mvcc_oracle import in_range

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu._proto.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest
from tianlu_registry.errors import Compacted
from tianlu_registry.mvcc import Applied, WatchBatch, Watcher, WatchHub, WatchSpec

KEYS = (b"a", b"a/1", b"a/2", b"b", b"c/1")
RANGES = (
    (b"a", b""),
    (b"a/1", b""),
    (b"a/", b"a0"),
    (b"a", b"b"),
    (b"a/1", b"b\x00"),
    (b"b", b"\x00"),
    (b"", b"\x00"),
    (b"a/2", b"c/1"),
)


@dataclass(eq=False)
class RecordingSink:
    """Takes what comes while it is open."""

    machine: WatchesAgainstLog
    spec: WatchSpec
    events: list[Event] = field(default_factory=list)
    revision: int = 0
    error: Exception | None = None
    is_open: bool = True

    def deliver(self, batch: WatchBatch) -> bool:
        assert self.error is None
        assert batch.events
        revisions = [event.kv.mod_revision for event in batch.events]
        assert revisions == sorted(revisions)
        assert self.revision < revisions[0]
        assert revisions[-1] <= batch.revision
        if not self.is_open:
            return False
        self.machine.check_prev_kvs(batch, self.spec.prev_kv)
        self.revision = batch.revision
        self.events += batch.events
        return True

    def ended(self, error: Exception) -> None:
        assert self.error is None
        self.error = error


@dataclass(eq=False)
class Watch:
    sink: RecordingSink
    start: int
    watcher: Watcher
    is_cancelled: bool = False


class WatchesAgainstLog(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.fixture = StoreFixture()
        self.store = self.fixture.store
        self.hub = WatchHub(self.store)
        self.log: list[tuple[int, bytes, bool, bytes]] = []  # revision, key, is_put, value
        self.watches: list[Watch] = []

    # What happens to the store

    def _apply(self, applied: Applied[object]) -> None:
        _, changes = applied
        if changes:
            for change in changes:
                is_put = not change.packed & 1
                value = self.fixture.value(change.key) if is_put else b""
                self.log.append((self.store.revision, change.key, is_put, value or b""))
            self.hub.publish(self.store.revision, changes)

    @rule(key=st.sampled_from(KEYS), value=st.binary(max_size=1))
    def put(self, key: bytes, value: bytes) -> None:
        self._apply(self.store.put(PutRequest(key=key, value=value)))

    @rule(start=st.sampled_from(KEYS), range_end=st.sampled_from((b"", b"\x00", b"b")))
    def delete(self, start: bytes, range_end: bytes) -> None:
        request = DeleteRangeRequest(key=start, range_end=range_end)
        self._apply(self.store.delete_range(request))

    @rule(keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=4))
    def gather(self, keys: list[bytes]) -> None:
        """Several revisions that a slice of applying brings at once."""
        self.hub.gather()
        for key in keys:
            self._apply(self.store.put(PutRequest(key=key)))
        self.hub.deliver()

    @rule(keys=st.lists(st.sampled_from(KEYS), unique=True, min_size=2))
    def put_many(self, keys: list[bytes]) -> None:
        request = TxnRequest()
        for key in keys:
            request.success.add().request_put.key = key
        self._apply(self.store.txn(request))

    @precondition(lambda self: self.store.revision > max(self.store.compact_revision, 1))
    @rule(data=st.data(), finish=st.booleans())
    def compact(self, data: st.DataObject, finish: bool) -> None:
        lowest = max(self.store.compact_revision + 1, 2)
        self.store.compact(data.draw(st.integers(lowest, self.store.revision)))
        while finish and not self.store.compaction_step(2):
            pass

    # What happens to watches

    @rule(
        bounds=st.sampled_from(RANGES),
        back=st.integers(-2, 8),
        from_next=st.booleans(),
        filters=st.sampled_from(((False, False), (False, False), (True, False), (False, True))),
        prev_kv=st.booleans(),
        is_open=st.booleans(),
    )
    def watch(
        self,
        bounds: tuple[bytes, bytes],
        back: int,
        from_next: bool,
        filters: tuple[bool, bool],
        prev_kv: bool,
        is_open: bool,
    ) -> None:
        start = 0 if from_next else max(self.store.revision - back, 1)
        spec = WatchSpec(*bounds, start, prev_kv, *filters)
        sink = RecordingSink(self, spec, is_open=is_open)
        try:
            watcher = self.hub.watch(spec, sink)
        except Compacted:
            assert 0 < start < self.store.compact_revision
            return
        assert not 0 < start < self.store.compact_revision
        self.watches.append(Watch(sink, start or self.store.revision + 1, watcher))

    @precondition(lambda self: self.watches)
    @rule(data=st.data())
    def close_sink(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.watches)).sink.is_open = False

    @precondition(lambda self: self.watches)
    @rule(data=st.data())
    def open_sink(self, data: st.DataObject) -> None:
        watch = data.draw(st.sampled_from(self.watches))
        watch.sink.is_open = True
        watch.watcher.resume()

    @precondition(lambda self: self.watches)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        watch = data.draw(st.sampled_from(self.watches))
        watch.watcher.cancel()
        watch.is_cancelled = True

    @rule(events_max=st.integers(1, 4))
    def catch_up(self, events_max: int) -> None:
        assert self.hub.catch_up(events_max) == self.hub.has_lagging

    # What must hold

    def check_prev_kvs(self, batch: WatchBatch, wanted: bool) -> None:
        for event in batch.events:
            before = event.kv.mod_revision - 1
            found = None
            if wanted and before >= self.store.compact_revision:
                request = RangeRequest(key=event.kv.key, revision=before)
                kvs = self.store.range(request).kvs if before else []
                found = kvs[0] if kvs else None
            assert event.HasField("prev_kv") == (found is not None)
            assert found is None or event.prev_kv == found

    def _wanted(self, watch: Watch, until: int) -> list[tuple[int, bytes, bool, bytes]]:
        spec = watch.sink.spec
        return [
            entry
            for entry in self.log
            if watch.start <= entry[0] <= until
            and in_range(entry[1], spec.key or b"\x00", spec.range_end)
            and not (spec.no_put if entry[2] else spec.no_delete)
        ]

    @invariant()
    def delivered_what_it_says(self) -> None:
        """synced_revision never promises more, or less, than was delivered."""
        for watch in self.watches:
            got = [
                (event.kv.mod_revision, event.kv.key, event.type == Event.PUT, event.kv.value)
                for event in watch.sink.events
            ]
            assert got == self._wanted(watch, watch.watcher.synced_revision)

    def teardown(self) -> None:
        """With all sinks open everybody ends synced, cancelled or compacted."""
        for watch in self.watches:
            watch.sink.is_open = True
            watch.watcher.resume()
        for _ in range(len(self.log) + 2):
            if not self.hub.catch_up(1):
                break
        assert not self.hub.has_lagging
        assert not self.hub.slow_count
        running = 0
        for watch in self.watches:
            synced = watch.watcher.synced_revision
            if watch.sink.error is not None:
                assert isinstance(watch.sink.error, Compacted)
                assert synced + 1 < self.store.compact_revision
            elif not watch.is_cancelled:
                running += 1
                assert synced == self.store.revision
        assert self.hub.synced_count == running
        self.delivered_what_it_says()


TestWatchesAgainstLog = pytest.mark.timeout(300)(WatchesAgainstLog.TestCase)
TestWatchesAgainstLog.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
