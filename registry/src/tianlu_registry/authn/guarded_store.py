"""The store as callers from outside get it: every operation asks first.

Servicers know nothing of users: they are given this store and have no other, so none of them can
forget to ask. While authentication is off, what this costs is one look at a flag.

Source: etcd server/etcdserver/v3_server.go, server/etcdserver/apply/auth.go, v3rpc/watch.go.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from tianlu._proto.etcd.rpc_pb2 import (
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
from tianlu_registry.auth import Claim
from tianlu_registry.auth.permissions import Access
from tianlu_registry.authn.guard import NOBODY, Check, Guard
from tianlu_registry.engine.auth import AuthEngine
from tianlu_registry.engine.store import Store, StoreStatus
from tianlu_registry.errors import PermissionDenied
from tianlu_registry.mvcc import is_read_only
from tianlu_registry.mvcc.types import Watcher, WatchSink, WatchSpec

ResponseT = TypeVar("ResponseT")


class GuardedStore:
    """Implements `engine.store.Store` for callers.

    Args:
        store: what is guarded.
        engine: its users and roles.
        guard: finds out who calls.
    """

    def __init__(self, store: Store, engine: AuthEngine, guard: Guard) -> None:
        self._store = store
        self._engine = engine
        self._guard = guard
        self._checker = guard.checker
        self._watches: set[_GuardedWatcher] = set()

    def header(self) -> ResponseHeader:
        return self._store.header()

    # Keys

    async def range(self, request: RangeRequest) -> RangeResponse:
        if not self._guard.enabled:
            return self._still_off(await self._store.range(request))
        claim = await self._guard.require(partial(self._checker.range, request=request))
        response = await self._store.range(request)
        self._guard.still_holds(claim)
        return response

    async def range_encoded(self, request: RangeRequest) -> bytes:
        if not self._guard.enabled:
            return self._still_off(await self._store.range_encoded(request))
        claim = await self._guard.require(partial(self._checker.range, request=request))
        encoded = await self._store.range_encoded(request)
        self._guard.still_holds(claim)
        return encoded

    async def range_stream(self, request: RangeRequest) -> AsyncGenerator[RangeResponse, None]:
        claim = NOBODY
        if self._guard.enabled:
            claim = await self._guard.require(partial(self._checker.range, request=request))
        async with aclosing(self._store.range_stream(request)) as found:
            async for piece in found:
                self._guard.still_holds(claim)
                yield piece

    async def put(self, request: PutRequest) -> PutResponse:
        if not self._guard.enabled:
            return await self._store.put(request)
        store = await self._claiming(partial(self._checker.put, request=request))
        return await store.put(request)

    async def delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        if not self._guard.enabled:
            return await self._store.delete_range(request)
        store = await self._claiming(partial(self._checker.delete_range, request=request))
        return await store.delete_range(request)

    async def txn(self, request: TxnRequest) -> TxnResponse:
        if not self._guard.enabled:
            answer = await self._store.txn(request)
            return self._still_off(answer) if is_read_only(request) else answer
        claim = await self._guard.require(partial(self._checker.txn, request=request))
        if not is_read_only(request):
            return await self._engine.claiming(claim).txn(request)
        response = await self._store.txn(request)
        self._guard.still_holds(claim)
        return response

    async def compact(self, request: CompactionRequest) -> CompactionResponse:
        if not self._guard.enabled:
            return await self._store.compact(request)
        return await (await self._claiming(self._checker.anybody)).compact(request)

    # Watches

    async def check_watch(self, spec: WatchSpec) -> None:
        """Check that the caller may watch; to be asked before `watch`, which can only look at the
        state at hand.

        Raises:
            InputError: he may not.
        """
        if self._guard.enabled:
            await self._guard.require(partial(self._check_watch, spec))

    def watch(self, spec: WatchSpec, sink: WatchSink) -> Watcher:
        user = ""
        if self._guard.enabled:
            user = self._guard.require_now(partial(self._check_watch, spec)).user
        watcher = _GuardedWatcher(self, user, spec, sink)
        watcher.start(self._store)
        self._watches.add(watcher)
        return watcher

    def forget(self, watcher: _GuardedWatcher) -> None:
        """A watch has ended."""
        self._watches.discard(watcher)

    def recheck(self) -> None:
        """End the watches of those who may no longer watch, because users or roles have changed.

        What began while authentication was off goes on, as in etcd.
        """
        if self._guard.enabled:
            for watcher in [each for each in self._watches if each.user]:
                if not self._may_read(watcher.user, watcher.spec):
                    watcher.deny()

    def _may_read(self, user: str, spec: WatchSpec) -> bool:
        return self._engine.auth.permit(user, spec.key, spec.range_end, Access.READ)

    def _check_watch(self, spec: WatchSpec, claim: Claim) -> None:
        self._checker.keys(claim, spec.key, spec.range_end, Access.READ)

    # Leases

    async def lease_grant(self, request: LeaseGrantRequest) -> LeaseGrantResponse:
        if not self._guard.enabled:
            return await self._store.lease_grant(request)
        return await (await self._claiming(self._checker.anybody)).lease_grant(request)

    async def lease_revoke(self, request: LeaseRevokeRequest) -> LeaseRevokeResponse:
        if not self._guard.enabled:
            return await self._store.lease_revoke(request)
        store = await self._claiming(partial(self._check_lease, request.ID, Access.WRITE))
        return await store.lease_revoke(request)

    async def lease_keep_alive(self, lease_id: int) -> LeaseKeepAliveResponse:
        if self._guard.enabled:
            await self._guard.require(partial(self._check_lease, lease_id, Access.WRITE))
        return await self._store.lease_keep_alive(lease_id)

    async def lease_keep_alives(self, lease_ids: Sequence[int]) -> list[LeaseKeepAliveResponse]:
        if self._guard.enabled:
            for lease_id in lease_ids:
                await self._guard.require(partial(self._check_lease, lease_id, Access.WRITE))
        return await self._store.lease_keep_alives(lease_ids)

    async def lease_time_to_live(self, request: LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse:
        if not self._guard.enabled:
            return self._still_off(await self._store.lease_time_to_live(request))
        if not request.keys:
            await self._guard.require(self._checker.anybody)
            return await self._store.lease_time_to_live(request)
        check = partial(self._check_lease, request.ID, Access.READ)
        claim = await self._guard.require(check)
        response = await self._store.lease_time_to_live(request)
        self._guard.still_holds(claim)
        for key in response.keys:  # those that it holds now
            self._checker.keys(claim, key, b"", Access.READ)
        return response

    async def lease_leases(self) -> LeaseLeasesResponse:
        if not self._guard.enabled:
            return self._still_off(await self._store.lease_leases())
        claim = await self._guard.require(self._checker.anybody)
        response = await self._store.lease_leases()
        self._guard.still_holds(claim)
        for lease in response.leases:
            self._checker.lease(claim, lease.ID, Access.READ)
        return response

    def _check_lease(self, lease_id: int, access: Access, claim: Claim) -> None:
        self._checker.anybody(claim)
        self._checker.lease(claim, lease_id, access)

    def status(self) -> StoreStatus:
        if self._guard.enabled:
            self._guard.require_now(self._checker.anybody)
        return self._store.status()

    def _still_off(self, response: ResponseT) -> ResponseT:
        """Return what was read while nobody was asked.

        Raises:
            AuthOldRevision: authentication was switched on meanwhile.
        """
        self._guard.still_holds(NOBODY)
        return response

    async def _claiming(self, check: Check) -> Store:
        """Return the store for a write that a check lets pass. The check is repeated where the
        write is applied; here it keeps out of the log what would be refused there."""
        return self._engine.claiming(await self._guard.require(check))


class _GuardedWatcher:
    """A watch that ends when its user may no longer see what it shows.

    Attributes:
        user: whose it is; empty if authentication was off.
    """

    __slots__ = ("_guarded", "_sink", "_watcher", "spec", "user")

    def __init__(self, guarded: GuardedStore, user: str, spec: WatchSpec, sink: WatchSink) -> None:
        self._guarded = guarded
        self._sink = sink
        self._watcher: Watcher | None = None
        self.spec = spec
        self.user = user

    def start(self, store: Store) -> None:
        self._watcher = store.watch(self.spec, self._sink)

    @property
    def _running(self) -> Watcher:
        if self._watcher is None:
            raise RuntimeError("the watch has not been started")
        return self._watcher

    @property
    def synced_revision(self) -> int:
        return self._running.synced_revision

    def resume(self) -> None:
        self._running.resume()

    def cancel(self) -> None:
        self._guarded.forget(self)
        self._running.cancel()

    def deny(self) -> None:
        """End the watch, and say why."""
        self.cancel()
        self._sink.ended(PermissionDenied())
