"""The requests of a store that are answered at once, made to an existing etcd cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from typing import Any, Final

from google.protobuf.message import Message

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    TxnRequest,
    TxnResponse,
)
from tianlu_registry.engine.etcd_calls import EtcdCalls
from tianlu_registry.engine.etcd_channels import EtcdMethod, Response
from tianlu_registry.engine.range_stream import pieces

_RANGE = EtcdMethod("KV/Range", RangeResponse)
_PUT = EtcdMethod("KV/Put", PutResponse)
_DELETE_RANGE = EtcdMethod("KV/DeleteRange", DeleteRangeResponse)
_TXN = EtcdMethod("KV/Txn", TxnResponse)
_COMPACT = EtcdMethod("KV/Compact", CompactionResponse)
_LEASE_GRANT = EtcdMethod("Lease/LeaseGrant", LeaseGrantResponse)
_LEASE_REVOKE = EtcdMethod("Lease/LeaseRevoke", LeaseRevokeResponse)
_LEASE_TIME_TO_LIVE = EtcdMethod("Lease/LeaseTimeToLive", LeaseTimeToLiveResponse)
_LEASE_LEASES = EtcdMethod("Lease/LeaseLeases", LeaseLeasesResponse)


class EtcdRequests(ABC):
    """Part of an `engine.store.Store`.

    Args:
        calls: the connections, and as whom they are used.
    """

    def __init__(self, calls: EtcdCalls) -> None:
        self.calls: Final = calls

    @abstractmethod
    def note(self, response: Any) -> None:  # noqa: ANN401 - every answer of etcd has a header
        """Keep the newest header seen. Answers of lagging members must not take us back."""

    @abstractmethod
    def note_compaction(self, revision: int) -> None:
        """Keep what was compacted last."""

    async def range(self, request: RangeRequest) -> RangeResponse:
        return await self.call(_RANGE, request)

    async def range_encoded(self, request: RangeRequest) -> bytes:
        return (await self.range(request)).SerializeToString()

    def range_stream(self, request: RangeRequest) -> AsyncGenerator[RangeResponse, None]:
        # Of ranges, because etcd has streams of its own since 3.7 only.
        return pieces(request, self.range)

    async def put(self, request: PutRequest) -> PutResponse:
        return await self.call(_PUT, request, writes=True)

    async def delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        return await self.call(_DELETE_RANGE, request, writes=True)

    async def txn(self, request: TxnRequest) -> TxnResponse:
        return await self.call(_TXN, request, writes=True)

    async def compact(self, request: CompactionRequest) -> CompactionResponse:
        response = await self.call(_COMPACT, request, writes=True)
        self.note_compaction(request.revision)
        return response

    async def lease_grant(self, request: LeaseGrantRequest) -> LeaseGrantResponse:
        return await self.call(_LEASE_GRANT, request, writes=True)

    async def lease_revoke(self, request: LeaseRevokeRequest) -> LeaseRevokeResponse:
        return await self.call(_LEASE_REVOKE, request, writes=True)

    async def lease_time_to_live(self, request: LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse:
        return await self.call(_LEASE_TIME_TO_LIVE, request)

    async def lease_leases(self) -> LeaseLeasesResponse:
        return await self.call(_LEASE_LEASES, LeaseLeasesRequest())

    async def call(
        self, method: EtcdMethod[Response], request: Message, *, writes: bool = False
    ) -> Response:
        """See `EtcdCalls.call`."""
        response = await self.calls.call(method, request, writes=writes)
        self.note(response)
        return response

    def stream(
        self, method: EtcdMethod[Response], request: Message
    ) -> AsyncGenerator[Response, None]:
        """See `EtcdCalls.stream`."""
        return self.calls.stream(method, request)
