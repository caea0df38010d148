"""Checks of requests that need no state. They run before a request is proposed.

What depends on state (does the lease exist, is the revision compacted) is checked when the
request is applied.

Source: etcd server/etcdserver/api/v3rpc/key.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tianlu._proto.etcd.rpc_pb2 import (
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
from tianlu_registry.mvcc.intervals import IntervalSet

TXN_OPS_MAX = 128


def check_range(request: RangeRequest) -> None:
    """Raises: EmptyKey, InvalidSortOption."""
    if not request.key:
        raise EmptyKey
    if not RangeRequest.NONE <= request.sort_order <= RangeRequest.DESCEND:
        raise InvalidSortOption
    if not RangeRequest.KEY <= request.sort_target <= RangeRequest.VALUE:
        raise InvalidSortOption


def check_put(request: PutRequest) -> None:
    """Raises: EmptyKey, ValueProvided, LeaseProvided."""
    if not request.key:
        raise EmptyKey
    if request.ignore_value and request.value:
        raise ValueProvided
    if request.ignore_lease and request.lease:
        raise LeaseProvided


def check_delete_range(request: DeleteRangeRequest) -> None:
    """Raises: EmptyKey."""
    if not request.key:
        raise EmptyKey


def check_txn(request: TxnRequest, ops_max: int = TXN_OPS_MAX) -> None:
    """Check a transaction with all its branches.

    Args:
        ops_max: limit on the longest of compares, success and failure; what the outer
            transaction uses is taken off the limit of those nested in it.

    Raises:
        TooManyOperations, EmptyKey, InvalidSortOption, ValueProvided, LeaseProvided: as for
        single requests. KeyNotFound: an operation is empty (etcd's answer to it).
        DuplicateKey: a branch could put a key twice, or put and delete it.
    """
    _check_ops(request, ops_max)
    # After the limit on operations, because this costs more than linear time.
    for branch in (request.success, request.failure):
        if len(branch) > 1 or (branch and branch[0].HasField("request_txn")):
            _written_by(branch)


def is_read_only(request: TxnRequest) -> bool:
    """Return whether both branches only read. Like etcd, a nested transaction counts as writing."""
    return all(op.HasField("request_range") for op in _both_branches(request))


def is_serializable(request: TxnRequest) -> bool:
    """Return whether both branches only read, and no read asks to be linearizable."""
    return all(
        op.HasField("request_range") and op.request_range.serializable
        for op in _both_branches(request)
    )


def _both_branches(request: TxnRequest) -> Iterable[RequestOp]:
    yield from request.success
    yield from request.failure


def _check_ops(request: TxnRequest, ops_max: int) -> None:
    used = max(len(request.compare), len(request.success), len(request.failure))
    if used > ops_max:
        raise TooManyOperations
    for compare in request.compare:
        if not compare.key:
            raise EmptyKey
    for branch in (request.success, request.failure):
        for op in branch:
            _check_op(op, ops_max - used)


def _check_op(op: RequestOp, ops_max: int) -> None:
    kind = op.WhichOneof("request")
    if kind == "request_range":
        check_range(op.request_range)
    elif kind == "request_put":
        check_put(op.request_put)
    elif kind == "request_delete_range":
        check_delete_range(op.request_delete_range)
    elif kind == "request_txn":
        _check_ops(op.request_txn, ops_max)
    else:
        raise KeyNotFound


class _Written(NamedTuple):
    puts: set[bytes]
    deletes: IntervalSet


def _written_by(ops: Sequence[RequestOp]) -> _Written:
    """Return what a branch may put and delete.

    The two branches of a nested transaction exclude each other, so both may put the same key.

    Raises:
        DuplicateKey: the branch may put a key twice, or put and delete it.
    """
    deletes = IntervalSet()
    for op in ops:
        if op.HasField("request_delete_range"):
            deletes.add(op.request_delete_range.key, op.request_delete_range.range_end)
    puts: set[bytes] = set()
    for op in ops:
        if op.HasField("request_txn"):
            _add_nested(op.request_txn, puts, deletes)
    for op in ops:
        if op.HasField("request_put"):
            _add_put(op.request_put.key, puts, deletes)
    return _Written(puts, deletes)


def _add_nested(request: TxnRequest, puts: set[bytes], deletes: IntervalSet) -> None:
    success = _written_by(request.success)
    failure = _written_by(request.failure)
    for key in success.puts:
        _add_put(key, puts, deletes)
    for key in failure.puts - success.puts:
        _add_put(key, puts, deletes)
    deletes.update(success.deletes)
    deletes.update(failure.deletes)


def _add_put(key: bytes, puts: set[bytes], deletes: IntervalSet) -> None:
    if key in puts or key in deletes:
        raise DuplicateKey
    puts.add(key)
