"""What is particular to the etcd engine: mending connections, refusals, foreign error texts.

The behaviour that all engines share is tested by the conformance suite beside this file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from registry.etcd_process import EtcdProcess, free_port

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
)
from tianlu_registry.engine.etcd import EtcdStore
from tianlu_registry.engine.etcd_config import EtcdConfig
from tianlu_registry.engine.etcd_errors import error_of_text
from tianlu_registry.errors import (
    Compacted,
    EmptyKey,
    FutureRevision,
    InvalidArgument,
    LeaseNotFound,
    NoLeader,
    RequestTimeout,
    Stopped,
    Unavailable,
)
from tianlu_registry.mvcc.types import WatchBatch, WatchSpec


class Sink:
    """Takes batches while `room` allows."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.refused = 0
        self.batches: list[WatchBatch] = []
        self.error: Exception | None = None

    def deliver(self, batch: WatchBatch) -> bool:
        if len(self.batches) >= self.room:
            self.refused += 1
            return False
        self.batches.append(batch)
        return True

    def ended(self, error: Exception) -> None:
        self.error = error

    @property
    def values(self) -> list[bytes]:
        return [event.kv.value for batch in self.batches for event in batch.events]


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    process.start()
    yield process
    process.kill()


@pytest.fixture
async def store(etcd: EtcdProcess) -> AsyncIterator[EtcdStore]:
    # The first endpoint is dead on purpose: everything must work by moving on.
    dead = f"http://127.0.0.1:{free_port()}"
    async with await EtcdStore.connect(EtcdConfig((dead, etcd.endpoint))) as connected:
        yield connected


async def put(store: EtcdStore, key: bytes, value: bytes) -> int:
    return (await store.put(PutRequest(key=key, value=value))).header.revision


async def test_a_watch_goes_on_after_etcd_was_killed(etcd: EtcdProcess, store: EtcdStore) -> None:
    sink = Sink()
    watcher = store.watch(WatchSpec(b"mend/", b"mend0"), sink)
    await put(store, b"mend/a", b"1")
    await until(lambda: sink.values == [b"1"])
    etcd.kill()
    with pytest.raises(Unavailable):
        async with EtcdStore(EtcdConfig((etcd.endpoint,), request_timeout_seconds=0.3)) as hurried:
            await hurried.range(RangeRequest(key=b"mend/a"))
    etcd.start()
    last = await put(store, b"mend/a", b"2")
    await until(lambda: sink.values == [b"1", b"2"])
    assert watcher.synced_revision == last
    watcher.cancel()


async def test_a_refused_batch_comes_again_after_resume(store: EtcdStore) -> None:
    sink = Sink(room=1)
    watcher = store.watch(WatchSpec(b"slow/", b"slow0"), sink)
    wanted = [str(number).encode() for number in range(20)]
    for number, value in enumerate(wanted):
        await put(store, b"slow/" + value, value)
        if number == 0:
            await until(lambda: len(sink.batches) == 1)
    while len(sink.values) < 20:
        await until(lambda: sink.refused > 0)
        sink.refused = 0
        sink.room += 1
        watcher.resume()
        await until(lambda: len(sink.batches) == sink.room)
    assert sink.values == wanted


async def test_nothing_comes_after_cancel(store: EtcdStore) -> None:
    cancelled, other = Sink(), Sink()
    watcher = store.watch(WatchSpec(b"quiet/", b"quiet0"), cancelled)
    store.watch(WatchSpec(b"quiet/", b"quiet0"), other)
    watcher.cancel()
    watcher.cancel()
    watcher.resume()
    await put(store, b"quiet/a", b"1")
    await until(lambda: other.values == [b"1"])
    assert cancelled.batches == []
    assert cancelled.error is None


async def test_one_large_revision_arrives_whole(store: EtcdStore) -> None:
    """etcd splits a response beyond 2 MiB into fragments."""
    values = []
    first = 0
    for number in range(4):
        values.append(bytes([65 + number]) * 1_000_000)
        revision = await put(store, b"large/%d" % number, values[-1])
        first = first or revision
    sink = Sink()
    store.watch(WatchSpec(b"large/", b"large0", start_revision=first), sink)
    await until(lambda: len(sink.values) == 4)
    assert sink.values == values


async def test_compacted_history_ends_a_watch(store: EtcdStore) -> None:
    old = await put(store, b"compact", b"1")
    newest = await put(store, b"compact", b"2")
    await store.compact(CompactionRequest(revision=newest))
    sink = Sink()
    store.watch(WatchSpec(b"compact", start_revision=old), sink)
    await until(lambda: sink.error is not None)
    assert isinstance(sink.error, Compacted)
    assert sink.error.compact_revision == newest
    assert store.status().compact_revision == newest


