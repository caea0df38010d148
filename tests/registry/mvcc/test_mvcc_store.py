"""Rules of etcd's key-value API, each by name. The model covers their combinations."""

from __future__ import annotations

import copy

import pytest
from registry.mvcc.mvcc_fakes import (
    StoreFixture,
    delete_op,
    exists,
    is_missing,
    put_op,
    range_op,
    txn_op,
)

from tianlu._proto.etcd.kv_pb2 import KeyValue
from tianlu._proto.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
)
from tianlu_registry.errors import Compacted, Corrupt, FutureRevision, KeyNotFound, LeaseNotFound


@pytest.fixture
def fixture() -> StoreFixture:
    return StoreFixture()


def test_the_empty_store_is_at_revision_1(fixture: StoreFixture) -> None:
    response = fixture.store.range(RangeRequest(key=b"a"))
    assert (response.header.revision, response.count, response.more) == (1, 0, False)
    assert fixture.store.compact_revision == -1


def test_ranges(fixture: StoreFixture) -> None:
    """range_end: empty for one key, \\0 for all from key, key+1 for a prefix."""
    for key in (b"a", b"a/1", b"a/2", b"a0", b"b"):
        fixture.put(key)
    assert fixture.keys(b"a", b"") == [b"a"]
    assert fixture.keys(b"a/", b"a0") == [b"a/1", b"a/2"]
    assert fixture.keys(b"a0", b"\x00") == [b"a0", b"b"]
    assert fixture.keys(b"\x00", b"\x00") == [b"a", b"a/1", b"a/2", b"a0", b"b"]
    assert fixture.keys(b"b", b"a") == []


def test_limit_more_and_count(fixture: StoreFixture) -> None:
    """count is of the whole range whatever the limit; more tells that the limit cut."""
    for number in range(4):
        fixture.put(b"k%d" % number)
    for limit, more in ((3, True), (4, False), (0, False)):
        response = fixture.store.range(RangeRequest(key=b"k", range_end=b"l", limit=limit))
        assert (len(response.kvs), response.more, response.count) == (limit or 4, more, 4)


@pytest.mark.parametrize(
    "request_", [
        RangeRequest(key=b"k1"),
        RangeRequest(key=b"none"),
        RangeRequest(key=b"k1", revision=3, count_only=True),
        RangeRequest(key=b"k", range_end=b"l"),
        RangeRequest(key=b"k", range_end=b"l", limit=2),
        RangeRequest(key=b"k", range_end=b"l", limit=4),
        RangeRequest(key=b"k", range_end=b"l", revision=4),
        RangeRequest(key=b"k", range_end=b"l", count_only=True),
        RangeRequest(key=b"x", range_end=b"y"),
        RangeRequest(key=b"k", range_end=b"\0", serializable=True),
    ],
    ids=lambda request: str(request).replace("\n", " "),
)  # fmt: skip
def test_a_plain_range_is_the_same_encoded(fixture: StoreFixture, request_: RangeRequest) -> None:
    for number in range(4):
        fixture.put(b"k%d" % number, b"v" * 3_000 if number == 2 else b"v")
    encoded = fixture.store.range_encoded(request_)
    assert encoded is not None
    answer = fixture.store.range(request_)
    answer.ClearField("header")
    assert encoded == answer.SerializeToString()


def test_what_has_to_be_built_is_not_there_encoded(fixture: StoreFixture) -> None:
    for request in (
        RangeRequest(key=b"k", keys_only=True),
        RangeRequest(key=b"k", range_end=b"l", sort_order=RangeRequest.DESCEND),
        RangeRequest(key=b"k", range_end=b"l", sort_target=RangeRequest.MOD),
        RangeRequest(key=b"k", min_mod_revision=2),
    ):
        assert fixture.store.range_encoded(request) is None
    for revision, error in ((9, FutureRevision), (1, Compacted)):
        fixture.put(b"k")
        if error is Compacted:
            fixture.store.compact(2)
        with pytest.raises(error):
            fixture.store.range_encoded(RangeRequest(key=b"k", revision=revision))


