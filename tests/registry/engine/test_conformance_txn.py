"""Transactions: what every engine must do as etcd does. Source: etcd rpc.proto, Txn; txn/txn.go."""

from __future__ import annotations

import pytest
from registry.engine.calls import (
    delete,
    end_of,
    get,
    keys,
    one,
    op_delete,
    op_get,
    op_put,
    op_txn,
    put,
    revision_of,
    txn,
)

from tianlu._proto.etcd.rpc_pb2 import CompactionRequest, Compare, RequestOp
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import (
    Compacted,
    DuplicateKey,
    EmptyKey,
    FutureRevision,
    KeyNotFound,
    LeaseNotFound,
    TooManyOperations,
)

EQUAL, GREATER, LESS, NOT_EQUAL = (
    Compare.EQUAL, Compare.GREATER, Compare.LESS, Compare.NOT_EQUAL,
)  # fmt: skip


def value_is(key: bytes, value: bytes) -> Compare:
    return Compare(target=Compare.VALUE, result=EQUAL, key=key, value=value)


def version(key: bytes, result: Compare.CompareResult, number: int) -> Compare:
    return Compare(target=Compare.VERSION, result=result, key=key, version=number)


async def test_the_branch_follows_the_comparison(store: Store, prefix: bytes) -> None:
    await put(store, prefix, b"1")
    success = [op_put(prefix, b"yes")]
    failure = [op_get(prefix)]
    taken = await txn(store, [value_is(prefix, b"1")], success, failure)
    assert taken.succeeded
    assert taken.responses[0].WhichOneof("response") == "response_put"
    missed = await txn(store, [value_is(prefix, b"1")], success, failure)
    assert not missed.succeeded
    assert missed.responses[0].response_range.kvs[0].value == b"yes"
    assert missed.header.revision == taken.header.revision


async def holds(store: Store, *compare: Compare) -> bool:
    return (await txn(store, list(compare))).succeeded


async def test_every_target_and_result(store: Store, prefix: bytes) -> None:
    created = (await put(store, prefix, b"m")).header.revision
    changed = (await put(store, prefix, b"m")).header.revision
    for target, field, actual in (
        (Compare.VERSION, "version", 2),
        (Compare.CREATE, "create_revision", created),
        (Compare.MOD, "mod_revision", changed),
        (Compare.LEASE, "lease", 0),
    ):
        for delta in (-1, 0, 1):
            for result, wanted in (
                (EQUAL, delta == 0),
                (NOT_EQUAL, delta != 0),
                (GREATER, delta < 0),
                (LESS, delta > 0),
            ):
                compare = Compare(
                    target=target, result=result, key=prefix, **{field: actual + delta}
                )
                assert await holds(store, compare) is wanted, compare


@pytest.mark.parametrize(
    ("result", "value", "wanted"),
    [
        (EQUAL, b"m", True),
        (NOT_EQUAL, b"m", False),
        (GREATER, b"l", True),
        (GREATER, b"m", False),
        (LESS, b"ma", True),
        (LESS, b"", False),
    ],
)
async def test_values_compare_as_bytes(
    store: Store, prefix: bytes, result: Compare.CompareResult, value: bytes, wanted: bool
) -> None:
    await put(store, prefix, b"m")
    compare = Compare(target=Compare.VALUE, result=result, key=prefix, value=value)
    assert await holds(store, compare) is wanted


async def test_a_missing_key_is_all_zero_and_has_no_value(store: Store, prefix: bytes) -> None:
    assert await holds(store, version(prefix, EQUAL, 0))
    assert await holds(store, Compare(target=Compare.MOD, key=prefix, mod_revision=0))
    for result in (EQUAL, NOT_EQUAL, LESS, GREATER):
        compare = Compare(target=Compare.VALUE, result=result, key=prefix, value=b"")
        assert not await holds(store, compare)


async def test_a_range_compares_all_its_keys(store: Store, prefix: bytes) -> None:
    for name in (b"a", b"b"):
        await put(store, prefix + name, b"same")
    same = Compare(target=Compare.VALUE, key=prefix, range_end=end_of(prefix), value=b"same")
    assert await holds(store, same)
    await put(store, prefix + b"c", b"other")
    assert not await holds(store, same)


async def test_all_comparisons_must_hold(store: Store, prefix: bytes) -> None:
    await put(store, prefix, b"1")
    assert await holds(store, version(prefix, EQUAL, 1), value_is(prefix, b"1"))
    assert not await holds(store, version(prefix, EQUAL, 1), value_is(prefix, b"2"))


async def test_all_writes_share_a_revision(store: Store, prefix: bytes) -> None:
    await put(store, prefix + b"old", b"1")
    before = await revision_of(store)
    answer = await txn(
        store,
        success=[
            op_put(prefix + b"a", b"1"),
            op_put(prefix + b"b", b"2"),
            op_delete(prefix + b"old", prev_kv=True),
        ],
    )
    assert answer.succeeded
    assert answer.header.revision == before + 1
    assert answer.responses[2].response_delete_range.prev_kvs[0].value == b"1"
    found = await get(store, prefix, end_of(prefix))
    assert keys(found) == [prefix + b"a", prefix + b"b"]
    assert {kv.mod_revision for kv in found.kvs} == {before + 1}