async def test_a_watch_from_now_survives_that_now_was_compacted(
    etcd: EtcdProcess, store: EtcdStore
) -> None:
    """Our idea of "now" may be older than a compaction that another client asked for."""
    async with await EtcdStore.connect(EtcdConfig((etcd.endpoint,))) as other:
        for number in range(3):
            newest = await put(other, b"now", b"%d" % number)
        await other.compact(CompactionRequest(revision=newest))
        sink = Sink()
        watcher = store.watch(WatchSpec(b"now"), sink)
        await put(other, b"now", b"last")
        await until(lambda: sink.values[-1:] == [b"last"])
        assert watcher.synced_revision > newest


async def test_a_watch_from_now_is_told_that_what_it_refused_was_compacted(
    store: EtcdStore,
) -> None:
    refusing = Sink(room=0)
    watcher = store.watch(WatchSpec(b"refused"), refusing)
    await put(store, b"refused", b"1")
    await until(lambda: refusing.refused == 1)
    newest = await put(store, b"refused", b"2")
    await store.compact(CompactionRequest(revision=newest))
    refusing.room = 1
    watcher.resume()
    await put(store, b"refused", b"3")
    await until(lambda: refusing.error is not None or bool(refusing.values))
    assert isinstance(refusing.error, Compacted)


async def test_a_sink_that_fails_ends_the_watches_and_no_later_one(
    store: EtcdStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Sink):
        def deliver(self, batch: WatchBatch) -> bool:
            raise ZeroDivisionError

    failing, other, later = Failing(), Sink(), Sink()
    store.watch(WatchSpec(b"sinks/failing"), failing)
    store.watch(WatchSpec(b"sinks/other"), other)
    await put(store, b"sinks/failing", b"1")
    await until(lambda: failing.error is not None and other.error is not None)
    assert isinstance(other.error, Unavailable)
    assert "watch_stream.crashed" in caplog.text
    store.watch(WatchSpec(b"sinks/later"), later)
    await put(store, b"sinks/later", b"2")
    await until(lambda: later.values == [b"2"])


async def test_a_refused_status_is_asked_again(
    etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EtcdConfig((etcd.endpoint,), status_interval_seconds=0.01)
    async with await EtcdStore.connect(config) as store:
        asked = 0

        async def refused() -> None:
            nonlocal asked
            asked += 1
            raise InvalidArgument("status", "is refused")

        monkeypatch.setattr(store, "_refresh_status", refused)
        await until(lambda: asked > 1)


async def test_close_tells_the_watchers(etcd: EtcdProcess) -> None:
    sink = Sink()
    store = await EtcdStore.connect(EtcdConfig((etcd.endpoint,)))
    store.watch(WatchSpec(b"x"), sink)
    await store.close()
    assert isinstance(sink.error, Stopped)


async def test_etcd_texts_become_our_errors(store: EtcdStore) -> None:
    with pytest.raises(EmptyKey):
        await store.put(PutRequest(value=b"x"))
    with pytest.raises(LeaseNotFound):
        await store.lease_revoke(LeaseRevokeRequest(ID=424242))
    with pytest.raises(FutureRevision):
        await store.range(RangeRequest(key=b"x", revision=10**9))


async def test_many_renewals_at_once(store: EtcdStore) -> None:
    leases = [(await store.lease_grant(LeaseGrantRequest(TTL=60))).ID for _ in range(10)]
    answers = await asyncio.gather(*(store.lease_keep_alive(lease) for lease in [*leases, 7]))
    assert [answer.ID for answer in answers] == [*leases, 7]
    assert [answer.TTL for answer in answers] == [60] * 10 + [0]


async def test_a_lost_keep_alive_stream_is_opened_anew(etcd: EtcdProcess, store: EtcdStore) -> None:
    lease = (await store.lease_grant(LeaseGrantRequest(TTL=60))).ID
    await store.lease_keep_alive(lease)
    etcd.kill()
    renewal = asyncio.create_task(store.lease_keep_alive(lease))
    await asyncio.to_thread(etcd.start)
    assert (await renewal).TTL == 60


async def test_no_member_answers() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable):
        await EtcdStore.connect(EtcdConfig((dead,), request_timeout_seconds=0.2))


@pytest.mark.parametrize("url", ["", "ftp://x:1", "http://", "localhost"])
def test_endpoints_are_checked(url: str) -> None:
    with pytest.raises(InvalidArgument, match="etcd_endpoints"):
        EtcdStore(EtcdConfig((url,)))


def test_texts_with_a_presumed_reason() -> None:
    assert isinstance(
        error_of_text("etcdserver: request timed out, possibly due to connection lost"),
        RequestTimeout,
    )
    assert isinstance(error_of_text("etcdserver: no leader"), NoLeader)
    assert error_of_text("something else") is None
