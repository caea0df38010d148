"""v3electionpb.Election: elections among those who hold leases.

Source: etcd server/etcdserver/api/v3election/election.go, client/v3/concurrency/election.go.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from tianlu._proto.etcd.kv_pb2 import Event, KeyValue
from tianlu._proto.etcd.rpc_pb2 import PutRequest, RequestOp, ResponseHeader, TxnRequest
from tianlu._proto.etcd.v3election_pb2 import (
    CampaignRequest,
    CampaignResponse,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    ProclaimRequest,
    ProclaimResponse,
    ResignRequest,
    ResignResponse,
)
from tianlu_registry.api.etcd_queue import (
    KeyQueue,
    created_at,
    delete,
    errors_of_recipes,
    first_created,
    prefix_end,
    watching,
)
from tianlu_registry.api.grpc_asgi import RpcContext, RpcError, StatusCode
from tianlu_registry.engine.store import Store
from tianlu_registry.mvcc.types import WatchSpec

_NOT_LEADER = "election: not leader"
_NO_LEADER = "election: no leader"
_LEADER_MISSING = '"leader" field must be provided'


class ElectionServicer:
    """Elections over a store. See `etcd_queue` for how they work."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue = KeyQueue(store)

    async def Campaign(self, request: CampaignRequest, context: RpcContext) -> CampaignResponse:  # noqa: N802
        """Wait to be elected. A call that ends before gives its candidacy up; a lease that stands
        already proclaims the new value and waits on in its place."""
        with errors_of_recipes():
            place = await self._queue.enter(request.name, request.lease, request.value)
            async with self._queue.leaving_on_failure(place):
                leader = LeaderKey(
                    name=request.name, key=place.key, rev=place.revision, lease=place.lease
                )
                if place.value != request.value:
                    await self._proclaim(leader, place.lease, request.value)
                if not place.first:
                    await self._queue.wait_turn(place)
            return CampaignResponse(header=place.header, leader=leader)

    async def Proclaim(self, request: ProclaimRequest, context: RpcContext) -> ProclaimResponse:  # noqa: N802
        """Change the value that the elected one announces.

        Raises:
            RpcError: UNKNOWN, that leader leads no more.
        """
        if not request.HasField("leader"):
            raise RpcError(StatusCode.UNKNOWN, _LEADER_MISSING)
        with errors_of_recipes():
            lease = await self._queue.lease_for(request.leader.lease)
            return ProclaimResponse(
                header=await self._proclaim(request.leader, lease, request.value)
            )

    async def Leader(self, request: LeaderRequest, context: RpcContext) -> LeaderResponse:  # noqa: N802
        """Return who leads, and what it proclaims.

        Raises:
            RpcError: UNKNOWN, nobody does.
        """
        with errors_of_recipes():
            found = await self._store.range(first_created(request.name + b"/"))
            if not found.kvs:
                raise RpcError(StatusCode.UNKNOWN, _NO_LEADER)
            return LeaderResponse(header=found.header, kv=found.kvs[0])

    async def Observe(  # noqa: N802
        self, request: LeaderRequest, context: RpcContext
    ) -> AsyncGenerator[LeaderResponse, None]:
        """Tell every leader from now on, and each value that it proclaims; of leaders that follow
        one another quickly, perhaps only the last."""
        prefix = request.name + b"/"
        with errors_of_recipes():
            while True:
                header, leader = await self._next_leader(prefix)
                yield LeaderResponse(header=header, kv=leader)
                async with aclosing(self._reign(leader.key, header.revision + 1)) as proclaimed:
                    async for response in proclaimed:
                        yield response

    async def Resign(self, request: ResignRequest, context: RpcContext) -> ResignResponse:  # noqa: N802
        """Step down. Who leads no more has nothing to step down from, and is told nothing."""
        if not request.HasField("leader"):
            raise RpcError(StatusCode.UNKNOWN, _LEADER_MISSING)
        leader = request.leader
        with errors_of_recipes():
            done = await self._store.txn(
                TxnRequest(
                    compare=[created_at(leader.key, leader.rev)], success=[delete(leader.key)]
                )
            )
            return ResignResponse(header=done.header)

    async def _proclaim(self, leader: LeaderKey, lease: int, value: bytes) -> ResponseHeader:
        put = PutRequest(key=leader.key, value=value, lease=lease)
        done = await self._store.txn(
            TxnRequest(
                compare=[created_at(leader.key, leader.rev)],
                success=[RequestOp(request_put=put)],
            )
        )
        if not done.succeeded:
            raise RpcError(StatusCode.UNKNOWN, _NOT_LEADER)
        return done.header

    async def _next_leader(self, prefix: bytes) -> tuple[ResponseHeader, KeyValue]:
        """Return who leads, waiting while nobody does."""
        found = await self._store.range(first_created(prefix))
        if found.kvs:
            return found.header, found.kvs[0]
        spec = WatchSpec(
            key=prefix, range_end=prefix_end(prefix), start_revision=found.header.revision
        )
        async with watching(self._store, spec) as events:
            async for event, _ in events:
                if event.type == Event.PUT:
                    header = self._store.header()
                    header.revision = event.kv.mod_revision
                    return header, event.kv
        raise RpcError(StatusCode.UNKNOWN, _NO_LEADER)  # pragma: no cover - a watch never just ends

    async def _reign(self, key: bytes, revision: int) -> AsyncGenerator[LeaderResponse, None]:
        """Yield what is proclaimed at `key` from `revision` on, until the key is gone."""
        spec = WatchSpec(key=key, start_revision=revision)
        async with watching(self._store, spec) as events:
            async for event, reached in events:
                if event.type == Event.DELETE:
                    return
                header = self._store.header()
                header.revision = reached
                yield LeaderResponse(header=header, kv=event.kv)