async def test_reads_within_see_what_was_written_before_them(store: Store, prefix: bytes) -> None:
    answer = await txn(store, success=[op_get(prefix), op_put(prefix, b"1"), op_get(prefix)])
    before, _, after = answer.responses
    assert before.response_range.count == 0
    assert after.response_range.kvs[0].value == b"1"
    assert after.response_range.kvs[0].mod_revision == answer.header.revision


async def test_what_only_reads_leaves_the_revision(store: Store, prefix: bytes) -> None:
    await put(store, prefix, b"1")
    before = await revision_of(store)
    for success in ([op_get(prefix)], [], [op_delete(prefix + b"no such")]):
        answer = await txn(store, success=success, failure=[op_put(prefix, b"2")])
        assert answer.header.revision == before
    assert await revision_of(store) == before


@pytest.mark.parametrize("serializable", [False, True])
async def test_read_only(store: Store, prefix: bytes, serializable: bool) -> None:
    await put(store, prefix, b"1")
    answer = await txn(
        store, [version(prefix, GREATER, 0)], [op_get(prefix, serializable=serializable)]
    )
    assert answer.succeeded
    assert answer.responses[0].response_range.kvs[0].value == b"1"
    assert answer.header.cluster_id


async def test_nested(store: Store, prefix: bytes) -> None:
    answer = await txn(
        store,
        success=[
            op_put(prefix + b"a", b"1"),
            op_txn(
                [value_is(prefix + b"a", b"1")],
                [op_put(prefix + b"b", b"inner")],
                [op_put(prefix + b"c", b"never")],
            ),
        ],
    )
    inner = answer.responses[1].response_txn
    # etcd compares before anything is written, so the inner comparison does not see a = 1.
    assert not inner.succeeded
    assert keys(await get(store, prefix, end_of(prefix))) == [prefix + b"a", prefix + b"c"]


async def test_a_key_may_be_written_once(store: Store, prefix: bytes) -> None:
    before = await revision_of(store)
    for success in (
        [op_put(prefix, b"1"), op_put(prefix, b"2")],
        [op_put(prefix, b"1"), op_delete(prefix)],
        [op_delete(prefix, end_of(prefix)), op_put(prefix + b"a", b"1")],
        [op_put(prefix, b"1"), op_txn(failure=[op_put(prefix, b"2")])],
    ):
        with pytest.raises(DuplicateKey, match="duplicate key given"):
            await txn(store, success=success)
    assert await revision_of(store) == before
    await txn(store, success=[op_put(prefix, b"1")], failure=[op_put(prefix, b"2")])
    await txn(store, success=[op_delete(prefix), op_delete(prefix)])


async def test_at_most_128_operations(store: Store, prefix: bytes) -> None:
    many: list[RequestOp] = [op_put(prefix + b"%d" % number) for number in range(129)]
    with pytest.raises(TooManyOperations, match="too many operations"):
        await txn(store, success=many)
    assert len((await txn(store, success=many[:128])).responses) == 128


async def test_empty_keys_are_refused(store: Store, prefix: bytes) -> None:
    for success in ([op_put(b"")], [op_get(b"")], [op_delete(b"")]):
        with pytest.raises(EmptyKey):
            await txn(store, success=success)
    with pytest.raises(EmptyKey):
        await txn(store, [version(b"", EQUAL, 0)])


@pytest.mark.parametrize(
    ("fields", "error"),
    [({"lease": 4242}, LeaseNotFound), ({"ignore_value": True}, KeyNotFound)],
)
async def test_all_or_nothing(
    store: Store, prefix: bytes, fields: dict[str, int], error: type[Exception]
) -> None:
    before = await revision_of(store)
    with pytest.raises(error):
        await txn(store, success=[op_put(prefix + b"a", b"1"), op_put(prefix + b"b", **fields)])
    assert (await get(store, prefix, end_of(prefix))).count == 0
    assert await revision_of(store) == before


async def test_reads_of_other_revisions(store: Store, prefix: bytes) -> None:
    first = (await put(store, prefix, b"1")).header.revision
    await put(store, prefix, b"2")
    answer = await txn(store, success=[op_get(prefix, revision=first)])
    assert answer.responses[0].response_range.kvs[0].value == b"1"
    with pytest.raises(FutureRevision):
        await txn(store, success=[op_get(prefix, revision=first + 1_000_000)])
    last = (await delete(store, prefix)).header.revision
    await store.compact(CompactionRequest(revision=last))
    with pytest.raises(Compacted):
        await txn(store, success=[op_get(prefix, revision=first)])


async def test_create_if_absent_lets_one_win(store: Store, prefix: bytes) -> None:
    absent = Compare(target=Compare.CREATE, key=prefix, create_revision=0)
    first = await txn(store, [absent], [op_put(prefix, b"1")], [op_get(prefix)])
    second = await txn(store, [absent], [op_put(prefix, b"2")], [op_get(prefix)])
    assert (first.succeeded, second.succeeded) == (True, False)
    assert second.responses[0].response_range.kvs[0].value == b"1"
    assert (await one(store, prefix)).version == 1
