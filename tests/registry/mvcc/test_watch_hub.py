"""Single rules of watching. The model (test_watch_model.py) covers their combinations."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from registry.mvcc.mvcc_fakes import StoreFixture

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu._proto.etcd.rpc_pb2 import PutRequest
from tianlu_registry.errors import Compacted, EmptyWatchRange, InvariantBroken, Stopped
from tianlu_registry.mvcc import WatchBatch, WatchHub, WatchSpec
from tianlu_registry.mvcc.watch import GATHERED_BYTES_MAX, HISTORY_BYTES_MAX
from tianlu_registry.mvcc.watch_groups import PREVIOUS_BYTES_MAX


class Sink:
    def __init__(self, *, accepts: bool = True) -> None:
        self.accepts = accepts
        self.batches: list[WatchBatch] = []
        self.errors: list[Exception] = []
        self.on_deliver: Callable[[], None] = lambda: None

    def deliver(self, batch: WatchBatch) -> bool:
        self.on_deliver()
        if self.accepts:
            self.batches.append(batch)
        return self.accepts

    def ended(self, error: Exception) -> None:
        self.errors.append(error)

    @property
    def values(self) -> list[bytes]:
        return [event.kv.value for batch in self.batches for event in batch.events]


class Watched(StoreFixture):
    """A store that publishes its puts."""

    def __init__(self) -> None:
        super().__init__()
        self.lagging_calls = 0
        self.hub = WatchHub(self.store, self._note_lagging)

    def _note_lagging(self) -> None:
        self.lagging_calls += 1

    def put(self, key: bytes, value: bytes = b"", lease: int = 0) -> int:
        _, changes = self.store.put(PutRequest(key=key, value=value, lease=lease))
        self.hub.publish(self.store.revision, changes)
        return self.store.revision


def test_watchers_that_want_the_same_share_one_batch() -> None:
    watched = Watched()
    first, second, other = Sink(), Sink(), Sink()
    watched.hub.watch(WatchSpec(b"a", b"b"), first)
    watched.hub.watch(WatchSpec(b"a", b"b", start_revision=2), second)
    watched.hub.watch(WatchSpec(b"a", b"b", prev_kv=True), other)
    watched.put(b"a1")
    assert first.batches[0] is second.batches[0]
    assert first.batches[0] is not other.batches[0]


def test_what_is_gathered_comes_in_one_batch() -> None:
    watched = Watched()
    sink, previous, later, elsewhere = Sink(), Sink(), Sink(), Sink()
    watched.put(b"a", b"0")
    watched.hub.watch(WatchSpec(b"a"), sink)
    watched.hub.watch(WatchSpec(b"a", prev_kv=True), previous)
    watched.hub.watch(WatchSpec(b"a", start_revision=4), later)
    watched.hub.watch(WatchSpec(b"b"), elsewhere)
    watched.hub.gather()
    for value in (b"1", b"2", b"3"):
        watched.put(b"a", value)
    assert sink.batches == []
    watched.hub.deliver()
    assert [batch.revision for batch in sink.batches] == [5]
    assert sink.values == [b"1", b"2", b"3"]
    assert later.values == [b"2", b"3"]
    assert [event.prev_kv.value for event in previous.batches[0].events] == [b"0", b"1", b"2"]
    assert elsewhere.batches == []
    watched.put(b"a", b"4")  # at once again
    assert sink.values[-1] == b"4"


def test_who_refuses_what_was_gathered_gets_all_of_it_later() -> None:
    watched = Watched()
    sink = Sink(accepts=False)
    watcher = watched.hub.watch(WatchSpec(b"a"), sink)
    watched.hub.gather()
    watched.put(b"a", b"1")
    watched.put(b"a", b"2")
    watched.hub.deliver()
    assert watcher.synced_revision == 1
    sink.accepts = True
    watcher.resume()
    watched.hub.catch_up(10)
    assert sink.values == [b"1", b"2"]


def test_what_is_gathered_is_bounded() -> None:
    watched = Watched()
    sink = Sink()
    watched.hub.watch(WatchSpec(b"a"), sink)
    watched.hub.gather()
    for _ in range(5):
        watched.put(b"a", bytes(GATHERED_BYTES_MAX // 2))
    watched.hub.deliver()
    assert [len(batch.events) for batch in sink.batches] == [2, 2, 1]


def test_values_before_what_is_gathered_outlive_a_compaction() -> None:
    watched = Watched()
    sink = Sink()
    watched.put(b"a", b"1")
    watched.hub.watch(WatchSpec(b"a", prev_kv=True), sink)
    watched.hub.gather()
    watched.put(b"a", b"2")
    watched.hub.flush()
    watched.store.compact(3)
    watched.put(b"a", b"3")
    watched.hub.deliver()
    previous = [event.prev_kv.value for batch in sink.batches for event in batch.events]
    assert previous == [b"1", b"2"]


def test_watchers_that_catch_up_from_the_same_revision_share_one_batch() -> None:
    watched = Watched()
    watched.put(b"a", b"1")
    watched.put(b"a", b"2")
    first, second, later = Sink(), Sink(), Sink()
    watched.hub.watch(WatchSpec(b"a", start_revision=2), first)
    watched.hub.watch(WatchSpec(b"a", start_revision=2), second)
    watched.hub.watch(WatchSpec(b"a", start_revision=3), later)
    assert watched.hub.catch_up(100) is False
    assert first.batches[0] is second.batches[0]
    assert first.values == [b"1", b"2"]
    assert later.values == [b"2"]


def test_a_future_start_revision_waits_for_it() -> None:
    """etcd: events before start_revision are not sent even to a synced watcher."""
    watched = Watched()
    sink = Sink()
    watched.hub.watch(WatchSpec(b"a", start_revision=3), sink)
    watched.put(b"a", b"2")
    assert sink.values == []
    watched.put(b"a", b"3")
    assert sink.values == [b"3"]


def test_a_refusing_watcher_costs_no_memory_and_resumes_from_history() -> None:
    watched = Watched()
    sink = Sink(accepts=False)
    watcher = watched.hub.watch(WatchSpec(b"a"), sink)
    for value in (b"1", b"2", b"3"):
        watched.put(b"a", value)
    assert watcher.synced_revision == 1
    assert not watched.hub.has_lagging  # nothing to do before it resumes
    assert watched.hub.slow_count == 1
    sink.accepts = True
    watcher.resume()
    assert watched.lagging_calls == 1
    assert watched.hub.catch_up(2) is True
    assert sink.values == [b"1", b"2"]
    assert watched.hub.catch_up(2) is False
    assert sink.values == [b"1", b"2", b"3"]
    watched.put(b"a", b"4")
    assert sink.values[-1] == b"4"


def test_events_of_a_revision_are_never_split() -> None:
    watched = Watched()
    for key in (b"a1", b"a2", b"a3"):
        watched.put(key)
    keys = [b"a1", b"a2", b"a3"]
    watched.hub.publish(watched.store.revision + 1, watched.store.delete_keys(keys))
    sink = Sink()
    watched.hub.watch(WatchSpec(b"a", b"b", start_revision=5), sink)
    watched.hub.catch_up(1)
    assert [len(batch.events) for batch in sink.batches] == [3]


def test_history_of_large_values_comes_in_several_batches() -> None:
    watched = Watched()
    values = [b"%d" % number * (HISTORY_BYTES_MAX // 2) for number in range(5)]
    for value in values:
        watched.put(b"a", value)
    sink = Sink()
    watcher = watched.hub.watch(WatchSpec(b"a", start_revision=1), sink)
    assert watched.hub.catch_up(100) is True
    assert watcher.synced_revision == 3
    while watched.hub.catch_up(100):
        pass
    assert [len(batch.events) for batch in sink.batches] == [2, 2, 1]
    assert sink.values == values
    assert watcher.synced_revision == watched.store.revision


@pytest.mark.parametrize("lags", [True, False])
def test_large_values_before_changes_come_in_several_batches(lags: bool) -> None:
    watched = Watched()
    keys = [b"%d" % number for number in range(6)]
    for key in keys:
        watched.put(key, key * (PREVIOUS_BYTES_MAX // 2))
    plain, previous = Sink(), Sink()
    start = watched.store.revision + 1
    previous.accepts = not lags
    watched.hub.watch(WatchSpec(b"0", b"9"), plain)
    watcher = watched.hub.watch(WatchSpec(b"0", b"9", prev_kv=True), previous)
    watched.hub.gather()
    for key in keys[:4]:
        watched.hub.publish(watched.store.revision + 1, watched.store.delete_keys([key]))
    watched.hub.publish(watched.store.revision + 1, watched.store.delete_keys(keys[4:]))
    watched.hub.deliver()
    previous.accepts = True
    watcher.resume()
    while watched.hub.catch_up(100):
        pass
    for sink in (plain, previous):
        events = [event for batch in sink.batches for event in batch.events]
        assert [event.kv.key for event in events] == keys
    assert [event.prev_kv.value[:1] for event in events] == keys
    counts = [len(batch.events) for batch in previous.batches]
    assert counts == [2, 2, 2]
    assert [batch.revision for batch in previous.batches] == [start + 1, start + 3, start + 4]
    assert watcher.synced_revision == watched.store.revision


def test_a_delete_event_has_key_and_revision_only() -> None:
    """etcd: kv of a DELETE event carries key and mod_revision."""
    watched = Watched()
    watched.put(b"a", b"1")
    sink = Sink()
    watched.hub.watch(WatchSpec(b"a", prev_kv=True), sink)
    watched.hub.publish(3, watched.store.delete_keys([b"a"]))
    event = sink.batches[0].events[0]
    assert event.type == Event.DELETE
    assert event.kv.ListFields() == [
        (event.kv.DESCRIPTOR.fields_by_name["key"], b"a"),
        (event.kv.DESCRIPTOR.fields_by_name["mod_revision"], 3),
    ]
    assert event.prev_kv.value == b"1"


def test_a_watch_from_a_compacted_revision_is_refused() -> None:
    watched = Watched()
    for _ in range(4):
        watched.put(b"a")
    watched.store.compact(4)
    with pytest.raises(Compacted) as caught:
        watched.hub.watch(WatchSpec(b"a", start_revision=3), Sink())
    assert caught.value.compact_revision == 4
    watched.hub.watch(WatchSpec(b"a", start_revision=4), Sink())


def test_prev_kv_ends_with_compaction_whether_or_not_it_is_removed_yet() -> None:
    watched = Watched()
    for value in (b"1", b"2", b"3"):
        watched.put(b"a", value)
    watched.store.compact(3)
    sink = Sink()
    watched.hub.watch(WatchSpec(b"a", prev_kv=True, start_revision=3), sink)
    watched.hub.catch_up(10)
    events = sink.batches[0].events
    assert [event.HasField("prev_kv") for event in events] == [False, True]


@pytest.mark.parametrize("is_blocked", [True, False])
def test_compaction_ends_a_watcher_that_is_further_behind(is_blocked: bool) -> None:
    watched = Watched()
    sink = Sink(accepts=not is_blocked)
    watched.put(b"a")
    watched.put(b"a")
    watcher = watched.hub.watch(WatchSpec(b"a", start_revision=2), sink)
    if is_blocked:
        watched.hub.catch_up(1)
    watched.store.compact(3)
    if is_blocked:
        watcher.resume()
    else:
        watched.hub.catch_up(1)
    assert [type(error) for error in sink.errors] == [Compacted]
    assert watched.hub.slow_count == 0
    watcher.cancel()  # harmless


def test_an_empty_range_is_refused() -> None:
    """etcd: ErrEmptyWatcherRange."""
    hub = Watched().hub
    for key, range_end in ((b"b", b"a"), (b"b", b"b")):
        with pytest.raises(EmptyWatchRange):
            hub.watch(WatchSpec(key, range_end), Sink())


def test_cancelling_another_from_within_deliver_holds_at_once() -> None:
    watched = Watched()
    first, second = Sink(), Sink()
    watched.hub.watch(WatchSpec(b"a"), first)
    doomed = watched.hub.watch(WatchSpec(b"a"), second)
    first.on_deliver = doomed.cancel
    watched.put(b"a")
    assert len(first.batches) == 1
    assert second.batches == []


def test_close_ends_everybody() -> None:
    watched = Watched()
    watched.put(b"a")
    sinks = [Sink(), Sink(), Sink(accepts=False)]
    watched.hub.watch(WatchSpec(b"a"), sinks[0])
    watched.hub.watch(WatchSpec(b"b"), sinks[2])
    watched.put(b"b")
    watched.hub.watch(WatchSpec(b"a", start_revision=1), sinks[1])
    watched.hub.close(Stopped())
    assert [[type(error) for error in sink.errors] for sink in sinks] == [[Stopped]] * 3
    watched.put(b"a")
    assert len(sinks[0].batches) == 0


def test_a_revision_published_out_of_order_is_a_bug() -> None:
    watched = Watched()
    with pytest.raises(InvariantBroken):
        watched.hub.publish(3, [])


def test_synced_revision_of_a_watcher_without_events_moves_with_the_store() -> None:
    """etcd: a progress notification may carry the store's revision once the watcher is synced."""
    watched = Watched()
    watcher = watched.hub.watch(WatchSpec(b"z"), Sink())
    watched.put(b"a")
    assert watcher.synced_revision == 2
    watcher.cancel()
    watched.put(b"a")
    assert watcher.synced_revision == 2
