"""etcdserverpb.Watch: many watches on one stream, bounded.

Backlog. Nothing is queued here: a response goes to the connection at once, and what the connection
has not yet taken is counted. Beyond what `WatchBacklog` allows to one stream a batch is refused,
the store keeps only that watcher's revision, and when half of the backlog has gone the watcher goes
on from history. What the client asks for waits too while the backlog is full, so its answers are
bounded alike. So a slow client costs a bound, all of them together another, and each sees every
event all the same.

Promises, in this order on the wire for each watch: `created`; its events, each revision once,
ascending; `canceled`, if it is. A progress response of revision R comes behind every event up to R.

Source: etcd server/etcdserver/api/v3rpc/watch.go; docs "etcd API guarantees", Watch APIs.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, Protocol

from tianlu._proto.etcd.rpc_pb2 import (
    WatchCreateRequest,
    WatchRequest,
    WatchResponse,
)
from tianlu_registry.api.errors import error_status
from tianlu_registry.api.etcd_watch_wire import GrpcWatchWire, WatchWire
from tianlu_registry.api.grpc_asgi import RpcContext
from tianlu_registry.api.watch_backlog import WatchBacklog
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import (
    AuthOldRevision,
    Compacted,
    EmptyWatchRange,
    InputError,
    InvalidAuthToken,
    PermissionDenied,
    Stopped,
    TooManyRequests,
    UserEmpty,
)
from tianlu_registry.mvcc.types import WatchBatch, Watcher, WatchSpec

_log = logging.getLogger(__name__)

INVALID_WATCH_ID = -1
"""The id of a watch that was never made, and of a progress response for all of a stream's."""

PROGRESS_INTERVAL_SECONDS = 600.0

_FIRST_KEY = b"\0"
_NO_END = b"\0"
_JITTER = 0.1
_GO_CODES: Final[Mapping[type[Exception], str]] = MappingProxyType(
    {
        PermissionDenied: "PermissionDenied",
        InvalidAuthToken: "Unauthenticated",
        AuthOldRevision: "InvalidArgument",
        UserEmpty: "InvalidArgument",
    }
)
_DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"


class WatchQuota(Protocol):
    """What one client may watch at once."""

    def open(self) -> bool:
        """Count one more watch, if the client may have it."""

    def close(self) -> None:
        """A watch that was counted is over."""


class CallControl(Protocol):
    """What a stream needs of the call that carries it."""

    def disconnected(self) -> None:
        """The peer is gone."""

    def abort(self, error: Exception) -> None:
        """End the call with an error."""


