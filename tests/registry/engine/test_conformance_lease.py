"""Leases: what every engine must do as etcd does. Source: etcd rpc.proto, lease/lessor.go."""

from __future__ import annotations

import asyncio
import random

import pytest
from registry.engine.calls import Sink, delete, end_of, get, keys, one, put, revision_of, until

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu._proto.etcd.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
)
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import LeaseExists, LeaseNotFound, LeaseTtlTooLarge
from tianlu_registry.mvcc.types import WatchSpec


def fresh_id() -> int:
    return random.SystemRandom().getrandbits(62) + 1


async def grant(store: Store, ttl_seconds: int = 60, lease_id: int = 0) -> int:
    answer = await store.lease_grant(LeaseGrantRequest(TTL=ttl_seconds, ID=lease_id))
    return answer.ID


async def revoke(store: Store, lease_id: int) -> None:
    await store.lease_revoke(LeaseRevokeRequest(ID=lease_id))


async def time_to_live(store: Store, lease_id: int) -> LeaseTimeToLiveResponse:
    return await store.lease_time_to_live(LeaseTimeToLiveRequest(ID=lease_id, keys=True))


async def test_grant_and_revoke(store: Store, prefix: bytes) -> None:
    before = await revision_of(store)
    answer = await store.lease_grant(LeaseGrantRequest(TTL=60))
    assert (answer.TTL, answer.error) == (60, "")
    assert answer.ID > 0
    assert answer.header.revision == before
    for name in (b"a", b"b"):
        await put(store, prefix + name, b"x", lease=answer.ID)
    assert (await one(store, prefix + b"a")).lease == answer.ID
    gone = await store.lease_revoke(LeaseRevokeRequest(ID=answer.ID))
    assert gone.header.revision == before + 3
    assert (await get(store, prefix, end_of(prefix))).count == 0
    with pytest.raises(LeaseNotFound):
        await revoke(store, answer.ID)


async def test_an_id_of_ones_own(store: Store) -> None:
    wanted = fresh_id()
    assert await grant(store, lease_id=wanted) == wanted
    with pytest.raises(LeaseExists, match="lease already exists"):
        await grant(store, lease_id=wanted)
    await revoke(store, wanted)


async def test_ttl_limits(store: Store) -> None:
    with pytest.raises(LeaseTtlTooLarge, match="too large lease TTL"):
        await grant(store, ttl_seconds=9_000_000_001)
    short = await store.lease_grant(LeaseGrantRequest(TTL=1))
    assert short.TTL == 2  # no shorter than one and a half elections
    await revoke(store, short.ID)


async def test_time_to_live(store: Store, prefix: bytes) -> None:
    lease = await grant(store, 100)
    await put(store, prefix + b"b", b"x", lease=lease)
    await put(store, prefix + b"a", b"x", lease=lease)
    answer = await time_to_live(store, lease)
    assert (answer.ID, answer.grantedTTL) == (lease, 100)
    assert 90 <= answer.TTL <= 100
    assert sorted(answer.keys) == [prefix + b"a", prefix + b"b"]
    without = await store.lease_time_to_live(LeaseTimeToLiveRequest(ID=lease))
    assert list(without.keys) == []
    await revoke(store, lease)
    gone = await time_to_live(store, lease)
    assert (gone.ID, gone.TTL, gone.grantedTTL, list(gone.keys)) == (lease, -1, 0, [])


async def test_keep_alive(store: Store) -> None:
    lease = await grant(store, 50)
    answer = await store.lease_keep_alive(lease)
    renewed = (answer.ID, answer.TTL)
    assert renewed == (lease, 50)
    await revoke(store, lease)
    assert (await store.lease_keep_alive(lease)).TTL == 0


async def test_several_kept_alive_at_once(store: Store) -> None:
    first, gone, last = await grant(store, 50), await grant(store), await grant(store, 70)
    await revoke(store, gone)
    answers = await store.lease_keep_alives([first, gone, last])
    assert [(one.ID, one.TTL) for one in answers] == [(first, 50), (gone, 0), (last, 70)]
    assert all(one.header.revision >= 1 for one in answers)
    for lease in (first, last):
        await revoke(store, lease)


async def test_listing(store: Store) -> None:
    leases = {await grant(store) for _ in range(3)}
    assert leases <= {lease.ID for lease in (await store.lease_leases()).leases}
    for lease in leases:
        await revoke(store, lease)
    assert not leases & {lease.ID for lease in (await store.lease_leases()).leases}


async def test_a_key_hangs_on_its_last_lease(store: Store, prefix: bytes) -> None:
    first, second = await grant(store), await grant(store)
    await put(store, prefix, b"1", lease=first)
    await put(store, prefix, b"2", lease=second)
    await revoke(store, first)
    assert (await one(store, prefix)).lease == second
    await put(store, prefix, b"3")
    assert (await one(store, prefix)).lease == 0
    await revoke(store, second)
    assert (await one(store, prefix)).value == b"3"


async def test_keeping_the_lease(store: Store, prefix: bytes) -> None:
    lease = await grant(store)
    await put(store, prefix, b"1", lease=lease)
    await put(store, prefix, b"2", ignore_lease=True)
    kv = await one(store, prefix)
    assert (kv.value, kv.lease) == (b"2", lease)
    await revoke(store, lease)
    assert (await get(store, prefix)).count == 0


async def test_a_deleted_key_leaves_its_lease(store: Store, prefix: bytes) -> None:
    lease = await grant(store)
    await put(store, prefix, b"1", lease=lease)
    await delete(store, prefix)
    assert list((await time_to_live(store, lease)).keys) == []
    await put(store, prefix, b"2")
    before = await revision_of(store)
    await revoke(store, lease)
    assert await revision_of(store) == before
    assert (await one(store, prefix)).value == b"2"


async def test_expiry_deletes_and_keep_alive_prevents_it(store: Store, prefix: bytes) -> None:
    lost, kept = await grant(store, 2), await grant(store, 2)
    await put(store, prefix + b"lost", b"x", lease=lost)
    await put(store, prefix + b"kept", b"x", lease=kept)
    sink = Sink()
    watcher = store.watch(
        WatchSpec(prefix, end_of(prefix), start_revision=await revision_of(store) + 1), sink
    )

    async def keep() -> None:
        while True:
            await store.lease_keep_alive(kept)
            await asyncio.sleep(0.2)

    keeping = asyncio.create_task(keep())
    await until(lambda: len(sink.events) == 1)
    (event,) = sink.events
    assert (event.type, event.kv.key) == (Event.DELETE, prefix + b"lost")
    assert keys(await get(store, prefix, end_of(prefix))) == [prefix + b"kept"]
    assert (await store.lease_keep_alive(lost)).TTL == 0
    keeping.cancel()
    watcher.cancel()
    await revoke(store, kept)
