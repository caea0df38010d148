"""What is particular to the embedded engine. What all share is in the conformance suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest
from registry.engine.calls import get, one, op_get, put, txn, until
from registry.node.nodes import running, small

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    LeaseGrantRequest,
    LeaseTimeToLiveRequest,
    RangeRequest,
    RangeResponse,
)
from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.errors import Broken, Corrupt, InvalidSortOption, Stopped


@pytest.fixture
def fatal() -> list[Broken]:
    return []


@pytest.fixture
async def node(tmp_path: Path, fatal: list[Broken]) -> AsyncIterator[EmbeddedNode]:
    async with running(small(tmp_path), fatal=fatal) as started:
        yield started


@pytest.mark.parametrize("field", ["sort_order", "sort_target"])
async def test_unknown_sort_options_are_refused(node: EmbeddedNode, field: str) -> None:
    with pytest.raises(InvalidSortOption):
        await node.store.range(RangeRequest(key=b"k", **{field: 9}))  # type: ignore[arg-type]


async def test_a_cancelled_write_may_be_applied(node: EmbeddedNode) -> None:
    write = asyncio.ensure_future(put(node.store, b"k", b"1"))
    await asyncio.sleep(0)
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    await put(node.store, b"later")
    assert (await one(node.store, b"k")).value == b"1"


async def test_a_cancelled_read_is_harmless(node: EmbeddedNode) -> None:
    read = asyncio.ensure_future(get(node.store, b"k"))
    await asyncio.sleep(0)
    read.cancel()
    assert (await get(node.store, b"k")).count == 0


async def test_reading_what_is_damaged_stops_the_node(
    node: EmbeddedNode, fatal: list[Broken], monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(node.store, b"k", b"1")

    def damaged(key: bytes) -> NoReturn:
        raise Corrupt

    monkeypatch.setattr(node.node._backend, "get", damaged)
    with pytest.raises(Stopped):
        await get(node.store, b"k", serializable=True)
    assert isinstance(node.stopped_with, Corrupt)
    assert [error.exit_code for error in fatal] == [75]
    with pytest.raises(Stopped):
        await txn(node.store, success=[op_get(b"k")])


async def test_a_renewal_forgets_the_checkpoint(node: EmbeddedNode) -> None:
    """Else the next leader would start the lease with the time it had before the renewal."""
    lease = (await node.store.lease_grant(LeaseGrantRequest(TTL=1_000))).ID
    node.node.machine.lessor.checkpoint(lease, 10)
    assert (await node.store.lease_keep_alive(lease)).TTL == 1_000
    assert not node.node.machine.lessor.is_checkpointed(lease)
    found = await node.store.lease_time_to_live(LeaseTimeToLiveRequest(ID=lease))
    assert found.TTL >= 999


async def test_lease_ids_are_positive_and_fresh(node: EmbeddedNode) -> None:
    answers = [await node.store.lease_grant(LeaseGrantRequest(TTL=60)) for _ in range(20)]
    ids = {answer.ID for answer in answers}
    assert len(ids) == 20
    assert all(0 < lease_id < 1 << 63 for lease_id in ids)


async def test_a_stop_ends_the_wait_for_a_compaction(
    node: EmbeddedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = (await put(node.store, b"k")).header.revision
    monkeypatch.setattr(node.node.machine.mvcc, "compaction_step", lambda budget: False)
    request = CompactionRequest(revision=revision, physical=True)
    waiting = asyncio.ensure_future(node.store.compact(request))
    await until(lambda: node.store.status().compact_revision == revision)
    await asyncio.sleep(0)
    await node.stop()
    with pytest.raises(Stopped):
        await waiting


async def test_who_asks_after_the_stop_does_not_wait_for_a_compaction(node: EmbeddedNode) -> None:
    """A compaction answered in the node's last turn goes on to wait in the next one."""
    await node.stop()
    with pytest.raises(Stopped):
        await asyncio.wait_for(node.node.compaction.finished(), 5)


async def test_headers_name_the_member(node: EmbeddedNode) -> None:
    answer = await put(node.store, b"k")
    # The ids that etcd has with its default settings.
    assert answer.header.cluster_id == 0xCDF818194E3A8C32
    assert answer.header.member_id == 0x8E9E05C52164694D
    assert answer.header.raft_term == 1
    assert answer.header == node.store.header()


@pytest.mark.parametrize("order", [RangeRequest.NONE, RangeRequest.DESCEND])
async def test_a_range_is_the_same_encoded(
    node: EmbeddedNode, order: RangeRequest.SortOrder
) -> None:
    for number in range(3):
        await put(node.store, b"k%d" % number)
    request = RangeRequest(key=b"k", range_end=b"l", sort_order=order)
    answer = await node.store.range(request)
    assert answer.count == 3
    assert await node.store.range_encoded(request) == answer.SerializeToString()
    await put(node.store, b"other")
    again = RangeResponse.FromString(await node.store.range_encoded(request))
    assert again.header.revision == answer.header.revision + 1
