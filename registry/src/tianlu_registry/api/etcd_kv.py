"""etcdserverpb.KV: the store's operations, as they are."""

from __future__ import annotations

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    TxnRequest,
    TxnResponse,
)
from tianlu_registry.api.grpc_asgi import RpcContext
from tianlu_registry.engine.store import Store


class KvServicer:
    """Passes requests to the store, which checks them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def Range(self, request: RangeRequest, context: RpcContext) -> RangeResponse:  # noqa: N802
        return await self._store.range(request)

    async def Put(self, request: PutRequest, context: RpcContext) -> PutResponse:  # noqa: N802
        return await self._store.put(request)

    async def DeleteRange(  # noqa: N802
        self, request: DeleteRangeRequest, context: RpcContext
    ) -> DeleteRangeResponse:
        return await self._store.delete_range(request)

    async def Txn(self, request: TxnRequest, context: RpcContext) -> TxnResponse:  # noqa: N802
        return await self._store.txn(request)

    async def Compact(  # noqa: N802
        self, request: CompactionRequest, context: RpcContext
    ) -> CompactionResponse:
        return await self._store.compact(request)