def test_a_range_of_many_keys_is_deleted_as_one_key_is(fixture: StoreFixture) -> None:
    """Also with keys around it, keys that were deleted before, and such that were put twice."""
    keys = [*(b"k%02d" % number for number in range(19)), b"k99" + bytes(3_000)]
    for key in (b"a", *keys, b"z", keys[3]):
        fixture.put(key, key)
    fixture.delete(keys[5])
    main = fixture.store.revision + 1
    response, changes = fixture.store.delete_range(
        DeleteRangeRequest(key=b"k", range_end=b"l", prev_kv=True)
    )
    assert (response.deleted, response.header.revision) == (19, main)
    assert [kv.key for kv in response.prev_kvs] == [key for key in keys if key != keys[5]]
    records = [KeyValue.FromString(change.record) for change in changes]
    assert records == [KeyValue(key=kv.key, mod_revision=main) for kv in response.prev_kvs]
    assert [change.packed for change in changes] == [main << 32 | n << 1 | 1 for n in range(19)]
    assert fixture.keys(b"a", b"\0") == [b"a", b"z"]
    past = RangeRequest(key=b"k", range_end=b"l", revision=main - 1)
    assert fixture.store.range(past).count == 19
    for key in keys:
        fixture.put(key)
    assert fixture.keys(b"k", b"l") == keys
    assert fixture.store.range(RangeRequest(key=keys[3])).kvs[0].version == 1


def test_many_keys_of_leases_are_deleted(fixture: StoreFixture) -> None:
    fixture.lessor.grant(7, 60, 0.0)
    for number in range(8):
        fixture.put(b"k%d" % number, lease=7 if number % 2 else 0)
    assert len(fixture.lessor.keys(7)) == 4
    fixture.delete(b"k", b"l")
    assert fixture.lessor.keys(7) == []


def test_an_unsorted_limit_cuts_before_sorting_by_target(fixture: StoreFixture) -> None:
    """etcd sorts by a target without an order only what the limit, plus one, let through."""
    for key, value in ((b"a", b"3"), (b"b", b"2"), (b"c", b"1")):
        fixture.put(key, value)
    request = RangeRequest(key=b"a", range_end=b"z", limit=1, sort_target=RangeRequest.VALUE)
    assert [kv.key for kv in fixture.store.range(request).kvs] == [b"b"]
    request.sort_order = RangeRequest.ASCEND
    assert [kv.key for kv in fixture.store.range(request).kvs] == [b"c"]


def test_filters_leave_the_count_alone(fixture: StoreFixture) -> None:
    for key in (b"a", b"b", b"c"):
        fixture.put(key)
    for request in (
        RangeRequest(key=b"a", range_end=b"z", min_mod_revision=3, max_mod_revision=3),
        RangeRequest(key=b"a", range_end=b"z", min_create_revision=3, max_create_revision=3),
    ):
        response = fixture.store.range(request)
        assert ([kv.key for kv in response.kvs], response.count) == ([b"b"], 3)
    response = fixture.store.range(RangeRequest(key=b"a", min_mod_revision=3))
    assert (len(response.kvs), response.count) == (0, 1)


def test_keys_only_keeps_the_lease(fixture: StoreFixture) -> None:
    """etcd 3.5 drops the value and nothing else."""
    fixture.lessor.grant(7, 10, now=0.0)
    fixture.put(b"a", b"value", lease=7)
    for range_end in (b"", b"b"):
        request = RangeRequest(key=b"a", range_end=range_end, keys_only=True)
        (kv,) = fixture.store.range(request).kvs
        assert (kv.value, kv.lease, kv.version) == (b"", 7, 1)


def test_past_revisions(fixture: StoreFixture) -> None:
    fixture.put(b"a", b"1")
    fixture.put(b"a", b"2")
    fixture.delete(b"a")
    assert [fixture.value(b"a", revision) for revision in (1, 2, 3, 4)] == [None, b"1", b"2", None]
    response = fixture.store.range(RangeRequest(key=b"a", revision=2))
    assert response.header.revision == 4  # the header's is always the present one
    with pytest.raises(FutureRevision):
        fixture.value(b"a", 5)


def test_deleting_nothing_changes_nothing(fixture: StoreFixture) -> None:
    fixture.put(b"a")
    assert fixture.delete(b"x", b"z") == 0
    assert fixture.store.revision == 2


def test_a_delete_of_many_is_one_revision(fixture: StoreFixture) -> None:
    fixture.put(b"a")
    fixture.put(b"b")
    assert fixture.delete(b"a", b"c") == 2
    assert fixture.store.revision == 4


def test_put_moves_the_key_to_the_lease_it_names(fixture: StoreFixture) -> None:
    for lease_id in (7, 8):
        fixture.lessor.grant(lease_id, 10, now=0.0)
    fixture.put(b"a", lease=7)
    fixture.put(b"b", lease=7)
    fixture.put(b"a", lease=8)
    fixture.put(b"b")
    assert (fixture.lessor.keys(7), fixture.lessor.keys(8)) == ([], [b"a"])
    fixture.delete(b"a")
    assert fixture.lessor.keys(8) == []


