"""Keys: what every engine must do as etcd does. Source: etcd api/etcdserverpb/rpc.proto, KV."""

from __future__ import annotations

import asyncio

import pytest
from registry.engine.calls import delete, end_of, get, keys, one, put, revision_of

from tianlu._proto.etcd.rpc_pb2 import CompactionRequest, RangeRequest
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import (
    Compacted,
    EmptyKey,
    FutureRevision,
    KeyNotFound,
    LeaseNotFound,
    LeaseProvided,
    RequestTooLarge,
    ValueProvided,
)


async def test_put_and_get(store: Store, prefix: bytes) -> None:
    before = await revision_of(store)
    answer = await put(store, prefix + b"a", b"1")
    assert answer.header.revision == before + 1
    assert answer.header.cluster_id
    assert answer.header.member_id
    assert answer.header.raft_term
    assert not answer.HasField("prev_kv")
    found = await get(store, prefix + b"a")
    assert (found.count, found.more) == (1, False)
    assert found.header.revision == before + 1
    (kv,) = found.kvs
    assert (kv.key, kv.value, kv.lease) == (prefix + b"a", b"1", 0)
    assert (kv.create_revision, kv.mod_revision, kv.version) == (before + 1, before + 1, 1)


async def test_a_missing_key_is_an_empty_answer(store: Store, prefix: bytes) -> None:
    found = await get(store, prefix)
    assert (found.count, len(found.kvs), found.more) == (0, 0, False)


async def test_overwriting_counts_versions(store: Store, prefix: bytes) -> None:
    first = (await put(store, prefix, b"1")).header.revision
    second = await put(store, prefix, b"2", prev_kv=True)
    assert second.header.revision == first + 1
    assert (second.prev_kv.value, second.prev_kv.version) == (b"1", 1)
    kv = await one(store, prefix)
    assert (kv.value, kv.create_revision, kv.mod_revision, kv.version) == (
        b"2", first, first + 1, 2,
    )  # fmt: skip


async def test_a_key_put_after_its_deletion_is_new(store: Store, prefix: bytes) -> None:
    await put(store, prefix, b"1")
    await put(store, prefix, b"2")
    gone = await delete(store, prefix, prev_kv=True)
    assert gone.deleted == 1
    assert [kv.value for kv in gone.prev_kvs] == [b"2"]
    again = await put(store, prefix, b"3", prev_kv=True)
    assert not again.HasField("prev_kv")
    kv = await one(store, prefix)
    assert (kv.create_revision, kv.version) == (again.header.revision, 1)


async def test_deleting_nothing_changes_nothing(store: Store, prefix: bytes) -> None:
    before = await revision_of(store)
    answer = await delete(store, prefix, end_of(prefix))
    assert (answer.deleted, answer.header.revision) == (0, before)
    assert await revision_of(store) == before


async def test_a_range_is_deleted_in_one_revision(store: Store, prefix: bytes) -> None:
    for name in (b"c", b"a", b"b", b"d"):
        await put(store, prefix + name, name)
    before = await revision_of(store)
    answer = await delete(store, prefix + b"a", prefix + b"d", prev_kv=True)
    assert (answer.deleted, answer.header.revision) == (3, before + 1)
    assert [kv.value for kv in answer.prev_kvs] == [b"a", b"b", b"c"]
    assert keys(await get(store, prefix, end_of(prefix))) == [prefix + b"d"]


@pytest.fixture
async def letters(store: Store, prefix: bytes) -> bytes:
    """Keys a to e below the prefix, written in another order, two of them twice."""
    for name in (b"d", b"a", b"e", b"c", b"b", b"a", b"d"):
        await put(store, prefix + name, bytes(reversed(name * 2)) + b"%d" % (255 - name[0]))
    return prefix


async def test_limit_and_more(store: Store, letters: bytes) -> None:
    some = await get(store, letters, end_of(letters), limit=2)
    assert (keys(some), some.count, some.more) == ([letters + b"a", letters + b"b"], 5, True)
    every = await get(store, letters, end_of(letters), limit=5)
    assert (len(every.kvs), every.count, every.more) == (5, 5, False)


