"""Transactions: compare, choose branches, check, execute.

The whole path through nested transactions is chosen against the state before the transaction, as
etcd does; then every operation on the path is checked; only then anything is changed. So a
refused transaction changes nothing, on every node alike.

Source: etcd server/etcdserver/txn/txn.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from tianlu._proto.etcd.kv_pb2 import KeyValue
from tianlu._proto.etcd.rpc_pb2 import Compare, RangeRequest, TxnRequest, TxnResponse
from tianlu_registry.errors import Compacted, FutureRevision
from tianlu_registry.mvcc.apply import check_put_applies, execute_delete_range, execute_put
from tianlu_registry.mvcc.key_index import KeyIndex
from tianlu_registry.mvcc.protocols import LeaseBook
from tianlu_registry.mvcc.range import Reader
from tianlu_registry.mvcc.write import Writer

_NO_KEY_VALUE = KeyValue()

Operation: TypeAlias = Any  # the message of the field that the name beside it names


class Path(NamedTuple):
    """The branch that a transaction takes, and those of the transactions nested in it.

    Attributes:
        succeeded: whether all compares held. steps: the branch's operations, each with the name
        of its field in `RequestOp` (None: empty). nested: the paths of the nested transactions
        among them, in order.
    """

    succeeded: bool
    steps: list[tuple[str | None, Operation]]
    nested: list[Path]


def choose_path(request: TxnRequest, reader: Reader) -> Path:
    """Evaluate the compares of a transaction, and of the nested ones on its way."""
    succeeded = True
    for compare in request.compare:
        if not _holds(compare, reader):
            succeeded = False
            break
    steps: list[tuple[str | None, Operation]] = []
    nested: list[Path] = []
    for op in request.success if succeeded else request.failure:
        kind = op.WhichOneof("request")
        if kind is None:
            steps.append((None, op))
            continue
        operation = getattr(op, kind)
        steps.append((kind, operation))
        if kind == "request_txn":
            nested.append(choose_path(operation, reader))
    return Path(succeeded, steps, nested)


def check_path(
    path: Path, index: KeyIndex, leases: LeaseBook, revision: int, compact_revision: int
) -> None:
    """Check every operation that would be executed.

    Raises:
        LeaseNotFound, KeyNotFound: a put cannot be.
        FutureRevision, Compacted: a read is out of reach.
    """
    nested = iter(path.nested)
    for kind, operation in path.steps:
        if kind == "request_put":
            check_put_applies(operation, index, leases)
        elif kind == "request_range":
            _check_reach(operation, revision, compact_revision)
        elif kind == "request_txn":
            check_path(next(nested), index, leases, revision, compact_revision)


def _check_reach(request: RangeRequest, revision: int, compact_revision: int) -> None:
    if request.revision > revision:
        raise FutureRevision
    if request.revision and request.revision < compact_revision:
        raise Compacted(compact_revision=compact_revision)


@dataclass(frozen=True, slots=True)
class Executor:
    """What the operations of a transaction work on."""

    index: KeyIndex
    reader: Reader
    writer: Writer
    compact_revision: int

    def execute(self, path: Path, into: TxnResponse) -> None:
        """Execute a checked path and fill an empty answer, apart from its own header's revision."""
        into.succeeded = path.succeeded
        nested = iter(path.nested)
        for kind, operation in path.steps:
            answer = into.responses.add()
            if kind == "request_put":
                execute_put(operation, answer.response_put, self.reader, self.writer)
            elif kind == "request_range":
                self.reader.answer(
                    operation,
                    answer.response_range,
                    self.writer.revision,
                    self.compact_revision,
                )
            elif kind == "request_delete_range":
                execute_delete_range(
                    operation,
                    answer.response_delete_range,
                    self.index,
                    self.reader,
                    self.writer,
                )
            elif kind == "request_txn":
                # etcd gives a nested answer a header, and leaves it empty.
                answer.response_txn.header.SetInParent()
                self.execute(next(nested), answer.response_txn)


def _holds(compare: Compare, reader: Reader) -> bool:
    """Return whether a compare holds, for a range: for every key in it.

    A missing key (an empty range) has no value to compare; its numbers count as 0.
    """
    kvs = reader.key_values(compare.key, compare.range_end)
    if not kvs:
        if compare.target == Compare.VALUE:
            return False
        return _compare_one(compare, _NO_KEY_VALUE)
    return all(_compare_one(compare, kv) for kv in kvs)


def _compare_one(compare: Compare, kv: KeyValue) -> bool:
    order = _order(compare, kv)
    result = compare.result
    if result == Compare.EQUAL:
        return order == 0
    if result == Compare.NOT_EQUAL:
        return order != 0
    if result == Compare.GREATER:
        return order > 0
    if result == Compare.LESS:
        return order < 0
    return True  # etcd lets an unknown result hold


def _order(compare: Compare, kv: KeyValue) -> int:
    """Return whether the key's side is below (-1), at (0) or above (1) the request's.

    The request's side is 0 or empty when the field given is not the one that the target names.
    An unknown target compares equal. Both as etcd does.
    """
    target = compare.target
    if target == Compare.VALUE:
        return (kv.value > compare.value) - (kv.value < compare.value)
    actual, wanted = 0, 0
    if target == Compare.VERSION:
        actual, wanted = kv.version, compare.version
    elif target == Compare.CREATE:
        actual, wanted = kv.create_revision, compare.create_revision
    elif target == Compare.MOD:
        actual, wanted = kv.mod_revision, compare.mod_revision
    elif target == Compare.LEASE:
        actual, wanted = kv.lease, compare.lease
    return (actual > wanted) - (actual < wanted)