def test_ignore_lease_and_value_keep_what_was(fixture: StoreFixture) -> None:
    fixture.lessor.grant(7, 10, now=0.0)
    fixture.put(b"a", b"1", lease=7)
    fixture.store.put(PutRequest(key=b"a", value=b"2", ignore_lease=True))
    assert fixture.lessor.keys(7) == [b"a"]
    fixture.store.put(PutRequest(key=b"a", ignore_value=True))
    assert fixture.value(b"a") == b"2"
    assert fixture.lessor.keys(7) == []
    with pytest.raises(KeyNotFound):
        fixture.store.put(PutRequest(key=b"b", ignore_value=True))


def test_a_refused_put_changes_nothing(fixture: StoreFixture) -> None:
    with pytest.raises(LeaseNotFound):
        fixture.put(b"a", lease=404)
    assert (fixture.store.revision, fixture.backend.records) == (1, {})


def test_a_transaction_is_one_revision_with_subs(fixture: StoreFixture) -> None:
    request = TxnRequest(success=[put_op(b"a"), put_op(b"b"), delete_op(b"zz")])
    response, changes = fixture.store.txn(request)
    assert response.succeeded
    assert response.header.revision == 2
    assert [answer.WhichOneof("response") for answer in response.responses] == [
        "response_put",
        "response_put",
        "response_delete_range",
    ]
    assert [(change.packed >> 32, change.packed >> 1 & 0xFF) for change in changes] == [
        (2, 0),
        (2, 1),
    ]


def test_a_transaction_reads_its_own_writes(fixture: StoreFixture) -> None:
    fixture.put(b"a", b"old")
    request = TxnRequest(
        success=[range_op(b"a"), put_op(b"a", b"new"), range_op(b"a"), range_op(b"a", revision=2)]
    )
    response, _ = fixture.store.txn(request)
    reads = [response.responses[number].response_range for number in (0, 2, 3)]
    assert [read.kvs[0].value for read in reads] == [b"old", b"new", b"old"]
    assert [read.header.revision for read in reads] == [2, 3, 3]


def test_a_reading_transaction_keeps_the_revision(fixture: StoreFixture) -> None:
    fixture.put(b"a")
    response, changes = fixture.store.txn(TxnRequest(success=[range_op(b"a")]))
    assert (response.header.revision, list(changes), fixture.store.revision) == (2, [], 2)


def test_a_transaction_is_refused_whole(fixture: StoreFixture) -> None:
    """A lease missing in the middle, or a revision out of reach, undoes nothing because nothing
    was done."""
    fixture.put(b"kept", b"1")
    records = dict(fixture.backend.records)
    for op, error in (
        (put_op(b"b", lease=404), LeaseNotFound),
        (range_op(b"b", revision=9), FutureRevision),
        (txn_op(TxnRequest(success=[put_op(b"b", lease=404)])), LeaseNotFound),
    ):
        request = TxnRequest(success=[put_op(b"a"), delete_op(b"kept"), op, put_op(b"c")])
        with pytest.raises(error):
            fixture.store.txn(request)
    assert fixture.backend.records == records
    assert (fixture.store.revision, fixture.keys()) == (2, [b"kept"])


def test_the_branch_not_taken_is_not_checked_against_state(fixture: StoreFixture) -> None:
    request = TxnRequest(success=[put_op(b"a")], failure=[put_op(b"b", lease=404)])
    assert fixture.store.txn(request).response.succeeded


def test_nested_compares_see_the_state_before_the_transaction(fixture: StoreFixture) -> None:
    inner = TxnRequest(compare=[exists(b"a")], success=[put_op(b"x")], failure=[put_op(b"y")])
    response, _ = fixture.store.txn(TxnRequest(success=[put_op(b"a"), txn_op(inner)]))
    nested = response.responses[1].response_txn
    assert not nested.succeeded
    assert nested.HasField("header")
    assert fixture.keys() == [b"a", b"y"]


def test_compares_over_a_range_hold_for_every_key(fixture: StoreFixture) -> None:
    fixture.put(b"a/1")
    fixture.put(b"a/2")
    fixture.put(b"a/2")
    whole = Compare(
        key=b"a/", range_end=b"a0", target=Compare.VERSION, result=Compare.EQUAL, version=1
    )
    assert not fixture.store.txn(TxnRequest(compare=[whole])).response.succeeded
    whole.result = Compare.GREATER
    whole.version = 0
    assert fixture.store.txn(TxnRequest(compare=[whole])).response.succeeded


def test_a_missing_key_compares_as_zero_but_has_no_value(fixture: StoreFixture) -> None:
    assert fixture.store.txn(TxnRequest(compare=[is_missing(b"a")])).response.succeeded
    empty = Compare(key=b"a", target=Compare.VALUE, result=Compare.EQUAL, value=b"")
    assert not fixture.store.txn(TxnRequest(compare=[empty])).response.succeeded
    empty.result = Compare.NOT_EQUAL
    assert not fixture.store.txn(TxnRequest(compare=[empty])).response.succeeded


