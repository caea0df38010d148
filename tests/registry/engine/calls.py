"""Short forms of requests, and a sink that remembers, for tests of any `Store`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tianlu._proto.etcd.kv_pb2 import Event, KeyValue
from tianlu._proto.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from tianlu_registry.engine.store import Store
from tianlu_registry.mvcc.types import WatchBatch


def end_of(prefix: bytes) -> bytes:
    """Return the first key after all that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


async def put(store: Store, key: bytes, value: bytes = b"", **fields: Any) -> PutResponse:
    return await store.put(PutRequest(key=key, value=value, **fields))


async def get(store: Store, key: bytes, range_end: bytes = b"", **fields: Any) -> RangeResponse:
    return await store.range(RangeRequest(key=key, range_end=range_end, **fields))


async def delete(
    store: Store, key: bytes, range_end: bytes = b"", **fields: Any
) -> DeleteRangeResponse:
    return await store.delete_range(DeleteRangeRequest(key=key, range_end=range_end, **fields))


async def txn(
    store: Store,
    compare: list[Compare] | None = None,
    success: list[RequestOp] | None = None,
    failure: list[RequestOp] | None = None,
) -> TxnResponse:
    return await store.txn(TxnRequest(compare=compare, success=success, failure=failure))


def op_put(key: bytes, value: bytes = b"", **fields: Any) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=value, **fields))


def op_get(key: bytes, range_end: bytes = b"", **fields: Any) -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key, range_end=range_end, **fields))


def op_delete(key: bytes, range_end: bytes = b"", **fields: Any) -> RequestOp:
    return RequestOp(
        request_delete_range=DeleteRangeRequest(key=key, range_end=range_end, **fields)
    )


def op_txn(
    compare: list[Compare] | None = None,
    success: list[RequestOp] | None = None,
    failure: list[RequestOp] | None = None,
) -> RequestOp:
    return RequestOp(request_txn=TxnRequest(compare=compare, success=success, failure=failure))


async def one(store: Store, key: bytes, **fields: Any) -> KeyValue:
    """Return the one key-value there must be."""
    (kv,) = (await get(store, key, **fields)).kvs
    return kv


def keys(response: RangeResponse) -> list[bytes]:
    return [kv.key for kv in response.kvs]


async def revision_of(store: Store) -> int:
    """Return the store's present revision, as a linearizable read tells it."""
    return (await get(store, b"\x00no such key")).header.revision


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


class Sink:
    """Takes batches while it has room for them."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.refused = 0
        self.batches: list[WatchBatch] = []
        self.error: Exception | None = None

    def deliver(self, batch: WatchBatch) -> bool:
        if len(self.batches) >= self.room:
            self.refused += 1
            return False
        self.batches.append(batch)
        return True

    def ended(self, error: Exception) -> None:
        self.error = error

    @property
    def events(self) -> list[Event]:
        return [event for batch in self.batches for event in batch.events]

    @property
    def values(self) -> list[bytes]:
        return [event.kv.value for event in self.events]

    async def take(self, count: int) -> list[Event]:
        """Wait for `count` events in all, and return them."""
        await until(lambda: len(self.events) >= count)
        return self.events
