"""Applying single requests: first everything that can be refused, then the changes.

Each function comes in two halves so that a transaction can check all its operations before the
first change: `check_*_applies` reads only, `execute_*` cannot be refused. Source: etcd
server/etcdserver/txn/put.go, delete.go.
"""

from __future__ import annotations

from tianlu._proto.etcd.kv_pb2 import KeyValue
from tianlu._proto.etcd.rpc_pb2 import (
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
)
from tianlu_registry.errors import InvariantBroken, KeyNotFound, LeaseNotFound
from tianlu_registry.mvcc.key_index import KeyIndex
from tianlu_registry.mvcc.protocols import LeaseBook
from tianlu_registry.mvcc.range import Reader
from tianlu_registry.mvcc.write import Writer


def check_put_applies(request: PutRequest, index: KeyIndex, leases: LeaseBook) -> None:
    """Raises:
    LeaseNotFound: the lease named does not exist.
    KeyNotFound: the value or lease of a key that has none shall be kept.
    """
    lease = request.lease
    if lease and not leases.has(lease):
        raise LeaseNotFound
    if (request.ignore_value or request.ignore_lease) and not index.latest(request.key):
        raise KeyNotFound


def execute_put(request: PutRequest, into: PutResponse, reader: Reader, writer: Writer) -> None:
    """Put, and fill an empty answer."""
    key, value, lease = request.key, request.value, request.lease
    if request.prev_kv or request.ignore_value or request.ignore_lease:
        record = reader.record(key)
        if record is not None:
            previous = KeyValue.FromString(record)
            if request.ignore_value:
                value = previous.value
            if request.ignore_lease:
                lease = previous.lease
            if request.prev_kv:
                into.prev_kv.CopyFrom(previous)
        elif request.ignore_value or request.ignore_lease:
            raise InvariantBroken("a key whose value or lease shall be kept has vanished")
    writer.put(key, value, lease)
    into.header.revision = writer.main


def execute_delete_range(
    request: DeleteRangeRequest,
    into: DeleteRangeResponse,
    index: KeyIndex,
    reader: Reader,
    writer: Writer,
) -> None:
    """Delete the keys of a range that have values, and fill an empty answer."""
    key, range_end = request.key, request.range_end
    if request.prev_kv:
        into.prev_kvs.extend(reader.key_values(key, range_end))
    keys = index.live_keys(key, range_end)
    writer.delete_run(keys)
    into.deleted = len(keys)
    into.header.revision = writer.revision
