"""The seam between the replicated store and what stands on it: the catalogue and the APIs.

The vocabulary is etcd's v3 data model, in etcd's own messages, so that an existing etcd cluster
can stand in for our own node (`engine.etcd`) and nothing is converted on the hot path of our own
(`engine.embedded`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tianlu._proto.etcd.rpc_pb2 import (
    AlarmMember,
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    ResponseHeader,
    TxnRequest,
    TxnResponse,
)
from tianlu_registry.mvcc.types import Watcher, WatchSink, WatchSpec


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What a node says of itself. Sizes in bytes."""

    member_id: int
    leader_id: int  # 0: none known
    raft_term: int
    raft_index: int  # newest index known committed
    raft_applied_index: int
    revision: int
    compact_revision: int
    db_size: int
    db_size_in_use: int
    db_size_quota: int
    is_learner: bool
    errors: tuple[str, ...]  # what is wrong, in words
    alarms: tuple[AlarmMember, ...] = ()  # raised anywhere in the cluster


class Store(Protocol):
    """A replicated, revisioned key-value store with leases and watches.

    Ownership: a request belongs to the store from the call on and must not be changed; an answer
    belongs to the caller. Threading: every call and callback happens on the one event loop that
    runs the store. Blocking: the coroutines wait for consensus and disk, the plain methods never.

    A cancelled write may still be applied. Requests are checked by the store (sizes, sort
    options, duplicate keys): callers pass them as they came.

    Raises (all calls): errors of `tianlu_registry.errors`; a writing call raises `RequestTimeout`
    when its outcome is unknown, `NoSpace` when writes are refused, `TooManyRequests` at the
    maximum of the proposal backlog.
    """

    def header(self) -> ResponseHeader:
        """Return a new response header at the store's present revision."""
        ...

    async def range(self, request: RangeRequest) -> RangeResponse:
        """Read keys; linearizable unless `serializable` is set."""
        ...

    async def range_encoded(self, request: RangeRequest) -> bytes:
        """Like `range`, for who only passes the answer on: the RangeResponse, encoded."""
        ...

    def range_stream(self, request: RangeRequest) -> AsyncGenerator[RangeResponse, None]:
        """Read keys in pieces of about 1 MiB: see `engine.range_stream.pieces`.

        Args:
            request: without a custom order and without filters of revisions.
        """
        ...

    async def put(self, request: PutRequest) -> PutResponse: ...

    async def delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse: ...

    async def txn(self, request: TxnRequest) -> TxnResponse: ...

    async def compact(self, request: CompactionRequest) -> CompactionResponse: ...

    def watch(self, spec: WatchSpec, sink: WatchSink) -> Watcher:
        """Start a watch. The sink may be called before this returns.

        Raises:
            Compacted: `start_revision` is older than the history kept.
        """
        ...

    async def lease_grant(self, request: LeaseGrantRequest) -> LeaseGrantResponse: ...

    async def lease_revoke(self, request: LeaseRevokeRequest) -> LeaseRevokeResponse: ...

    async def lease_keep_alive(self, lease_id: int) -> LeaseKeepAliveResponse:
        """Renew; an answer with TTL 0 means that the lease is not there (etcd's way of saying
        so)."""
        ...

    async def lease_keep_alives(self, lease_ids: Sequence[int]) -> list[LeaseKeepAliveResponse]:
        """Renew several at little more than the cost of one; the answers are in their order.

        If one fails, this does, and of the others some may have been renewed.
        """
        ...

    async def lease_time_to_live(
        self, request: LeaseTimeToLiveRequest
    ) -> LeaseTimeToLiveResponse: ...

    async def lease_leases(self) -> LeaseLeasesResponse: ...

    def status(self) -> StoreStatus: ...
