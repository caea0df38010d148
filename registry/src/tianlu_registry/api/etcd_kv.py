"""etcdserverpb.KV: the store's operations, as they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeStreamResponse,
    TxnRequest,
    TxnResponse,
)
from tianlu_registry.api.grpc_asgi import RpcContext, RpcError, StatusCode
from tianlu_registry.api.grpc_asgi.encoded import EncodedMessage
from tianlu_registry.engine.store import Store
from tianlu_registry.mvcc import check_range, has_revision_filters


class KvServicer:
    """Passes requests to the store, which checks them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def Range(self, request: RangeRequest, context: RpcContext) -> EncodedMessage:  # noqa: N802
        return EncodedMessage(await self._store.range_encoded(request))

    async def RangeStream(  # noqa: N802
        self, request: RangeRequest, context: RpcContext
    ) -> AsyncGenerator[RangeStreamResponse, None]:
        """Answer a range in pieces. A caller that is slow holds back only its own.

        Source: etcd server/etcdserver/api/v3rpc/key.go, `checkRangeStreamRequest`.
        """
        check_range(request)
        if request.sort_target != RangeRequest.KEY or request.sort_order == RangeRequest.DESCEND:
            raise _unsupported("custom sort orders")
        if has_revision_filters(request):
            raise _unsupported("revision filters")
        request.sort_order = RangeRequest.NONE  # which is the same
        async with aclosing(self._store.range_stream(request)) as pieces:
            async for piece in pieces:
                yield RangeStreamResponse(range_response=piece)

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


def _unsupported(what: str) -> RpcError:
    return RpcError(StatusCode.UNIMPLEMENTED, f"RangeStream does not support {what}")
