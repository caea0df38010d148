"""etcdserverpb.Lease."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tianlu._proto.etcd.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
)
from tianlu_registry.api.grpc_asgi import RpcContext
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import LeaseNotFound

_TTL_OF_NO_LEASE = -1
"""What LeaseTimeToLive says of a lease that is not there. Source: etcd v3rpc/lease.go."""


class LeaseServicer:
    """Passes requests to the store, and says of missing leases what etcd says."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def LeaseGrant(  # noqa: N802
        self, request: LeaseGrantRequest, context: RpcContext
    ) -> LeaseGrantResponse:
        return await self._store.lease_grant(request)

    async def LeaseRevoke(  # noqa: N802
        self, request: LeaseRevokeRequest, context: RpcContext
    ) -> LeaseRevokeResponse:
        return await self._store.lease_revoke(request)

    async def LeaseKeepAlive(  # noqa: N802
        self, requests: AsyncIterator[LeaseKeepAliveRequest], context: RpcContext
    ) -> AsyncIterator[LeaseKeepAliveResponse]:
        """Answer each renewal; a missing lease has TTL 0 and does not end the stream."""
        async for request in requests:
            yield await self._renew(request.ID)

    async def _renew(self, lease_id: int) -> LeaseKeepAliveResponse:
        # The header is older than the renewal, never newer: a client must not believe that a
        # lease lived at a revision at which it had already been revoked.
        header = self._store.header()
        try:
            return await self._store.lease_keep_alive(lease_id)
        except LeaseNotFound:
            return LeaseKeepAliveResponse(header=header, ID=lease_id, TTL=0)

    async def LeaseTimeToLive(  # noqa: N802
        self, request: LeaseTimeToLiveRequest, context: RpcContext
    ) -> LeaseTimeToLiveResponse:
        try:
            return await self._store.lease_time_to_live(request)
        except LeaseNotFound:
            return LeaseTimeToLiveResponse(
                header=self._store.header(), ID=request.ID, TTL=_TTL_OF_NO_LEASE
            )

    async def LeaseLeases(  # noqa: N802
        self, request: LeaseLeasesRequest, context: RpcContext
    ) -> LeaseLeasesResponse:
        return await self._store.lease_leases()
