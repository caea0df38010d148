"""Watch streams over a scripted store: order, bounds, progress, fragments."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry.api.store_fakes import FakeStore, FakeWatcher

from tianlu._proto.etcd.kv_pb2 import Event, KeyValue
from tianlu._proto.etcd.rpc_pb2 import (
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)
from tianlu_registry.api import etcd_watch_wire
from tianlu_registry.api.etcd_watch import WatchServicer
from tianlu_registry.api.etcd_watch_wire import GrpcWatchWire, split_events
from tianlu_registry.api.grpc_asgi.frames import FrameBuffer
from tianlu_registry.api.watch_backlog import WatchBacklog
from tianlu_registry.errors import Compacted, Stopped
from tianlu_registry.mvcc.types import WatchBatch


def batch(revision: int, *values: bytes) -> WatchBatch:
    events = tuple(event(revision, value) for value in values or (b"v",))
    return WatchBatch(revision, events)


def event(revision: int, value: bytes) -> Event:
    return Event(kv=KeyValue(key=b"k", mod_revision=revision, value=value))


class Stream:
    """A client's side of one stream, with a connection that can be stalled."""

    def __init__(
        self, store: FakeStore, *, servicer: WatchServicer | None = None, **options: Any
    ) -> None:
        self.servicer = servicer or WatchServicer(store, **options)
        self.responses: list[WatchResponse] = []
        self.unsent: list[asyncio.Future[None]] = []
        self.stalled = False
        self.gone = False
        self.aborted: Exception | None = None
        self.written: list[bytes] = []
        self._requests: asyncio.Queue[WatchRequest | None] = asyncio.Queue()
        wire = GrpcWatchWire(store.header)
        self.task = asyncio.create_task(
            self.servicer.serve(self._iterate(), wire, self._write, self)
        )

    async def _iterate(self) -> AsyncIterator[WatchRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    def _write(self, data: bytes) -> asyncio.Future[None]:
        self.written.append(data)
        frames = FrameBuffer(1 << 30)
        frames.feed(data)
        while (found := frames.next_message()) is not None:
            self.responses.append(WatchResponse.FromString(found[1]))
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.stalled:
            self.unsent.append(future)
        else:
            future.set_result(None)
        return future

    def disconnected(self) -> None:
        self.gone = True

    def abort(self, error: Exception) -> None:
        self.aborted = error

    async def ask(self, request: WatchRequest | None) -> list[WatchResponse]:
        """Send a request and return what it was answered with."""
        before = len(self.responses)
        self._requests.put_nowait(request)
        await settle()
        return self.responses[before:]

    async def create(self, **fields: Any) -> list[WatchResponse]:
        return await self.ask(
            WatchRequest(create_request=WatchCreateRequest(**{"key": b"k", **fields}))
        )

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


async def test_requests_wait_while_the_backlog_is_full(store: FakeStore) -> None:
    """Answers to requests are bounded too: a client that asks and never reads costs a bound."""
    stream = Stream(store, backlog=WatchBacklog(stream_bytes_max=100))
    stream.stalled = True
    progress = WatchRequest(progress_request=WatchProgressRequest())
    for _ in range(50):
        await stream.ask(progress)
    assert sum(map(len, stream.written)) < 100 + len(stream.written[0])
    while stream.unsent:
        stream.unsent.pop(0).set_result(None)
        await settle()
    assert len(stream.responses) == 50
    await stream.end()


async def test_created_events_cancelled(store: FakeStore) -> None:
    stream = Stream(store)
    (created,) = await stream.create()
    assert (created.created, created.watch_id, created.header.revision) == (True, 0, 10)
    assert store.publish(batch(11, b"a", b"b")) == [True]
    assert [event.kv.value for event in stream.responses[-1].events] == [b"a", b"b"]
    assert stream.responses[-1].header.revision == 11
    assert stream.responses[-1].header.cluster_id == 7
    (canceled,) = await stream.ask(WatchRequest(cancel_request=WatchCancelRequest(watch_id=0)))
    assert (canceled.canceled, canceled.watch_id) == (True, 0)
    assert store.watchers[0].cancelled
    assert await stream.ask(WatchRequest(cancel_request=WatchCancelRequest(watch_id=0))) == []
    await stream.end()


async def test_created_comes_before_events_delivered_at_once(store: FakeStore) -> None:
    def deliver(watcher: FakeWatcher) -> None:
        assert watcher.sink.deliver(batch(10))

    store.on_watch = deliver
    stream = Stream(store)
    first, second = await stream.create(start_revision=3)
    assert first.created
    assert len(second.events) == 1
    assert store.watchers[0].spec.start_revision == 3
    await stream.end()


async def test_ids_are_chosen_or_given(store: FakeStore) -> None:
    stream = Stream(store)
    ids = [
        (await stream.create())[0].watch_id,
        (await stream.create(watch_id=1))[0].watch_id,
        (await stream.create())[0].watch_id,
        (await stream.create(watch_id=7))[0].watch_id,
    ]
    assert ids == [0, 1, 2, 7]
    (refused,) = await stream.create(watch_id=7)
    assert (refused.watch_id, refused.created, refused.canceled) == (-1, True, True)
    assert refused.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
    await stream.end()
    assert all(watcher.cancelled for watcher in store.watchers)


async def test_watches_that_cannot_be(store: FakeStore) -> None:
    stream = Stream(store)
    (empty,) = await stream.create(key=b"b", range_end=b"a")
    (negative,) = await stream.create(start_revision=-1)
    assert (empty.watch_id, empty.cancel_reason) == (-1, "mvcc: watcher range is empty")
    assert (negative.canceled, negative.cancel_reason) == (True, Compacted.text)
    (open_end,) = await stream.create(key=b"b", range_end=b"\0")
    assert not open_end.canceled
    await stream.create(key=b"")
    assert store.watchers[-1].spec.key == b"\0"
    await stream.end()


@pytest.mark.parametrize("at_once", [True, False])
async def test_compacted(store: FakeStore, at_once: bool) -> None:
    stream = Stream(store)
    if at_once:
        store.watch_error = Compacted(compact_revision=5)
        created, canceled = await stream.create(start_revision=2)
    else:
        (created,) = await stream.create(start_revision=2)
        store.watchers[0].sink.ended(Compacted(compact_revision=5))
        canceled = stream.responses[-1]
    assert (created.created, created.canceled) == (True, False)
    assert (canceled.canceled, canceled.compact_revision) == (True, 5)
    # As in etcd: the compacted revision says it all.
    assert (canceled.cancel_reason, canceled.header.revision) == ("", 0)
    assert stream.servicer.watchers == 0
    await stream.end()


async def test_spec_carries_filters_and_prev_kv(store: FakeStore) -> None:
    stream = Stream(store)
    await stream.create(filters=[WatchCreateRequest.NOPUT], prev_kv=True)
    spec = store.watchers[0].spec
    assert (spec.no_put, spec.no_delete, spec.prev_kv) == (True, False, True)
    await stream.end()


async def test_an_ended_stream_leaves_nothing_to_the_cycle_collector(store: FakeStore) -> None:
    """The collector does not look at what is old: see `server.collector`."""
    gc.disable()
    try:
        stream = Stream(store)
        await stream.create()
        await stream.create()
        await stream.ask(WatchRequest(cancel_request=WatchCancelRequest(watch_id=0)))
        served = [weakref.ref(watcher) for watcher in store.watchers]
        store.watchers.clear()
        await stream.end()
        del stream
        assert [reference() for reference in served] == [None, None]
    finally:
        gc.enable()


async def test_backlog_is_bounded_and_resumed(store: FakeStore) -> None:
    stream = Stream(store, backlog=WatchBacklog(stream_bytes_max=1000))
    await stream.create()
    await stream.create()
    stream.stalled = True
    assert store.publish(batch(11, b"x" * 2000)) == [True, False]  # an empty backlog takes any size
    assert store.publish(batch(12)) == [False, False]
    assert [watcher.resumed for watcher in store.watchers] == [0, 0]
    stream.unsent[0].set_result(None)
    await settle()
    assert [watcher.resumed for watcher in store.watchers] == [1, 1]
    assert store.publish(batch(13)) == [True, True]
    await stream.end()


async def test_a_watch_refused_while_it_is_made_is_resumed(store: FakeStore) -> None:
    stream = Stream(store, backlog=WatchBacklog(stream_bytes_max=10))
    stream.stalled = True
    answers: list[bool] = []
    store.on_watch = lambda watcher: answers.append(watcher.sink.deliver(batch(10)))
    await stream.create()
    assert answers == [False]  # the creation's answer alone fills this backlog
    stream.unsent[0].set_result(None)
    await settle()
    assert store.watchers[0].resumed == 1
    await stream.end()


async def test_failed_write_means_the_client_is_gone(store: FakeStore) -> None:
    stream = Stream(store)
    stream.stalled = True
    await stream.create()
    stream.unsent[0].set_exception(OSError("gone"))
    await settle()
    assert stream.gone
    await stream.end()


async def test_progress_on_request_is_what_all_have(store: FakeStore) -> None:
    stream = Stream(store)
    progress = WatchRequest(progress_request=WatchProgressRequest())
    (alone,) = await stream.ask(progress)
    assert (alone.watch_id, alone.header.revision) == (-1, 10)
    await stream.create()
    await stream.create(start_revision=50)
    store.watchers[0].synced_revision, store.watchers[1].synced_revision = 8, 49
    (answer,) = await stream.ask(progress)
    assert (answer.watch_id, answer.header.revision, len(answer.events)) == (-1, 8, 0)
    store.watchers[0].synced_revision = 40
    (answer,) = await stream.ask(progress)
    assert answer.header.revision == 10  # never beyond the store's own
    await stream.end()


async def test_periodic_progress_for_quiet_watches_only(store: FakeStore) -> None:
    stream = Stream(store, progress_interval_seconds=0.02)
    await stream.create(progress_notify=True)
    await stream.create()
    async with asyncio.timeout(5):
        while len(stream.responses) < 4:
            await asyncio.sleep(0.005)
    assert {response.watch_id for response in stream.responses[2:]} == {0}
    assert not stream.responses[2].events
    stream.servicer._streams.copy().pop()._watches[0].quiet = False
    await stream.end()


async def test_many_streams_share_one_encoding(store: FakeStore) -> None:
    streams = [Stream(store) for _ in range(3)]
    for stream in streams:
        await stream.create()
    one = batch(11)
    store.publish(one)
    assert len({id(stream.written[-1]) for stream in streams}) == 1
    for stream in streams:
        await stream.end()
    assert all(stream.servicer.streams == 0 for stream in streams)


async def test_fragments(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_watch_wire, "FRAGMENT_BYTES_MAX", 250)
    monkeypatch.setattr(etcd_watch_wire, "RESPONSE_BYTES_MAX", 300)
    stream = Stream(store)
    await stream.create(fragment=True)
    await stream.create()
    big = batch(11, *[bytes([65 + number]) * 100 for number in range(5)])
    store.publish(big)
    pieces = [response for response in stream.responses[2:] if response.watch_id == 0]
    whole = [response for response in stream.responses[2:] if response.watch_id == 1]
    assert [len(piece.events) for piece in pieces] == [2, 2, 1]
    assert [piece.fragment for piece in pieces] == [True, True, False]
    assert [len(response.events) for response in whole] == [5]
    assert {piece.header.revision for piece in pieces} == {11}
    await stream.end()


async def test_a_long_catch_up_is_cut_between_revisions(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_watch_wire, "RESPONSE_BYTES_MAX", 300)
    stream = Stream(store)
    await stream.create()
    long = WatchBatch(20, tuple(event(11 + number // 2, b"x" * 90) for number in range(8)))
    store.publish(long)
    pieces = stream.responses[1:]
    assert [[each.kv.mod_revision for each in piece.events] for piece in pieces] == [
        [11, 11],
        [12, 12],
        [13, 13],
        [14, 14],
    ]
    assert [piece.header.revision for piece in pieces] == [11, 12, 13, 14]
    assert not any(piece.fragment for piece in pieces)
    await stream.end()


@given(
    sizes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), min_size=1, max_size=30),
    bytes_max=st.integers(1, 400),
    whole=st.booleans(),
)
def test_splitting_keeps_everything_in_order_and_size(
    sizes: list[tuple[int, int]], bytes_max: int, whole: bool
) -> None:
    events, revision = [], 1
    for step, size in sizes:
        revision += step
        events.append(event(revision, bytes(size)))
    pieces = list(split_events(events, bytes_max, whole_revisions=whole))
    assert [each for piece in pieces for each in piece] == events
    for piece in pieces:
        items = {each.kv.mod_revision for each in piece} if whole else piece
        assert len(items) == 1 or sum(each.ByteSize() for each in piece) <= bytes_max
    if whole:
        starts = [piece[0].kv.mod_revision for piece in pieces]
        assert len(set(starts)) == len(starts)


async def test_half_closed_stream_goes_on_and_a_stopping_store_ends_it(store: FakeStore) -> None:
    stream = Stream(store)
    await stream.create()
    await stream.ask(None)
    assert store.publish(batch(11)) == [True]
    assert not stream.task.done()
    store.watchers[0].sink.ended(Stopped())
    assert isinstance(stream.aborted, Stopped)
    await stream.end()


async def test_a_stopping_servicer_takes_no_new_stream(store: FakeStore) -> None:
    stream = Stream(store)
    await stream.create()
    stream.servicer.stop()
    assert isinstance(stream.aborted, Stopped)
    with pytest.raises(Stopped):
        await stream.servicer.serve(
            stream._iterate(), GrpcWatchWire(store.header), stream._write, stream
        )
    await stream.end()


async def test_the_largest_laggards_make_room_for_the_others(store: FakeStore) -> None:
    """All streams together have a bound; who takes what he is sent notices nothing of it."""
    total, biggest = 64_000, 700
    backlog = WatchBacklog(total, 8_000)
    servicer = WatchServicer(store, backlog=backlog)
    streams = [Stream(store, servicer=servicer) for _ in range(40)]
    stalled = streams[1:]
    for stream in streams:
        await stream.create()
    for stream in stalled:
        stream.stalled = True
    for revision in range(11, 120):
        taken = store.publish(batch(revision, b"x" * 600))
        assert taken[0]
        assert backlog.bytes <= total + biggest
        await settle()
    assert not any(taken[1:])
    assert servicer.streams_behind == len(stalled)
    left = [len(stream.unsent) for stream in stalled]
    assert max(left) - min(left) <= 1  # nobody was favoured
    # Their connections wake up, and they go on from history.
    for stream in stalled:
        stream.stalled = False
        for future in stream.unsent:
            future.set_result(None)
    await settle()
    assert (backlog.bytes, servicer.streams_behind) == (0, 0)
    assert [watcher.resumed for watcher in store.watchers] == [0] + [1] * len(stalled)
    for stream in streams:
        await stream.end()


async def test_who_has_nothing_unsent_is_told_when_others_have_made_room(store: FakeStore) -> None:
    backlog = WatchBacklog(1_000, 1_000)
    servicer = WatchServicer(store, backlog=backlog)
    big, small = (Stream(store, servicer=servicer) for _ in range(2))
    await big.create()
    await small.create()
    big.stalled = True
    assert store.publish(batch(11, b"x" * 2_000)) == [True, False]
    await settle()
    assert backlog.waiting == 1
    # What it asks for waits as well.
    assert await small.create() == []
    for future in big.unsent:
        future.set_result(None)
    await settle()
    assert (store.watchers[1].resumed, backlog.waiting) == (1, 0)
    assert small.responses[-1].created
    await big.end()
    await small.end()


async def test_what_a_gone_connection_held_is_held_no_more(store: FakeStore) -> None:
    backlog = WatchBacklog(1_000, 1_000)
    servicer = WatchServicer(store, backlog=backlog)
    big, small = (Stream(store, servicer=servicer) for _ in range(2))
    await big.create()
    await small.create()
    big.stalled = True
    store.publish(batch(11, b"x" * 2_000))
    await big.end()
    assert backlog.bytes == 0
    assert store.watchers[1].resumed == 1
    big.unsent[0].set_exception(OSError("gone"))
    await settle()
    assert backlog.bytes == 0
    await small.end()
