"""A backend in a dictionary, and shorthands for requests."""

from __future__ import annotations

from collections.abc import Iterator

from tianlu._proto.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from tianlu_registry.lease import Lessor
from tianlu_registry.mvcc import MvccStore


class MemoryBackend:
    """Implements `RevisionBackend` and `LeaseBackend` without a disk."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.lease_records: dict[int, bytes] = {}
        self.meta: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.records.get(key)

    def get_many(self, keys: list[bytes]) -> list[bytes]:
        return [self.records[key] for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        self.records[key] = value

    def put_many(self, keys: list[bytes], values: list[bytes]) -> None:
        self.records.update(zip(keys, values, strict=True))

    def delete(self, key: bytes) -> None:
        self.records.pop(key, None)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(self.records):
            if start <= key < end:
                yield key, self.records[key]

    def get_meta(self, name: bytes) -> bytes | None:
        return self.meta.get(name)

    def put_meta(self, name: bytes, value: bytes) -> None:
        self.meta[name] = value

    def leases(self) -> Iterator[tuple[int, bytes]]:
        yield from self.lease_records.items()

    def put_lease(self, lease_id: int, record: bytes) -> None:
        self.lease_records[lease_id] = record

    def delete_lease(self, lease_id: int) -> None:
        self.lease_records.pop(lease_id, None)


class StoreFixture:
    """A store with its parts, and requests in one line."""

    def __init__(self, backend: MemoryBackend | None = None) -> None:
        self.backend = backend or MemoryBackend()
        self.lessor = Lessor(self.backend)
        self.store = MvccStore(self.backend, self.lessor)

    def restarted(self) -> StoreFixture:
        """Return a new store over the same data."""
        return StoreFixture(self.backend)

    def put(self, key: bytes, value: bytes = b"", lease: int = 0) -> int:
        self.store.put(PutRequest(key=key, value=value, lease=lease))
        return self.store.revision

    def delete(self, key: bytes, range_end: bytes = b"") -> int:
        response, _ = self.store.delete_range(DeleteRangeRequest(key=key, range_end=range_end))
        return response.deleted

    def keys(
        self, key: bytes = b"\x00", range_end: bytes = b"\x00", revision: int = 0
    ) -> list[bytes]:
        request = RangeRequest(key=key, range_end=range_end, revision=revision)
        return [kv.key for kv in self.store.range(request).kvs]

    def value(self, key: bytes, revision: int = 0) -> bytes | None:
        kvs = self.store.range(RangeRequest(key=key, revision=revision)).kvs
        return kvs[0].value if kvs else None

    def compact_all(self, revision: int) -> None:
        self.store.compact(revision)
        while not self.store.compaction_step(1):
            pass


def put_op(key: bytes, value: bytes = b"", lease: int = 0) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=value, lease=lease))


def delete_op(key: bytes, range_end: bytes = b"") -> RequestOp:
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key, range_end=range_end))


def range_op(key: bytes, range_end: bytes = b"", revision: int = 0) -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key, range_end=range_end, revision=revision))


def txn_op(request: TxnRequest) -> RequestOp:
    return RequestOp(request_txn=request)


def exists(key: bytes) -> Compare:
    return Compare(key=key, target=Compare.CREATE, result=Compare.GREATER, create_revision=0)


def is_missing(key: bytes) -> Compare:
    return Compare(key=key, target=Compare.CREATE, result=Compare.EQUAL, create_revision=0)