def test_compaction_is_logical_at_once(fixture: StoreFixture) -> None:
    for value in (b"1", b"2", b"3"):
        fixture.put(b"a", value)
    fixture.store.compact(3)
    with pytest.raises(Compacted) as caught:
        fixture.value(b"a", 2)
    assert caught.value.compact_revision == 3
    assert fixture.value(b"a", 3) == b"2"
    for revision in (2, 3):
        with pytest.raises(Compacted):
            fixture.store.compact(revision)
    with pytest.raises(FutureRevision):
        fixture.store.compact(5)


def test_compaction_goes_in_bounded_steps_and_resumes_after_a_restart(
    fixture: StoreFixture,
) -> None:
    for number in range(10):
        fixture.put(b"k%d" % number)
        fixture.put(b"k%d" % number)
    fixture.store.compact(fixture.store.revision)
    assert fixture.store.compaction_step(4) is False
    assert len(fixture.backend.records) == 18  # two keys looked at, two revisions removed
    again = fixture.restarted()
    assert again.store.compact_revision == 21
    while not again.store.compaction_step(4):
        pass
    assert len(again.backend.records) == 10
    third = again.restarted()
    assert third.store.compaction_step(1) is True


def test_a_compaction_of_one_key_of_many_revisions_goes_in_steps_too(
    fixture: StoreFixture,
) -> None:
    """Oldest first: wherever the steps are interrupted for ever, the key stays deleted."""
    for _ in range(50):
        fixture.put(b"a")
    fixture.delete(b"a")
    last = fixture.put(b"b")
    fixture.store.compact(last)
    before = len(fixture.backend.records)
    while not fixture.store.compaction_step(7):
        after = len(fixture.backend.records)
        assert 0 <= before - after <= 7
        before = after
        again = StoreFixture(copy.deepcopy(fixture.backend))
        assert again.keys() == [b"b"]
        while not again.store.compaction_step(7):
            pass
        assert len(again.backend.records) == 1
    assert len(fixture.backend.records) == 1


def test_a_compaction_that_overtakes_another_removes_what_that_left(fixture: StoreFixture) -> None:
    for number in range(20):
        fixture.put(b"%d" % (number % 4))
    fixture.store.compact(10)
    fixture.store.compaction_step(3)
    for number in range(8):
        fixture.put(b"%d" % (number % 2))
    fixture.compact_all(fixture.store.revision)
    assert len(fixture.backend.records) == 4


def test_a_compacted_tombstone_does_not_turn_the_revision_back(fixture: StoreFixture) -> None:
    """After a restart the revision is at least the compacted one, though no record may have it.

    Source: etcd issue 17780.
    """
    fixture.put(b"a")
    fixture.delete(b"a")
    fixture.put(b"b")
    fixture.delete(b"b")
    fixture.compact_all(5)
    fixture.put(b"c")
    fixture.delete(b"c")
    fixture.compact_all(7)
    again = fixture.restarted()
    assert again.store.revision == 7
    assert again.keys() == []


def test_lost_records_are_noticed(fixture: StoreFixture) -> None:
    for _ in range(3):
        fixture.put(b"a")
    fixture.compact_all(4)
    fixture.backend.records.clear()
    with pytest.raises(Corrupt):
        fixture.restarted()


def test_a_restart_restores_leases_of_keys(fixture: StoreFixture) -> None:
    for lease_id in (7, 8):
        fixture.lessor.grant(lease_id, 10, now=0.0)
    fixture.put(b"a", lease=7)
    fixture.put(b"b", lease=7)
    fixture.put(b"b", lease=8)
    fixture.put(b"c", lease=8)
    fixture.delete(b"c")
    again = fixture.restarted()
    assert (again.lessor.keys(7), again.lessor.keys(8)) == ([b"a"], [b"b"])


def test_a_restart_after_compaction_keeps_create_revision_and_version(
    fixture: StoreFixture,
) -> None:
    for _ in range(3):
        fixture.put(b"a")
    fixture.compact_all(4)
    again = fixture.restarted()
    again.put(b"a")
    (kv,) = again.store.range(RangeRequest(key=b"a")).kvs
    assert (kv.create_revision, kv.version) == (2, 4)


def test_large_values_and_long_keys(fixture: StoreFixture) -> None:
    """Lengths beyond the table of short field heads, and keys of more than 127 bytes."""
    key, value = b"k" * 300, b"v" * 70_000
    fixture.put(key, value)
    response = fixture.store.range(RangeRequest(key=b"k", range_end=b"l"))
    assert [(kv.key, kv.value) for kv in response.kvs] == [(key, value)]
    (change,), through = fixture.store.changes_since(2, 2, 10, 10)
    assert through == 2
    assert change.key == key