class WatchServicer:
    """Serves watch streams over gRPC.

    Args:
        store: what is watched.
        progress_interval_seconds: silence after which a watch with `progress_notify` is told how
            far it is; up to a tenth is added, so that not all are told at once.
        backlog: what streams may leave unsent.
        check: raises why the caller may not watch this; None if everybody may everything.
        quota: gives what the caller may watch at once; None for no limit.
    """

    def __init__(
        self,
        store: Store,
        *,
        progress_interval_seconds: float = PROGRESS_INTERVAL_SECONDS,
        backlog: WatchBacklog | None = None,
        check: Callable[[WatchSpec], Awaitable[None]] | None = None,
        quota: Callable[[], WatchQuota | None] | None = None,
    ) -> None:
        self._store = store
        self._check = check
        self._quota = quota
        self._progress_interval_seconds = progress_interval_seconds
        self.backlog: Final = backlog or WatchBacklog()
        self._streams: set[WatchStream] = set()
        self._stopped = False

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    @property
    def streams_behind(self) -> int:
        """How many of them have watches that wait for room."""
        return sum(stream.is_behind for stream in self._streams)

    @property
    def watchers(self) -> int:
        """How many watches they carry."""
        return sum(len(stream) for stream in self._streams)

    async def Watch(self, requests: AsyncIterator[WatchRequest], context: RpcContext) -> None:  # noqa: N802
        await context.send_initial_metadata()
        wire = GrpcWatchWire(self._store.header)
        await self.serve(requests, wire, context.write_frame, context)

    async def serve(
        self,
        requests: AsyncIterator[WatchRequest],
        wire: WatchWire,
        write: Callable[[bytes], asyncio.Future[None]],
        call: CallControl,
    ) -> None:
        """Serve one stream until its call is cancelled, even after the last request.

        Args:
            wire: how responses are encoded.
            write: queues bytes on the connection; the future is done when it has taken them.
        """
        if self._stopped:
            raise Stopped
        stream = WatchStream(
            self._store,
            wire,
            write,
            call,
            self._progress_interval_seconds * (1 + random.uniform(0, _JITTER)),  # noqa: S311
            None if self._quota is None else self._quota(),
            self.backlog,
        )
        self._streams.add(stream)
        try:
            async for request in requests:
                await stream.room()
                stream.handle(request, await self._refusal(request))
            await asyncio.get_running_loop().create_future()
        finally:
            self._streams.discard(stream)
            stream.close()

    async def _refusal(self, request: WatchRequest) -> str | None:
        """Return why the caller may not have what he asks for; None if he may."""
        if self._check is None or request.WhichOneof("request_union") != "create_request":
            return None
        try:
            await self._check(_spec(request.create_request))
        except InputError as error:
            return _cancel_reason(error)
        return None

    def stop(self) -> None:
        """End every stream and begin no other: the node goes away, clients look for another."""
        self._stopped = True
        for stream in self._streams:
            stream.abort(Stopped())


class _Watch:
    """One watch of a stream; the store's `WatchSink`."""

    __slots__ = ("_stream", "fragment", "progress_notify", "quiet", "watch_id", "watcher")

    def __init__(self, stream: WatchStream, watch_id: int, request: WatchCreateRequest) -> None:
        self._stream = stream
        self.watch_id = watch_id
        self.fragment = request.fragment
        self.progress_notify = request.progress_notify
        self.quiet = True  # no events since the last progress tick
        self.watcher: Watcher | None = None  # None while the store is making it

    def deliver(self, batch: WatchBatch) -> bool:
        return self._stream.deliver(self, batch)

    def ended(self, error: Exception) -> None:
        self._stream.ended(self, error)

    def stop(self) -> None:
        """Cancel. Watch and watcher let go of each other, or only the cycle collector could free
        them, and their stream with them."""
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.cancel()


