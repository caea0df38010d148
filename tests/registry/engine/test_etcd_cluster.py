"""The cluster of an existing etcd, asked through `EtcdCluster`: three real members."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import TypeVar

import pytest
from registry.etcd_process import free_port
from registry.etcd_trio import EtcdTrio

from tianlu._proto.etcd import rpc_pb2 as pb
from tianlu_registry.engine.etcd import EtcdStore
from tianlu_registry.engine.etcd_channels import EtcdMethod
from tianlu_registry.engine.etcd_cluster import EtcdCluster
from tianlu_registry.engine.etcd_config import EtcdConfig
from tianlu_registry.engine.etcd_errors import error_of_text
from tianlu_registry.errors import (
    FutureRevision,
    LeaderTransferTimeout,
    MemberNotFound,
    MemberNotLearner,
    RequestTimeout,
    Unavailable,
    UnhealthyCluster,
)

T = TypeVar("T")

STATUS = EtcdMethod("Maintenance/Status", pb.StatusResponse)


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdTrio]:
    trio = EtcdTrio(tmp_path_factory.mktemp("trio"))
    trio.start()
    yield trio
    trio.kill()


@pytest.fixture
async def store(trio: EtcdTrio) -> AsyncIterator[EtcdStore]:
    endpoints = (f"127.0.0.1:{free_port()}", *trio.endpoints.split(","))  # the first is dead
    async with await EtcdStore.connect(EtcdConfig(endpoints)) as store:
        yield store


@pytest.fixture
def cluster(store: EtcdStore) -> EtcdCluster:
    return EtcdCluster(store)


async def once_healthy(call: Callable[[], Awaitable[T]]) -> T:
    """etcd changes its members only after all have been connected for five seconds."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return await call()
        except UnhealthyCluster:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_members_and_hashes(cluster: EtcdCluster, store: EtcdStore) -> None:
    await store.put(pb.PutRequest(key=b"k", value=b"v"))
    members = (await cluster.member_list(pb.MemberListRequest(linearizable=True))).members
    assert sorted(member.name for member in members) == ["one", "three", "two"]
    assert (await cluster.hash_kv(pb.HashKVRequest())).hash
    assert (await cluster.hash()).hash
    with pytest.raises(FutureRevision):
        await cluster.hash_kv(pb.HashKVRequest(revision=1 << 40))


async def test_alarms_are_raised_and_put_down(cluster: EtcdCluster) -> None:
    alarm = {"alarm": pb.NOSPACE, "memberID": 1}
    await cluster.alarm(pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, **alarm))
    listed = await cluster.alarm(pb.AlarmRequest())
    assert [raised.memberID for raised in listed.alarms] == [1]
    await cluster.alarm(pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, **alarm))
    assert not (await cluster.alarm(pb.AlarmRequest())).alarms


async def test_leadership_moves_whichever_member_is_asked(
    cluster: EtcdCluster, store: EtcdStore
) -> None:
    members = (await cluster.member_list(pb.MemberListRequest())).members
    for member in members:
        await cluster.move_leader(pb.MoveLeaderRequest(targetID=member.ID))
        status = await store.call(STATUS, pb.StatusRequest())
        assert status.leader == member.ID


async def test_members_change(cluster: EtcdCluster) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    added = await once_healthy(
        lambda: cluster.member_add(pb.MemberAddRequest(peerURLs=[url], isLearner=True))
    )
    assert added.member.isLearner
    assert len(added.members) == 4
    other = f"http://127.0.0.1:{free_port()}"
    update = pb.MemberUpdateRequest(ID=added.member.ID, peerURLs=[other])
    assert len((await cluster.member_update(update)).members) == 4
    voter = next(member for member in added.members if not member.isLearner)
    with pytest.raises(MemberNotLearner):
        await cluster.member_promote(pb.MemberPromoteRequest(ID=voter.ID))
    removed = await once_healthy(
        lambda: cluster.member_remove(pb.MemberRemoveRequest(ID=added.member.ID))
    )
    assert len(removed.members) == 3
    with pytest.raises(MemberNotFound):
        await once_healthy(lambda: cluster.member_remove(pb.MemberRemoveRequest(ID=1)))


async def test_snapshot_is_whole(cluster: EtcdCluster) -> None:
    async with aclosing(cluster.snapshot()) as pieces:
        blobs = [piece.blob async for piece in pieces]
    assert hashlib.sha256(b"".join(blobs[:-1])).digest() == blobs[-1]


async def test_snapshot_of_a_member_that_is_gone(trio: EtcdTrio) -> None:
    """The failure is told, and the next member serves."""
    dead, alive = f"127.0.0.1:{free_port()}", trio.members[0].endpoint
    store = EtcdStore(EtcdConfig((dead, alive)))
    cluster = EtcdCluster(store)
    with pytest.raises(Unavailable):
        _ = [piece async for piece in cluster.snapshot()]
    assert [piece async for piece in cluster.snapshot()]
    await store.close()


def test_a_late_transfer_is_not_a_late_write() -> None:
    assert isinstance(error_of_text(LeaderTransferTimeout.text), LeaderTransferTimeout)
    assert type(error_of_text("etcdserver: request timed out, possibly due to X")) is RequestTimeout
