"""etcdserverpb.Lease."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

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
from tianlu_registry.api.grpc_asgi import RequestBatches, RpcContext
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import LeaseNotFound, RegistryError

RENEWALS_AT_ONCE_MAX: Final = 256
"""Renewals of one stream that are under way at once; the others wait in the connection."""

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
        self, requests: RequestBatches[LeaseKeepAliveRequest], context: RpcContext
    ) -> AsyncIterator[list[LeaseKeepAliveResponse]]:
        """Answer each renewal, in order; a missing lease has TTL 0 and does not end the stream.

        Clients renew many leases at once: what has arrived together is renewed together and
        answered in one piece, or most of the cost would be to hand single messages over.
        """
        while batch := await requests.batch(RENEWALS_AT_ONCE_MAX):
            answers, error = await self._renew_all([request.ID for request in batch])
            if answers:
                yield answers
            if error is not None:
                raise error

    async def _renew_all(
        self, lease_ids: Sequence[int]
    ) -> tuple[list[LeaseKeepAliveResponse], BaseException | None]:
        """Return the answers up to the first renewal that failed, and why it did."""
        with contextlib.suppress(RegistryError):
            return await self._store.lease_keep_alives(lease_ids), None
        renewals = (self._renew(lease_id) for lease_id in lease_ids)
        answers: list[LeaseKeepAliveResponse] = []
        for answer in await asyncio.gather(*renewals, return_exceptions=True):
            if isinstance(answer, BaseException):
                return answers, answer
            answers.append(answer)
        return answers, None

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
