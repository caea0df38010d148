"""Keys that queue under a prefix: what etcd's lock and election services are made of.

Everybody who wants a lock or to be elected puts one key, ``prefix/`` and its lease in hexadecimal,
that hangs on the lease. The key created first holds; each other one waits until every key created
before it is gone. So turns are taken in the order of asking, and who dies gives way with its lease.
It waits for the last of those before it only, so that a turn that ends wakes one and not all.

Source: etcd client/v3/concurrency (key.go, mutex.go, election.go, session.go): servers and clients
that queue under one prefix must agree on all of this.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu._proto.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    ResponseHeader,
    TxnRequest,
)
from tianlu_registry.api.grpc_asgi import RpcError, StatusCode
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import Compacted, InputError, RegistryError
from tianlu_registry.mvcc.types import WatchBatch, Watcher, WatchSpec

SESSION_TTL_SECONDS: Final = 60
"""Of a lease that is granted to who brings none."""

CLEANUP_SECONDS_MAX: Final = 5.0
"""How long a place that is given up may take to be cleared away; its lease ends it anyway."""

_EVENTS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a queue.

    Attributes:
        prefix, key: of the queue, with its final slash, and of this place.
        revision: at which the key was created; the order of the queue.
        value: what the key holds.
        lease: the lease that it hangs on; `own_lease` if it was granted for this place.
        header: of the transaction that found or made the place.
        first: whether nobody was before it then.
    """

    prefix: bytes
    key: bytes
    revision: int
    value: bytes
    lease: int
    own_lease: bool
    header: ResponseHeader
    first: bool


class KeyQueue:
    """Queues over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cleanups: set[asyncio.Task[None]] = set()

    async def lease_for(self, lease: int) -> int:
        """Return `lease`, or a new one if it is 0."""
        if lease != 0:
            return lease
        granted = await self._store.lease_grant(LeaseGrantRequest(TTL=SESSION_TTL_SECONDS))
        return granted.ID

    async def enter(self, name: bytes, lease: int, value: bytes) -> Place:
        """Take a place, or find the one that this lease has.

        Args:
            lease: 0 for one of its own.

        Raises:
            LeaseNotFound: there is none of this number.
        """
        session = await self.lease_for(lease)
        prefix = name + b"/"
        key = prefix + f"{session:x}".encode()
        put = PutRequest(key=key, value=value, lease=session)
        first = RequestOp(request_range=first_created(prefix))
        response = await self._store.txn(
            TxnRequest(
                compare=[created_at(key, 0)],
                success=[RequestOp(request_put=put), first],
                failure=[RequestOp(request_range=RangeRequest(key=key)), first],
            )
        )
        revision, held = response.header.revision, value
        if not response.succeeded:
            found = response.responses[0].response_range.kvs[0]
            revision, held = found.create_revision, found.value
        holders = response.responses[1].response_range.kvs
        holds = not holders or holders[0].create_revision == revision
        return Place(prefix, key, revision, held, session, lease == 0, response.header, holds)

    async def wait_turn(self, place: Place) -> None:
        """Wait until every key created before this place's is gone."""
        while True:
            before = await self._store.range(
                RangeRequest(
                    key=place.prefix,
                    range_end=prefix_end(place.prefix),
                    limit=1,
                    sort_target=RangeRequest.CREATE,
                    sort_order=RangeRequest.DESCEND,
                    max_create_revision=place.revision - 1,
                )
            )
            if not before.kvs:
                return
            await self._wait_deleted(before.kvs[0].key, before.header.revision)

    @contextlib.asynccontextmanager
    async def leaving_on_failure(self, place: Place) -> AsyncIterator[None]:
        """Give the place up if the body fails or is cancelled, before that goes on."""
        try:
            yield
        except BaseException:
            # A task of its own: who is cancelled twice still clears up.
            leaving = asyncio.create_task(self._leave(place))
            self._cleanups.add(leaving)
            leaving.add_done_callback(self._cleanups.discard)
            await asyncio.shield(leaving)
            raise

    async def _leave(self, place: Place) -> None:
        # What fails here ends with the lease.
        with contextlib.suppress(RegistryError, TimeoutError):
            async with asyncio.timeout(CLEANUP_SECONDS_MAX):
                if place.own_lease:
                    await self._store.lease_revoke(LeaseRevokeRequest(ID=place.lease))
                else:
                    await self._store.txn(
                        TxnRequest(
                            compare=[created_at(place.key, place.revision)],
                            success=[delete(place.key)],
                        )
                    )

    async def _wait_deleted(self, key: bytes, revision: int) -> None:
        # A compaction may have overtaken us; then the queue has to be looked at again.
        with contextlib.suppress(Compacted):
            async with watching(self._store, WatchSpec(key=key, start_revision=revision)) as events:
                async for event, _ in events:
                    if event.type == Event.DELETE:
                        return


class EventStream:
    """The events of one watch, each with the revision that its batch brought the watcher to; a
    `WatchSink` and an asynchronous iterator.

    Bounded: beyond 1,000 events the store is asked to wait.
    """

    def __init__(self) -> None:
        self._events: deque[tuple[Event, int]] = deque()
        self._news = asyncio.Event()
        self._error: Exception | None = None
        self._refused = False
        self.watcher: Watcher | None = None  # None while the store is making it, and at the end

    def deliver(self, batch: WatchBatch) -> bool:
        if len(self._events) >= _EVENTS_MAX:
            self._refused = True
            return False
        self._events.extend((event, batch.revision) for event in batch.events)
        self._news.set()
        return True

    def ended(self, error: Exception) -> None:
        self._error = error
        self._news.set()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> tuple[Event, int]:
        while not self._events:
            if self._error is not None:
                raise self._error
            self._news.clear()
            if self._refused and self.watcher is not None:
                self._refused = False
                self.watcher.resume()  # may deliver before it returns
            await self._news.wait()
        return self._events.popleft()


@contextlib.asynccontextmanager
async def watching(store: Store, spec: WatchSpec) -> AsyncIterator[EventStream]:
    """Watch for as long as the body runs."""
    events = EventStream()
    events.watcher = store.watch(spec, events)
    try:
        yield events
    finally:
        events.watcher.cancel()
        events.watcher = None


@contextlib.contextmanager
def errors_of_recipes() -> Iterator[None]:
    """Give refusals the code that they have behind these services: UNKNOWN, with the same text.

    etcd's run on its own client, whose errors have lost their codes. What says "try again" keeps
    its code here, so that clients do.
    """
    try:
        yield
    except InputError as error:
        raise RpcError(StatusCode.UNKNOWN, str(error)) from error


def first_created(prefix: bytes) -> RangeRequest:
    """Return the request for the holder: the key under `prefix` that was created first."""
    return RangeRequest(
        key=prefix,
        range_end=prefix_end(prefix),
        limit=1,
        sort_target=RangeRequest.CREATE,
        sort_order=RangeRequest.ASCEND,
    )


def created_at(key: bytes, revision: int) -> Compare:
    return Compare(key=key, target=Compare.CREATE, result=Compare.EQUAL, create_revision=revision)


def delete(key: bytes) -> RequestOp:
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key))


def prefix_end(prefix: bytes) -> bytes:
    """Return the first key beyond `prefix`, which ends in a slash."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
