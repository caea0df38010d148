"""Watches of an etcd cluster, all multiplexed on one stream that mends itself.

A watcher's whole state is the next revision that it wants. So a broken stream, a member that
lost its leader and a sink that refused a batch all end the same way: the watcher is created anew
from that revision, under a new id, and what still arrives under an old id is ignored.

Invariants:
- a sink sees every revision once, whole and in order: batches that overlap what was delivered
  cannot occur, because a re-created watcher starts exactly behind it;
- a refused batch leaves nothing here but the revision: etcd's watcher is cancelled, so a slow
  sink costs etcd and us no memory.

Source: etcd server/etcdserver/api/v3rpc/watch.go, server/storage/mvcc/watchable_store.go.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable

import grpc
import grpc.aio

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu._proto.etcd.rpc_pb2 import (
    WatchCancelRequest,
    WatchCreateRequest,
    WatchRequest,
    WatchResponse,
)
from tianlu_registry.engine.etcd_channels import EtcdChannels, EtcdMethod
from tianlu_registry.engine.etcd_errors import error_of_text
from tianlu_registry.engine.etcd_identity import Identity, Nobody, metadata_of
from tianlu_registry.errors import Compacted, RegistryError, Stopped, Unavailable, UserEmpty
from tianlu_registry.mvcc.types import WatchBatch, WatchSink, WatchSpec

logger = logging.getLogger(__name__)

_WATCH = EtcdMethod("Watch/Watch", WatchResponse)
_REQUIRE_LEADER = (("hasleader", "true"),)
_BACKOFF_SECONDS = (0.02, 0.1, 0.3, 1.0)

_Call = grpc.aio.StreamStreamCall[WatchRequest, WatchResponse]


class EtcdWatcher:
    """A running watch; implements `mvcc.types.Watcher`."""

    def __init__(self, stream: EtcdWatchStream, spec: WatchSpec, sink: WatchSink, at: int) -> None:
        self.spec = spec
        self.sink = sink
        self.next_revision = spec.start_revision or at + 1
        self.watch_id = 0  # 0: not asked for at etcd now
        self.paused = False  # the sink refused a batch
        self.begun = False  # etcd has it, or had it
        # Whether it must get everything from its next revision on, or be told that it cannot.
        # Not so a watch "from now", before it has begun: that now is our idea of it.
        self.is_owed = spec.start_revision != 0
        self.fragments: list[Event] = []
        self._stream = stream

    @property
    def synced_revision(self) -> int:
        return self.next_revision - 1

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self._stream.create(self)

    def cancel(self) -> None:
        self._stream.forget(self)


class EtcdWatchStream:
    """The one watch stream of a store, and the watchers on it. Run by `run`, one task."""

    def __init__(
        self,
        channels: EtcdChannels,
        revision: Callable[[], int],
        identity: Identity | None = None,
    ) -> None:
        """Args:
        channels: where etcd is.
        revision: the newest revision this store has seen; a watch "from now" starts behind it.
        identity: as whom etcd is asked.
        """
        self._channels = channels
        self._revision = revision
        self._identity = identity or Nobody()
        self._token: str | None = None  # that this stream was opened with
        self._watchers: dict[EtcdWatcher, None] = {}
        self._by_id: dict[int, EtcdWatcher] = {}
        self._ids = itertools.count(1)
        self._creating: deque[EtcdWatcher] = deque()  # etcd answers creations in order
        self._outbox: asyncio.Queue[WatchRequest] | None = None  # None: no stream now
        self._answered = False  # this stream, or the last one, has brought something
        self._wanted = asyncio.Event()  # set once there is a watcher to open the stream for

    def watch(self, spec: WatchSpec, sink: WatchSink) -> EtcdWatcher:
        """Start a watch; see `engine.store.Store.watch`. A compacted start is told by `ended`."""
        watcher = EtcdWatcher(self, spec, sink, self._revision())
        self._watchers[watcher] = None
        self._wanted.set()
        self.create(watcher)
        return watcher

    def create(self, watcher: EtcdWatcher) -> None:
        """Ask etcd for the watcher from its next revision on; later, if there is no stream."""
        if self._outbox is None or watcher not in self._watchers:
            return
        watcher.watch_id = next(self._ids)
        watcher.fragments = []
        # Whatever happened while etcd did not have it must not be passed over in silence.
        watcher.is_owed = watcher.is_owed or watcher.begun
        self._by_id[watcher.watch_id] = watcher
        self._creating.append(watcher)
        self._outbox.put_nowait(WatchRequest(create_request=_create_request(watcher)))

    def forget(self, watcher: EtcdWatcher) -> None:
        """End a watch on its creator's wish."""
        self._watchers.pop(watcher, None)
        self._cancel_at_etcd(watcher)

    @property
    def is_idle(self) -> bool:
        """Whether nobody watches."""
        return not self._watchers

    def close(self) -> None:
        """Tell every watcher that the store has closed."""
        for watcher in list(self._watchers):
            self._end(watcher, Stopped())

    async def run(self) -> None:
        """Keep the stream up until cancelled."""
        failures = 0
        while True:
            await self._wanted.wait()
            endpoint = self._channels.endpoint
            try:
                await self._one_stream()
            except* (grpc.aio.AioRpcError, RegistryError) as failed:
                failures = 1 if self._answered else failures + 1
                if failures == 1:  # one line for a break, not one for each try to mend it
                    reason = _reason_of(failed.exceptions[0])
                    logger.warning(
                        "watch_stream.broken endpoint=%s reason=%r", endpoint.target, reason
                    )
            except* Exception as failed:
                failures += 1
                logger.critical("watch_stream.crashed", exc_info=failed)
                # Unforeseen, and nobody awaits this task: say so, and let every watch begin anew.
                for watcher in list(self._watchers):
                    self._end(watcher, Unavailable("tianlu: the watch was lost; begin anew"))
            self._channels.rotate(endpoint)
            await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS)) - 1])

    async def _one_stream(self) -> None:
        """Open a stream, ask for every watcher, and deliver until it breaks."""
        self._token = await self._identified()
        metadata = (*_REQUIRE_LEADER, *metadata_of(self._token))
        call: _Call = self._channels.bidirectional(_WATCH)(metadata=metadata)
        self._by_id.clear()
        self._creating.clear()
        self._outbox = asyncio.Queue()
        self._answered = False
        try:
            for watcher in self._watchers:
                if not watcher.paused:
                    self.create(watcher)
            async with asyncio.TaskGroup() as group:
                group.create_task(_send(call, self._outbox))
                group.create_task(self._receive(call))
        finally:
            self._outbox = None
            call.cancel()

    async def _identified(self) -> str | None:
        """Return the token to open a stream with. Whoever has to have one and has none may watch
        no more.

        Raises:
            RegistryError: there is none.
        """
        try:
            return await self._identity.token()
        except UserEmpty as error:
            for watcher in list(self._watchers):
                self._end(watcher, error)
            self._wanted.clear()
            raise

    async def _receive(self, call: _Call) -> None:
        while True:
            response = await call.read()
            if response is grpc.aio.EOF:
                raise Unavailable("etcd ended the watch stream")
            self._take(response)  # type: ignore[arg-type]  # EOF is handled above

    def _take(self, response: WatchResponse) -> None:
        """Handle a response. It is one of: a creation's answer, a cancellation (also as the
        answer to a creation), events, a progress notification."""
        self._answered = True
        if response.created:
            watcher = self._creating.popleft()
            # A creation that etcd refuses is answered with id -1.
            if not response.canceled:
                watcher.begun = True
            elif watcher.watch_id:
                self._canceled(watcher, response)
            return
        by_id = self._by_id.get(response.watch_id)
        if by_id is None:
            return
        if response.canceled:
            self._canceled(by_id, response)
        elif response.events:
            self._events(by_id, response)
        else:
            by_id.next_revision = max(by_id.next_revision, response.header.revision + 1)

    def _events(self, watcher: EtcdWatcher, response: WatchResponse) -> None:
        watcher.fragments.extend(response.events)
        if response.fragment:
            return
        events, watcher.fragments = tuple(watcher.fragments), []
        # Not the header's revision: while a watcher catches up that is the store's, not its own.
        revision = events[-1].kv.mod_revision
        if watcher.sink.deliver(WatchBatch(revision, events)):
            watcher.is_owed = True
            watcher.next_revision = revision + 1
        elif watcher in self._watchers:
            watcher.paused = True
            self._cancel_at_etcd(watcher)

    def _canceled(self, watcher: EtcdWatcher, response: WatchResponse) -> None:
        self._by_id.pop(watcher.watch_id, None)
        watcher.watch_id = 0
        if response.compact_revision:
            self._compacted(watcher, response.compact_revision)
            return
        error = error_of_text(response.cancel_reason)
        if error is None:
            error = RegistryError(f"etcd: {response.cancel_reason or 'the watch was cancelled'}")
        if self._identity.is_worth_another(self._token, error):
            raise error  # with the next stream's token
        if isinstance(error, Unavailable):
            raise error  # the member lost its leader: all watchers move to another one
        self._end(watcher, error)

    def _compacted(self, watcher: EtcdWatcher, compact_revision: int) -> None:
        if not watcher.is_owed:
            # "From now on" was asked while our idea of now was older than a compaction.
            watcher.next_revision = max(watcher.next_revision, compact_revision)
            self.create(watcher)
            return
        self._end(watcher, Compacted(compact_revision=compact_revision))

    def _end(self, watcher: EtcdWatcher, error: RegistryError) -> None:
        if self._watchers.pop(watcher, self) is None:
            self._cancel_at_etcd(watcher)
            watcher.sink.ended(error)

    def _cancel_at_etcd(self, watcher: EtcdWatcher) -> None:
        watcher.fragments = []
        if self._by_id.pop(watcher.watch_id, None) is not None and self._outbox is not None:
            cancel = WatchCancelRequest(watch_id=watcher.watch_id)
            self._outbox.put_nowait(WatchRequest(cancel_request=cancel))
        watcher.watch_id = 0


async def _send(call: _Call, outbox: asyncio.Queue[WatchRequest]) -> None:
    """Write requests in order. At most two per watcher are ever waiting: a creation, a cancel."""
    while True:
        request = await outbox.get()
        try:
            await call.write(request)
        except asyncio.InvalidStateError as ended:
            raise Unavailable("etcd ended the watch stream") from ended


def _reason_of(error: Exception) -> str:
    return (error.details() or "") if isinstance(error, grpc.aio.AioRpcError) else str(error)


def _create_request(watcher: EtcdWatcher) -> WatchCreateRequest:
    spec = watcher.spec
    filters = [
        kind
        for kind, wanted in (
            (WatchCreateRequest.NOPUT, spec.no_put),
            (WatchCreateRequest.NODELETE, spec.no_delete),
        )
        if wanted
    ]
    return WatchCreateRequest(
        key=spec.key,
        range_end=spec.range_end,
        start_revision=watcher.next_revision,
        prev_kv=spec.prev_kv,
        filters=filters,
        watch_id=watcher.watch_id,
        progress_notify=True,
        fragment=True,
    )
