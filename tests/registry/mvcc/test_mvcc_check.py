"""Refusals that need no state: etcd's api/v3rpc/key.go, rule by rule."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given
from registry.mvcc.mvcc_fakes import delete_op, is_missing, put_op, range_op, txn_op
from registry.mvcc.mvcc_oracle import in_range

from tianlu._proto.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from tianlu_registry.errors import (
    DuplicateKey,
    EmptyKey,
    InvalidSortOption,
    KeyNotFound,
    LeaseProvided,
    TooManyOperations,
    ValueProvided,
)
from tianlu_registry.mvcc import (
    check_delete_range,
    check_put,
    check_range,
    check_txn,
    is_read_only,
    is_serializable,
)
from tianlu_registry.mvcc.intervals import IntervalSet


def test_single_requests() -> None:
    with pytest.raises(EmptyKey):
        check_range(RangeRequest(range_end=b"z"))
    with pytest.raises(EmptyKey):
        check_put(PutRequest(value=b"z"))
    with pytest.raises(EmptyKey):
        check_delete_range(DeleteRangeRequest(range_end=b"z"))
    with pytest.raises(ValueProvided):
        check_put(PutRequest(key=b"a", value=b"z", ignore_value=True))
    with pytest.raises(LeaseProvided):
        check_put(PutRequest(key=b"a", lease=7, ignore_lease=True))
    check_put(PutRequest(key=b"a", value=b"z", ignore_lease=True))


@pytest.mark.parametrize("field", ["sort_order", "sort_target"])
def test_unknown_sort_options(field: str) -> None:
    request = RangeRequest.FromString(
        RangeRequest(key=b"a").SerializeToString()
        + bytes((5 << 3 if field == "sort_order" else 6 << 3, 9))
    )
    assert getattr(request, field) == 9
    with pytest.raises(InvalidSortOption):
        check_range(request)


@pytest.mark.parametrize(
    ("op", "error"),
    [
        (put_op(b""), EmptyKey),
        (delete_op(b""), EmptyKey),
        (range_op(b""), EmptyKey),
        (RequestOp(), KeyNotFound),
        (txn_op(TxnRequest(compare=[Compare()])), EmptyKey),
        (txn_op(TxnRequest(failure=[put_op(b"")])), EmptyKey),
    ],
)
@pytest.mark.parametrize("branch", ["success", "failure"])
def test_every_operation_of_both_branches_is_checked(
    branch: str, op: RequestOp, error: type[Exception]
) -> None:
    with pytest.raises(error):
        check_txn(TxnRequest(**{branch: [put_op(b"fine"), op]}))


def test_too_many_operations() -> None:
    """The limit is on the longest of compares and branches, and shrinks with nesting."""
    ops = [put_op(b"%d" % number) for number in range(5)]
    check_txn(TxnRequest(success=ops, failure=ops), ops_max=5)
    with pytest.raises(TooManyOperations):
        check_txn(TxnRequest(failure=ops), ops_max=4)
    with pytest.raises(TooManyOperations):
        check_txn(TxnRequest(compare=[is_missing(b"a")] * 5), ops_max=4)
    nested = TxnRequest(success=[txn_op(TxnRequest(success=ops))])
    check_txn(nested, ops_max=6)
    with pytest.raises(TooManyOperations):
        check_txn(nested, ops_max=5)


def nest(success: list[RequestOp] = (), failure: list[RequestOp] = ()) -> RequestOp:
    return txn_op(TxnRequest(success=success, failure=failure))


@pytest.mark.parametrize(
    "ops",
    [
        [put_op(b"a"), put_op(b"a")],
        [put_op(b"a"), delete_op(b"a")],
        [delete_op(b"a", b"c"), put_op(b"b")],
        [delete_op(b"a", b"\x00"), put_op(b"zz")],
        [put_op(b"a"), nest([put_op(b"a")])],
        [nest([put_op(b"a")]), nest(failure=[put_op(b"a")])],
        [delete_op(b"a", b"c"), nest(failure=[put_op(b"b")])],
        [put_op(b"b"), nest(failure=[delete_op(b"a", b"c")])],
        [nest([delete_op(b"a", b"c")]), nest([put_op(b"b")])],
        [nest([nest([put_op(b"a")])], [nest([put_op(b"a")])]), put_op(b"a")],
        [nest([put_op(b"a"), delete_op(b"a")])],
    ],
)
def test_a_key_may_not_be_written_twice(ops: list[RequestOp]) -> None:
    for branch in ("success", "failure"):
        with pytest.raises(DuplicateKey):
            check_txn(TxnRequest(**{branch: ops}))


@pytest.mark.parametrize(
    "ops",
    [
        [put_op(b"a"), delete_op(b"b"), range_op(b"a")],
        [delete_op(b"a", b"c"), delete_op(b"b"), put_op(b"c")],
        [delete_op(b"c", b"a"), put_op(b"b")],  # an empty range
        [nest([put_op(b"a")], [put_op(b"a")])],  # branches exclude each other
        [nest([put_op(b"a")], [delete_op(b"a")])],
        [nest([nest([put_op(b"a")])], [nest([put_op(b"a")])])],
    ],
)
def test_writes_that_do_not_overlap(ops: list[RequestOp]) -> None:
    check_txn(TxnRequest(success=ops, failure=ops))


def test_kinds_of_transactions() -> None:
    read = range_op(b"a")
    stale = RequestOp(request_range=RangeRequest(key=b"a", serializable=True))
    assert is_read_only(TxnRequest(success=[read], failure=[stale]))
    assert not is_read_only(TxnRequest(success=[read], failure=[put_op(b"a")]))
    assert not is_read_only(TxnRequest(success=[nest([read])]))  # as etcd counts it
    assert is_serializable(TxnRequest(success=[stale]))
    assert not is_serializable(TxnRequest(success=[stale], failure=[read]))


small_keys = st.binary(min_size=1, max_size=2).map(lambda raw: bytes(b % 4 for b in raw))


@given(st.lists(st.tuples(small_keys, st.one_of(st.just(b""), small_keys))), small_keys)
def test_interval_set(pairs: list[tuple[bytes, bytes]], key: bytes) -> None:
    intervals = IntervalSet()
    for pair in pairs:
        intervals.add(*pair)
    assert (key in intervals) == any(in_range(key, *pair) for pair in pairs)
