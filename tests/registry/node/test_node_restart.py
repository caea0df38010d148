"""Stopping, starting again, and what a data directory remembers."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from registry.engine.calls import Sink, get, one, put, revision_of, until
from registry.node.nodes import running, small

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    LeaseGrantRequest,
    LeaseTimeToLiveRequest,
)
from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.errors import Compacted, Corrupt, InvalidArgument, Stopped
from tianlu_registry.mvcc.types import WatchSpec
from tianlu_registry.node.datadir import DataDirHeld


async def test_everything_is_there_after_a_clean_stop(tmp_path: Path) -> None:
    config = small(tmp_path)
    async with running(config) as node:
        for number in range(100):
            await put(node.store, b"k%d" % number, b"%d" % number)
        await node.store.compact(CompactionRequest(revision=50))
        revision = await revision_of(node.store)
        applied = node.node.applied_index
    async with running(config) as node:
        assert await revision_of(node.store) == revision
        assert (await get(node.store, b"k", b"l", count_only=True)).count == 100
        assert (await one(node.store, b"k7")).mod_revision == 9
        with pytest.raises(Compacted):
            await get(node.store, b"k7", revision=49)
        # Nothing was replayed: only the new term's first entry is new.
        assert node.node.applied_index == applied + 1


async def test_watchers_may_read_history_from_before_the_restart(tmp_path: Path) -> None:
    async with running(small(tmp_path)) as node:
        first = (await put(node.store, b"k", b"1")).header.revision
    async with running(small(tmp_path)) as node:
        sink = Sink()
        node.store.watch(WatchSpec(b"k", start_revision=first), sink)
        await put(node.store, b"k", b"2")
        await sink.take(2)
        assert sink.values == [b"1", b"2"]


async def test_leases_get_their_time_again(tmp_path: Path) -> None:
    # A new leader adds an election to every lease: a short one, for the test's sake.
    config = small(tmp_path, election_ticks=2)
    async with running(config) as node:
        lease = (await node.store.lease_grant(LeaseGrantRequest(TTL=2))).ID
        await put(node.store, b"k", b"1", lease=lease)

        async def remaining() -> int:
            request = LeaseTimeToLiveRequest(ID=lease, keys=True)
            return (await node.store.lease_time_to_live(request)).TTL

        while await remaining() > 0:  # less than a second is left
            await asyncio.sleep(0.02)
    async with running(config) as node:
        assert await remaining() >= 2
        assert (await one(node.store, b"k")).lease == lease
        await until(lambda: node.store.header().revision == 3)  # and then it does expire
        assert (await get(node.store, b"k")).count == 0


async def test_the_log_is_released_behind_the_database(tmp_path: Path) -> None:
    config = small(tmp_path, wal_entries_kept=0, wal_segment_bytes=64 * 1024)
    async with running(config) as node:
        for number in range(400):
            await put(node.store, b"k%d" % (number % 10), bytes(2_000))
        wal = tmp_path / "member" / "wal"
        await until(lambda: len(list(wal.iterdir())) <= 3)


async def test_a_directory_of_another_member_is_refused(tmp_path: Path) -> None:
    async with running(small(tmp_path)) as node:
        await put(node.store, b"k", b"1")
    with pytest.raises(InvalidArgument, match="holds member") as caught:
        await EmbeddedNode.start(small(tmp_path, cluster_token="another"))
    assert caught.value.field == "data_dir"
    async with running(small(tmp_path)) as node:
        assert (await one(node.store, b"k")).value == b"1"


async def test_a_database_without_its_log_is_refused(tmp_path: Path) -> None:
    async with running(small(tmp_path)) as node:
        await put(node.store, b"k", b"1")
    shutil.rmtree(tmp_path / "member" / "wal")
    with pytest.raises(Corrupt, match="is missing"):
        await EmbeddedNode.start(small(tmp_path))


async def test_a_log_without_its_database_is_replayed_if_it_is_whole(tmp_path: Path) -> None:
    async with running(small(tmp_path)) as node:
        for number in range(1_000):
            await put(node.store, b"k%d" % number, b"%d" % number)
    shutil.rmtree(tmp_path / "member" / "db")
    async with running(small(tmp_path)) as node:
        assert await revision_of(node.store) == 1_001
        assert (await one(node.store, b"k999")).value == b"999"


async def test_a_held_directory_is_refused_and_unharmed(tmp_path: Path) -> None:
    async with running(small(tmp_path)) as node:
        with pytest.raises(DataDirHeld, match="is held by process"):
            await EmbeddedNode.start(small(tmp_path))
        await put(node.store, b"k", b"1")


async def test_stop_answers_what_is_under_way(tmp_path: Path) -> None:
    node = await EmbeddedNode.start(small(tmp_path))
    sink = Sink()
    node.store.watch(WatchSpec(b"k"), sink)
    answers = [asyncio.ensure_future(put(node.store, b"k", b"%d" % n)) for n in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(node.stop(), node.stop())
    assert [answer.result().header.revision for answer in answers] == list(range(2, 22))
    assert len(sink.values) == 20
    assert isinstance(sink.error, Stopped)
    await node.stop()
    for call in (put(node.store, b"k"), get(node.store, b"k"), get(node.store, b"k", b"l")):
        with pytest.raises(Stopped):
            await call
    with pytest.raises(Stopped):
        node.store.watch(WatchSpec(b"k"), sink)
