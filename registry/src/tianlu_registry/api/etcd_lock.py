"""v3lockpb.Lock: locks that are held by a lease.

Source: etcd server/etcdserver/api/v3lock/lock.go, client/v3/concurrency/mutex.go.
"""

from __future__ import annotations

from tianlu._proto.etcd.rpc_pb2 import DeleteRangeRequest, RangeRequest
from tianlu._proto.etcd.v3lock_pb2 import LockRequest, LockResponse, UnlockRequest, UnlockResponse
from tianlu_registry.api.etcd_queue import KeyQueue, errors_of_recipes
from tianlu_registry.api.grpc_asgi import RpcContext, RpcError, StatusCode
from tianlu_registry.engine.store import Store

_SESSION_EXPIRED = "mutex: session is expired"


class LockServicer:
    """Locks over a store. See `etcd_queue` for how they work."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue = KeyQueue(store)

    async def Lock(self, request: LockRequest, context: RpcContext) -> LockResponse:  # noqa: N802
        """Wait for the lock; the answer's key proves it for as long as it exists.

        A call that ends before (cancelled, past its deadline) gives its place up. A lease that
        holds the lock already gets the same key again.
        """
        with errors_of_recipes():
            place = await self._queue.enter(request.name, request.lease, b"")
            header = place.header
            if not place.first:
                async with self._queue.leaving_on_failure(place):
                    await self._queue.wait_turn(place)
                    held = await self._store.range(RangeRequest(key=place.key))
                if not held.kvs:
                    raise RpcError(StatusCode.UNKNOWN, _SESSION_EXPIRED)
                header = held.header
            return LockResponse(header=header, key=place.key)

    async def Unlock(self, request: UnlockRequest, context: RpcContext) -> UnlockResponse:  # noqa: N802
        """Delete the lock's key; one that is gone already is no error."""
        with errors_of_recipes():
            deleted = await self._store.delete_range(DeleteRangeRequest(key=request.key))
            return UnlockResponse(header=deleted.header)