async def test_keys_only_and_count_only(store: Store, letters: bytes) -> None:
    names = await get(store, letters, end_of(letters), keys_only=True)
    assert len(names.kvs) == 5
    assert all(kv.value == b"" and kv.mod_revision for kv in names.kvs)
    count = await get(store, letters, end_of(letters), count_only=True)
    assert (count.count, len(count.kvs)) == (5, 0)
    assert (await get(store, letters + b"a", count_only=True)).count == 1


@pytest.mark.parametrize(
    ("target", "ascending"),
    [
        (RangeRequest.KEY, b"abcde"),
        (RangeRequest.CREATE, b"daecb"),
        (RangeRequest.MOD, b"ecbad"),
        (RangeRequest.VALUE, b"abcde"),
    ],
)
async def test_sorting(
    store: Store, letters: bytes, target: RangeRequest.SortTarget, ascending: bytes
) -> None:
    for order, wanted in (
        (RangeRequest.ASCEND, ascending),
        (RangeRequest.DESCEND, ascending[::-1]),
    ):
        found = await get(store, letters, end_of(letters), sort_target=target, sort_order=order)
        assert b"".join(key[-1:] for key in keys(found)) == wanted


async def test_sorting_comes_before_the_limit(store: Store, letters: bytes) -> None:
    found = await get(
        store,
        letters,
        end_of(letters),
        limit=2,
        sort_target=RangeRequest.VERSION,
        sort_order=RangeRequest.DESCEND,
    )
    assert {key[-1:] for key in keys(found)} == {b"a", b"d"}
    assert (found.more, found.count) == (True, 5)


async def test_filters_by_revision(store: Store, letters: bytes) -> None:
    mods = {kv.key[-1:]: kv for kv in (await get(store, letters, end_of(letters))).kvs}
    late = await get(store, letters, end_of(letters), min_mod_revision=mods[b"a"].mod_revision)
    assert {key[-1:] for key in keys(late)} == {b"a", b"d"}
    early = await get(
        store, letters, end_of(letters), max_create_revision=mods[b"e"].create_revision
    )
    assert {key[-1:] for key in keys(early)} == {b"d", b"a", b"e"}


async def test_ranges_without_an_end(store: Store, letters: bytes) -> None:
    from_c = keys(await get(store, letters + b"c", b"\x00"))
    assert from_c[:3] == [letters + name for name in (b"c", b"d", b"e")]
    everything = keys(await get(store, b"\x00", b"\x00"))
    assert letters + b"a" in everything
    assert everything == sorted(everything)


async def test_an_empty_range(store: Store, letters: bytes) -> None:
    assert (await get(store, letters + b"c", letters + b"c")).count == 0
    assert (await get(store, letters + b"d", letters + b"a")).count == 0


async def test_the_past_stays_readable(store: Store, prefix: bytes) -> None:
    first = (await put(store, prefix, b"1")).header.revision
    await put(store, prefix, b"2")
    last = (await delete(store, prefix)).header.revision
    old = await get(store, prefix, revision=first)
    assert ([kv.value for kv in old.kvs], old.header.revision) == ([b"1"], last)
    assert [kv.value for kv in (await get(store, prefix, revision=first + 1)).kvs] == [b"2"]
    assert (await get(store, prefix, revision=last)).count == 0
    assert (await get(store, prefix, revision=first - 1)).count == 0


async def test_the_future_is_refused(store: Store, prefix: bytes) -> None:
    with pytest.raises(FutureRevision, match="future revision"):
        await get(store, prefix, revision=await revision_of(store) + 1)


