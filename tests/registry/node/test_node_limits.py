"""What a node does at its limits: refuses, says why, and recovers by itself."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from registry.engine.calls import delete, get, one, op_delete, op_put, put, revision_of, txn, until
from registry.node.nodes import put_until, running, small

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
)
from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.errors import NoSpace, RequestTimeout, RequestTooLarge, TooManyRequests
from tianlu_registry.node.config import KIB, MIB


async def test_a_disk_that_hangs_fills_the_backlog_and_no_more(tmp_path: Path) -> None:
    may_sync = threading.Event()
    may_sync.set()

    def hook(point: str) -> None:
        if point == "before_wal_sync":
            may_sync.wait(20)

    config = small(tmp_path, backlog_proposals_max=5, request_timeout_seconds=0.2)
    async with running(config, crash_hook=hook) as node:
        await put(node.store, b"before", b"1")
        may_sync.clear()
        writes = [asyncio.ensure_future(put(node.store, b"k%d" % n)) for n in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests):
            await put(node.store, b"one too many")
        # Reads need no disk, so they go on.
        assert (await one(node.store, b"before")).value == b"1"
        for outcome in await asyncio.gather(*writes, return_exceptions=True):
            assert isinstance(outcome, RequestTimeout)
        with pytest.raises(TooManyRequests):
            await put(node.store, b"their bytes are still held")
        may_sync.set()
        await until(lambda: node.node.counts().proposals_pending == 0)
        # Their outcome was unknown; it turns out that they were applied.
        assert (await get(node.store, b"k", b"l", count_only=True)).count == 5
        await put(node.store, b"room again")


async def fill(node: EmbeddedNode) -> None:
    """Put large keys, then small ones, until the alarm stands."""
    assert 25 < await put_until(NoSpace, node.store, b"large/", 512 * KIB) < 34
    await put_until(NoSpace, node.store, b"small/", 4 * KIB)
    await until(lambda: node.store.status().errors != ())


async def test_the_quota_refuses_writes_until_space_is_made(tmp_path: Path) -> None:
    config = small(tmp_path, quota_bytes=16 * MIB)
    async with running(config) as node:
        lease = (await node.store.lease_grant(LeaseGrantRequest(TTL=60))).ID
        await fill(node)
    # The alarm is a matter of the database's size, so it stands again after a restart.
    async with running(config) as node:
        store = node.store
        assert "--quota-backend-bytes" in store.status().errors[0]
        with pytest.raises(NoSpace, match="database space exceeded"):
            await put(store, b"small", b"1")
        with pytest.raises(NoSpace):
            await txn(store, success=[op_put(b"small", b"1")])
        with pytest.raises(NoSpace):
            await store.lease_grant(LeaseGrantRequest(TTL=60))
        # How room is made is served all the while.
        assert (await store.lease_keep_alive(lease)).TTL == 60
        assert (await get(store, b"a", b"z", count_only=True)).count > 25
        await txn(store, success=[op_delete(b"large/000000")])
        await store.lease_revoke(LeaseRevokeRequest(ID=lease))
        await delete(store, b"a", b"z")
        revision = await revision_of(store)
        await store.compact(CompactionRequest(revision=revision, physical=True))
        # What was measured, and what the log says of it.
        await until(lambda: store.status().errors == () == store.status().alarms)
        await put(store, b"room", bytes(512 * KIB))


async def test_a_request_beyond_its_maximum(tmp_path: Path) -> None:
    async with running(small(tmp_path, request_bytes_max=4 * KIB)) as node:
        await put(node.store, b"k", bytes(4 * KIB - 8))
        with pytest.raises(RequestTooLarge):
            await put(node.store, b"k", bytes(4 * KIB))
        with pytest.raises(RequestTooLarge):
            await delete(node.store, bytes(4 * KIB), prev_kv=True)


async def test_the_applier_waits_for_a_slow_database(tmp_path: Path) -> None:
    may_commit = threading.Event()

    def hook(point: str) -> None:
        if point == "before_backend_commit":
            may_commit.wait(20)

    config = small(tmp_path, commit_operations_max=5, apply_slice_entries_max=5)
    async with running(config, crash_hook=hook) as node:
        writes = [asyncio.ensure_future(put(node.store, b"k%d" % n)) for n in range(200)]
        await until(lambda: node.node.counts().apply_backlog > 0)
        await until(lambda: node.node.counts().commit_backlog >= 20)
        for _ in range(50):
            await asyncio.sleep(0.001)
        # Four commits' worth, one slice more, and no further.
        assert node.node.counts().commit_backlog <= 4 * 5 + 5
        assert not writes[-1].done()
        may_commit.set()
        await asyncio.gather(*writes)


async def test_compaction_waits_for_a_slow_database(tmp_path: Path) -> None:
    config = small(tmp_path, commit_operations_max=50)
    async with running(config) as node:
        for _ in range(2):
            for first in range(0, 1_500, 100):
                keys = (b"k%d" % n for n in range(first, first + 100))
                await asyncio.gather(*(put(node.store, key) for key in keys))
        revision = await revision_of(node.store)
        await node.store.compact(CompactionRequest(revision=revision, physical=True))
        assert (await get(node.store, b"k", b"l", count_only=True)).count == 1_500
    async with running(config) as node:
        assert (await get(node.store, b"k", b"l", count_only=True)).count == 1_500
