"""Watches: what every engine must do as etcd does. Source: etcd docs, learning/api_guarantees."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from registry.engine.calls import (
    Sink,
    delete,
    end_of,
    op_delete,
    op_put,
    put,
    revision_of,
    txn,
    until,
)

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu._proto.etcd.rpc_pb2 import CompactionRequest, LeaseGrantRequest, LeaseRevokeRequest
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import Compacted
from tianlu_registry.mvcc.types import WatchSpec


async def test_puts_and_deletes_as_they_happen(store: Store, prefix: bytes) -> None:
    sink = Sink()
    watcher = store.watch(WatchSpec(prefix, start_revision=await revision_of(store) + 1), sink)
    first = (await put(store, prefix, b"1")).header.revision
    await put(store, prefix, b"2")
    last = (await delete(store, prefix)).header.revision
    one, two, gone = await sink.take(3)
    assert (one.type, one.kv.value, one.kv.version) == (Event.PUT, b"1", 1)
    assert one.kv.create_revision == one.kv.mod_revision == first
    assert (two.kv.value, two.kv.version, two.kv.create_revision) == (b"2", 2, first)
    assert gone.type == Event.DELETE
    assert (gone.kv.key, gone.kv.mod_revision, gone.kv.value) == (prefix, last, b"")
    assert not any(event.HasField("prev_kv") for event in (one, two, gone))
    assert watcher.synced_revision >= last
    watcher.cancel()


async def test_history_then_what_follows(store: Store, prefix: bytes) -> None:
    first = (await put(store, prefix, b"1")).header.revision
    await put(store, prefix, b"2")
    sink = Sink()
    watcher = store.watch(WatchSpec(prefix, start_revision=first), sink)
    await put(store, prefix, b"3")
    await sink.take(3)
    assert sink.values == [b"1", b"2", b"3"]
    watcher.cancel()


async def test_from_now_on(store: Store, prefix: bytes) -> None:
    await put(store, prefix, b"before")
    sink = Sink()
    watcher = store.watch(WatchSpec(prefix), sink)
    # An engine over a network begins within an instant: put until something is seen.
    for number in range(1_000):
        await put(store, prefix, b"%d" % number)
        if sink.values:
            break
        await asyncio.sleep(0.01)
    assert b"before" not in sink.values
    watcher.cancel()


async def test_from_the_future(store: Store, prefix: bytes) -> None:
    sink = Sink()
    now = await revision_of(store)
    watcher = store.watch(WatchSpec(prefix, start_revision=now + 3), sink)
    for number in (1, 2, 3, 4):
        await put(store, prefix, b"%d" % number)
    await sink.take(2)
    assert sink.values == [b"3", b"4"]
    watcher.cancel()


async def test_only_the_range(store: Store, prefix: bytes) -> None:
    start = await revision_of(store) + 1
    sinks = {
        "one": Sink(),
        "range": Sink(),
        "from": Sink(),
    }
    watchers = [
        store.watch(WatchSpec(prefix + b"b", start_revision=start), sinks["one"]),
        store.watch(WatchSpec(prefix + b"a", prefix + b"c", start_revision=start), sinks["range"]),
        store.watch(WatchSpec(prefix + b"b", b"\x00", start_revision=start), sinks["from"]),
    ]
    for name in (b"a", b"b", b"bb", b"c"):
        await put(store, prefix + name, name)
    await sinks["from"].take(3)
    await sinks["range"].take(3)
    await sinks["one"].take(1)
    assert sinks["one"].values == [b"b"]
    assert sinks["range"].values == [b"a", b"b", b"bb"]
    assert sinks["from"].values == [b"b", b"bb", b"c"]
    for watcher in watchers:
        watcher.cancel()


async def test_filters_and_previous_values(store: Store, prefix: bytes) -> None:
    start = await revision_of(store) + 1
    no_put, no_delete, previous = Sink(), Sink(), Sink()
    watchers = [
        store.watch(WatchSpec(prefix, start_revision=start, no_put=True), no_put),
        store.watch(WatchSpec(prefix, start_revision=start, no_delete=True), no_delete),
        store.watch(WatchSpec(prefix, start_revision=start, prev_kv=True), previous),
    ]
    await put(store, prefix, b"1")
    await put(store, prefix, b"2")
    await delete(store, prefix)
    created, changed, gone = await previous.take(3)
    assert not created.HasField("prev_kv")
    assert (changed.prev_kv.value, gone.prev_kv.value) == (b"1", b"2")
    await no_put.take(1)
    await no_delete.take(2)
    assert [event.type for event in no_put.events] == [Event.DELETE]
    assert [event.type for event in no_delete.events] == [Event.PUT, Event.PUT]
    for watcher in watchers:
        watcher.cancel()


async def test_a_revision_arrives_whole(store: Store, prefix: bytes) -> None:
    await put(store, prefix + b"old", b"x")
    start = await revision_of(store) + 1
    live = Sink()
    watchers = [store.watch(WatchSpec(prefix, end_of(prefix), start_revision=start), live)]
    await txn(
        store,
        success=[op_put(prefix + b"%03d" % n, b"x") for n in range(100)]
        + [op_delete(prefix + b"old")],
    )
    await put(store, prefix + b"end", b"x")
    await live.take(102)
    late = Sink()
    watchers.append(store.watch(WatchSpec(prefix, end_of(prefix), start_revision=start), late))
    await late.take(102)
    for sink in (live, late):
        assert [event.kv.key for event in sink.events] == [
            *(prefix + b"%03d" % n for n in range(100)), prefix + b"old", prefix + b"end",
        ]  # fmt: skip
        revisions = [{event.kv.mod_revision for event in batch.events} for batch in sink.batches]
        for earlier, later in itertools.pairwise(revisions):
            assert max(earlier) < min(later)
    for watcher in watchers:
        watcher.cancel()


async def test_a_revoked_lease_is_seen_as_deletes_of_one_revision(
    store: Store, prefix: bytes
) -> None:
    lease = (await store.lease_grant(LeaseGrantRequest(TTL=60))).ID
    for name in (b"b", b"a"):
        await put(store, prefix + name, b"x", lease=lease)
    start = await revision_of(store) + 1
    sink = Sink()
    watcher = store.watch(WatchSpec(prefix, end_of(prefix), start_revision=start), sink)
    await store.lease_revoke(LeaseRevokeRequest(ID=lease))
    first, second = await sink.take(2)
    assert [first.kv.key, second.kv.key] == [prefix + b"a", prefix + b"b"]
    assert first.type == second.type == Event.DELETE
    assert first.kv.mod_revision == second.kv.mod_revision == start
    watcher.cancel()


async def test_a_slow_sink_gets_everything_in_the_end(store: Store, prefix: bytes) -> None:
    sink = Sink(room=1)
    start = await revision_of(store) + 1
    watcher = store.watch(WatchSpec(prefix, start_revision=start), sink)
    wanted = [b"%d" % number for number in range(20)]
    for value in wanted:
        await put(store, prefix, value)
    while len(sink.values) < len(wanted):
        await until(lambda: sink.refused > 0 or len(sink.values) == len(wanted))
        sink.refused, sink.room = 0, sink.room + 1
        watcher.resume()
        await until(lambda: len(sink.batches) == sink.room or sink.values == wanted)
    assert sink.values == wanted
    watcher.cancel()


async def test_history_that_is_gone(store: Store, prefix: bytes) -> None:
    first = (await put(store, prefix, b"1")).header.revision
    last = (await put(store, prefix, b"2")).header.revision
    await store.compact(CompactionRequest(revision=last))
    sink = Sink()
    # An engine that knows says so at once; one over a network learns it from the answer.
    try:
        store.watch(WatchSpec(prefix, start_revision=first), sink)
    except Compacted as error:
        sink.ended(error)
    await until(lambda: sink.error is not None)
    assert isinstance(sink.error, Compacted)
    assert sink.error.compact_revision == last
    kept = Sink()
    watcher = store.watch(WatchSpec(prefix, start_revision=last), kept)
    await kept.take(1)
    assert kept.values == [b"2"]
    watcher.cancel()


async def test_nothing_after_cancel(store: Store, prefix: bytes) -> None:
    start = await revision_of(store) + 1
    cancelled, other = Sink(), Sink()
    first = store.watch(WatchSpec(prefix, start_revision=start), cancelled)
    second = store.watch(WatchSpec(prefix, start_revision=start), other)
    first.cancel()
    first.cancel()
    await put(store, prefix, b"1")
    await other.take(1)
    assert (cancelled.batches, cancelled.error) == ([], None)
    second.cancel()


@pytest.mark.parametrize("watchers_count", [50])
async def test_many_watchers_see_the_same(store: Store, prefix: bytes, watchers_count: int) -> None:
    start = await revision_of(store) + 1
    sinks = [Sink() for _ in range(watchers_count)]
    watchers = [
        store.watch(WatchSpec(prefix, end_of(prefix), start_revision=start), sink) for sink in sinks
    ]
    for number in range(10):
        await put(store, prefix + b"%d" % number, b"%d" % number)
    for sink in sinks:
        await sink.take(10)
        assert sink.values == [b"%d" % number for number in range(10)]
    for watcher in watchers:
        watcher.cancel()