@pytest.mark.parametrize("physical", [False, True])
async def test_compaction(store: Store, prefix: bytes, physical: bool) -> None:
    first = (await put(store, prefix, b"1")).header.revision
    second = (await put(store, prefix, b"2")).header.revision
    await put(store, prefix, b"3")
    await store.compact(CompactionRequest(revision=second, physical=physical))
    with pytest.raises(Compacted, match="has been compacted"):
        await get(store, prefix, revision=first)
    assert (await one(store, prefix, revision=second)).value == b"2"
    assert (await one(store, prefix)).value == b"3"
    for revision, error in ((second, Compacted), (first, Compacted), (10**12, FutureRevision)):
        with pytest.raises(error):
            await store.compact(CompactionRequest(revision=revision))


async def test_compaction_keeps_the_newest_of_every_key(store: Store, prefix: bytes) -> None:
    await put(store, prefix + b"stays", b"1")
    await put(store, prefix + b"goes", b"1")
    await delete(store, prefix + b"goes")
    await store.compact(CompactionRequest(revision=await revision_of(store), physical=True))
    kv = await one(store, prefix + b"stays")
    assert (kv.value, kv.version) == (b"1", 1)
    assert (await get(store, prefix + b"goes")).count == 0


async def test_empty_keys_are_refused(store: Store) -> None:
    for call in (put, get, delete):
        with pytest.raises(EmptyKey, match="key is not provided"):
            await call(store, b"")  # type: ignore[operator]


async def test_keeping_value_or_lease(store: Store, prefix: bytes) -> None:
    for fields in ({"ignore_value": True}, {"ignore_lease": True}):
        with pytest.raises(KeyNotFound):
            await put(store, prefix, **fields)
    with pytest.raises(ValueProvided):
        await put(store, prefix, b"x", ignore_value=True)
    with pytest.raises(LeaseProvided):
        await put(store, prefix, b"x", ignore_lease=True, lease=1)
    await put(store, prefix, b"kept")
    await put(store, prefix, ignore_value=True)
    kv = await one(store, prefix)
    assert (kv.value, kv.version) == (b"kept", 2)


async def test_an_unknown_lease_is_refused(store: Store, prefix: bytes) -> None:
    before = await revision_of(store)
    with pytest.raises(LeaseNotFound, match="requested lease not found"):
        await put(store, prefix, b"x", lease=4242)
    assert await revision_of(store) == before


async def test_a_request_that_is_too_large(store: Store, prefix: bytes) -> None:
    with pytest.raises(RequestTooLarge, match="request is too large"):
        await put(store, prefix, bytes(1536 * 1024 + 1))
    await put(store, prefix, bytes(1536 * 1024 - 512))


async def test_any_bytes_are_fine(store: Store, prefix: bytes) -> None:
    key = prefix + bytes(range(256))
    await put(store, key, bytes(range(256)))
    kv = await one(store, key)
    assert (kv.key, kv.value) == (key, bytes(range(256)))
    await put(store, key + b"\x00", b"")
    assert (await one(store, key + b"\x00")).value == b""


async def test_serializable_reads(store: Store, prefix: bytes) -> None:
    await put(store, prefix, b"1")
    assert (await one(store, prefix, serializable=True)).value == b"1"


async def test_concurrent_puts_get_distinct_revisions(store: Store, prefix: bytes) -> None:
    before = await revision_of(store)
    answers = await asyncio.gather(*(put(store, prefix + b"%d" % n, b"x") for n in range(50)))
    revisions = sorted(answer.header.revision for answer in answers)
    assert revisions == list(range(before + 1, before + 51))
    assert (await get(store, prefix, end_of(prefix), count_only=True)).count == 50


async def test_a_read_sees_every_write_answered_before_it(store: Store, prefix: bytes) -> None:
    for number in range(30):
        await put(store, prefix, b"%d" % number)
        assert (await one(store, prefix)).value == b"%d" % number


async def test_status(store: Store, prefix: bytes) -> None:
    await put(store, prefix, b"1")
    status = store.status()
    assert status.member_id
    assert status.leader_id == status.member_id
    assert status.raft_term > 0
    assert status.raft_index > 0
    assert status.db_size >= status.db_size_in_use > 0
    assert status.errors == ()
    assert not status.is_learner
    assert store.header().member_id == status.member_id