class WatchStream:
    """The watches of one stream. `handle` is called for each request, `close` at the end."""

    def __init__(
        self,
        store: Store,
        wire: WatchWire,
        write: Callable[[bytes], asyncio.Future[None]],
        call: CallControl,
        progress_interval_seconds: float,
        quota: WatchQuota | None,
        backlog: WatchBacklog,
    ) -> None:
        self._store = store
        self._wire = wire
        self._write_bytes = write
        self._call = call
        self._progress_interval_seconds = progress_interval_seconds
        self._quota = quota
        self._backlog = backlog
        self._watches: dict[int, _Watch] = {}
        self._refused: dict[_Watch, None] = {}
        self._unsent_bytes = 0
        self._closed = False
        self._room: asyncio.Future[None] | None = None  # who waits for room
        self._next_id = 0
        self._progress_timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._watches)

    @property
    def is_behind(self) -> bool:
        """Whether watches of this stream wait for room."""
        return bool(self._refused)

    async def room(self) -> None:
        """Wait while the backlog is full."""
        while self._unsent_bytes >= self._backlog.stream_limit:
            self._room = asyncio.get_running_loop().create_future()
            self._wait_for_others()
            await self._room

    def handle(self, request: WatchRequest, refusal: str | None = None) -> None:
        """Do what the client asks. A request that asks nothing is ignored, as etcd does.

        Args:
            refusal: why this client may not have the watch that it wants.
        """
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            self._create(request.create_request, refusal)
        elif kind == "cancel_request":
            self._cancel(request.cancel_request.watch_id)
        elif kind == "progress_request":
            self._tell_progress_of_all()

    def abort(self, error: Exception) -> None:
        """End the stream with an error."""
        self._call.abort(error)

    def close(self) -> None:
        """End all watches; nothing is written any more."""
        self._backlog.forget(self)
        # What the connection holds goes with it, whether it says so or not.
        self._backlog.remove(self._unsent_bytes)
        self._closed = True
        if self._progress_timer is not None:
            self._progress_timer.cancel()
        for watch in self._watches.values():
            watch.stop()
            if self._quota is not None:
                self._quota.close()
        self._watches.clear()
        self._refused.clear()

    # Requests

    def _create(self, request: WatchCreateRequest, refusal: str | None) -> None:
        reason = self._problem(request) or refusal
        if reason is None and self._quota is not None and not self._quota.open():
            reason = TooManyRequests.text
        if reason is not None:
            self._respond(INVALID_WATCH_ID, created=True, canceled=True, cancel_reason=reason)
            return
        watch = _Watch(self, self._choose_id(request.watch_id), request)
        self._watches[watch.watch_id] = watch
        # Before the store is asked: it may deliver before it returns, or refuse as compacted,
        # which etcd too tells after the creation.
        self._respond(watch.watch_id, created=True)
        try:
            watch.watcher = self._store.watch(_spec(request), watch)
        except Exception as error:
            if error_status(error) is None:
                raise
            self.ended(watch, error)
            return
        if watch.watch_id not in self._watches:
            watch.stop()  # it ended while it was made
        elif watch in self._refused:
            self._resume_if_room()
        if request.progress_notify and self._progress_timer is None:
            self._schedule_progress()

    def _problem(self, request: WatchCreateRequest) -> str | None:
        """Return why this watch cannot be made, in etcd's words; None if it can."""
        key, end = request.key or _FIRST_KEY, request.range_end
        if request.start_revision < 0:
            return Compacted.text
        if end and end != _NO_END and key >= end:
            return EmptyWatchRange.text
        if request.watch_id != 0 and request.watch_id in self._watches:
            return _DUPLICATE_ID
        return None

    def _choose_id(self, wanted: int) -> int:
        if wanted != 0:
            return wanted
        while self._next_id in self._watches:
            self._next_id += 1
        chosen = self._next_id
        self._next_id += 1
        return chosen

    def _cancel(self, watch_id: int) -> None:
        watch = self._forget(watch_id)
        if watch is not None:
            watch.stop()
            self._respond(watch_id, canceled=True)

    def _forget(self, watch_id: int) -> _Watch | None:
        watch = self._watches.pop(watch_id, None)
        if watch is not None:
            self._refused.pop(watch, None)
            if self._quota is not None:
                self._quota.close()
        return watch

    # What the store says

    def deliver(self, watch: _Watch, batch: WatchBatch) -> bool:
        """Send a batch, or refuse it while the stream's backlog is full."""
        if self._unsent_bytes >= self._backlog.stream_limit:
            self._refused[watch] = None
            self._wait_for_others()
            return False
        watch.quiet = False
        self._write(self._wire.batch(batch, watch.watch_id, fragment=watch.fragment))
        return True

    def ended(self, watch: _Watch, error: Exception) -> None:
        """Tell the client that a watch is over; the stream too if the store is."""
        if isinstance(error, Stopped):
            self.abort(error)
        elif self._forget(watch.watch_id) is not None:
            watch.stop()
            if isinstance(error, Compacted):
                self._tell_compacted(watch.watch_id, error.compact_revision)
            else:
                reason = _cancel_reason(error)
                self._respond(watch.watch_id, canceled=True, cancel_reason=reason)

    def _tell_compacted(self, watch_id: int, compact_revision: int) -> None:
        """Say that a watch's history is gone. As in etcd, the compacted revision is all there is
        to it: no reason, and no revision in the header."""
        self._respond(watch_id, canceled=True, compact_revision=compact_revision, revision=0)

    # Progress

    def _tell_progress_of_all(self) -> None:
        """Say how far all of the stream's watches are together."""
        revision = min(
            (
                watch.watcher.synced_revision
                for watch in self._watches.values()
                if watch.watcher is not None
            ),
            default=self._store.header().revision,
        )
        self._respond(INVALID_WATCH_ID, revision=revision)

    def _schedule_progress(self) -> None:
        self._progress_timer = asyncio.get_running_loop().call_later(
            self._progress_interval_seconds, self._tell_progress
        )

    def _tell_progress(self) -> None:
        """Tell each watch that asked for it and had no events since the last time."""
        for watch in self._watches.values():
            if watch.progress_notify and watch.watcher is not None:
                if watch.quiet and self._unsent_bytes < self._backlog.stream_limit:
                    self._respond(watch.watch_id, revision=watch.watcher.synced_revision)
                watch.quiet = True
        self._schedule_progress()

    # Writing

    def _respond(
        self,
        watch_id: int,
        *,
        created: bool = False,
        canceled: bool = False,
        compact_revision: int = 0,
        cancel_reason: str = "",
        revision: int | None = None,
    ) -> None:
        header = self._store.header()
        if revision is not None:
            # A watch from a future revision counts as synced up to there; the store is not.
            header.revision = min(revision, header.revision)
        response = WatchResponse(
            header=header,
            watch_id=watch_id,
            created=created,
            canceled=canceled,
            compact_revision=compact_revision,
            cancel_reason=cancel_reason,
        )
        self._write(self._wire.control(response))

    def _write(self, data: bytes) -> None:
        self._unsent_bytes += len(data)
        self._backlog.add(len(data))
        self._write_bytes(data).add_done_callback(partial(self._written, len(data)))

    def _written(self, size: int, future: asyncio.Future[None]) -> None:
        if self._closed:
            if not future.cancelled():
                future.exception()  # seen
            return
        self._unsent_bytes -= size
        self._backlog.remove(size)
        if future.cancelled() or future.exception() is not None:
            self._call.disconnected()
            return
        self.on_room()

    def on_room(self) -> None:
        """Go on with what waited, as far as there is room."""
        if self._refused:
            self._resume_if_room()
        if self._room is not None:
            if self._unsent_bytes < self._backlog.stream_limit:
                room, self._room = self._room, None
                if not room.done():
                    room.set_result(None)
            else:
                self._wait_for_others()

    def _wait_for_others(self) -> None:
        """Ask to be told of room, if this stream's own connection will tell nothing."""
        if self._unsent_bytes == 0:
            self._backlog.wait(self)

    def _resume_if_room(self) -> None:
        limit = self._backlog.stream_limit
        if self._unsent_bytes > limit // 2 or limit == 0:
            self._wait_for_others()
            return
        refused, self._refused = self._refused, {}
        for watch in refused:
            if watch.watcher is None:
                self._refused[watch] = None  # `_create` looks again once the store has made it
            else:
                watch.watcher.resume()


def _cancel_reason(error: Exception) -> str:
    """Return how a watch says why it ended: refusals in the form of Go's gRPC library, as from
    etcd, whose clients look into that text."""
    name = _GO_CODES.get(type(error))
    return str(error) if name is None else f"rpc error: code = {name} desc = {error}"


def _spec(request: WatchCreateRequest) -> WatchSpec:
    return WatchSpec(
        key=request.key or _FIRST_KEY,
        range_end=request.range_end,
        start_revision=request.start_revision,
        prev_kv=request.prev_kv,
        no_put=WatchCreateRequest.NOPUT in request.filters,
        no_delete=WatchCreateRequest.NODELETE in request.filters,
    )
