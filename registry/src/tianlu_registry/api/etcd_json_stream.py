"""The streaming methods of etcd's JSON gateway: /v3/watch, /v3/lease/keepalive,
/v3/maintenance/snapshot and /v3/election/observe.

The body is a sequence of JSON objects, the answer one ``{"result": ...}`` a line. Both go on at
once: each object is acted on when its closing brace has arrived. A call ends when its caller
disconnects; half-closing the request (as every HTTP/1.1 client with a fixed body does) ends a
lease renewal but not a watch.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Generic, Self, TypeVar

from google.protobuf.message import Message

from tianlu._proto.etcd.rpc_pb2 import (
    LeaseKeepAliveRequest,
    ResponseHeader,
    SnapshotRequest,
    WatchRequest,
)
from tianlu._proto.etcd.v3election_pb2 import LeaderRequest
from tianlu_registry.api.errors import HTTP_STATUSES, error_status
from tianlu_registry.api.etcd_admission import Admission
from tianlu_registry.api.etcd_election import ElectionServicer
from tianlu_registry.api.etcd_lease import LeaseServicer
from tianlu_registry.api.etcd_maintenance import MaintenanceServicer
from tianlu_registry.api.etcd_watch import WatchServicer
from tianlu_registry.api.etcd_watch_wire import JsonWatchWire, result_line
from tianlu_registry.api.grpc_asgi import (
    REQUEST_BYTES_MAX,
    GrpcApp,
    RpcContext,
    RpcError,
    StatusCode,
)
from tianlu_registry.api.grpc_asgi.asgi import Event, Receive, Scope, Send
from tianlu_registry.api.grpc_asgi.context import says_gone, shielded
from tianlu_registry.api.grpc_asgi.turns import Turns
from tianlu_registry.api.json_decode import decode_json
from tianlu_registry.api.json_objects import JsonObjects

RequestT = TypeVar("RequestT", bound=Message)

_HEADERS = [(b"content-type", b"application/json")]


class JsonStreams:
    """The two streaming applications, ready to be added to a router.

    Args:
        header: makes a response header.
        grpc: knows the calls that draining must end, and notices when a caller has gone.
        admission: says whether a watch may begin at this member; `lease` asks it already.
    """

    def __init__(
        self,
        watch: WatchServicer,
        lease: LeaseServicer,
        header: Callable[[], ResponseHeader],
        grpc: GrpcApp,
        admission: Admission,
    ) -> None:
        self._admission = admission
        self._watch = watch
        self._lease = lease
        self._header = header
        self._grpc = grpc

    async def watch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v3/watch."""
        async with _JsonCall(scope, receive, send, self._grpc) as call:
            requests = _JsonRequests(call, WatchRequest)
            wire = JsonWatchWire(self._header)
            with self._admission.stream(call.context):
                await self._watch.serve(requests, wire, call.write, call.context)

    async def lease_keep_alive(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v3/lease/keepalive."""
        async with _JsonCall(scope, receive, send, self._grpc) as call:
            requests = _JsonRequests(call, LeaseKeepAliveRequest)
            async for responses in self._lease.LeaseKeepAlive(requests, call.context):
                await shielded(call.write(b"".join(map(result_line, responses))))


class JsonSnapshot:
    """POST /v3/maintenance/snapshot, ready to be added to a router.

    Args:
        grpc: as for `JsonStreams`.
    """

    def __init__(self, maintenance: MaintenanceServicer, grpc: GrpcApp) -> None:
        self._maintenance = maintenance
        self._grpc = grpc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with _JsonCall(scope, receive, send, self._grpc) as call:
            async for _ in _JsonRequests(call, SnapshotRequest):
                pass  # the request says nothing, but what is not understood is refused
            pieces = self._maintenance.Snapshot(SnapshotRequest(), call.context)
            async with aclosing(pieces):
                async for piece in pieces:
                    await shielded(call.write(result_line(piece)))


class JsonObserve:
    """POST /v3/election/observe, ready to be added to a router.

    Args:
        grpc: as for `JsonStreams`.
    """

    def __init__(self, election: ElectionServicer, grpc: GrpcApp) -> None:
        self._election = election
        self._grpc = grpc

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with _JsonCall(scope, receive, send, self._grpc) as call:
            requests = [each async for each in _JsonRequests(call, LeaderRequest)]
            # The body is one object; of several the last counts, and none is one without fields.
            request = requests[-1] if requests else LeaderRequest()
            leaders = self._election.Observe(request, call.context)
            async with aclosing(leaders):
                async for leader in leaders:
                    await shielded(call.write(result_line(leader)))


class _JsonCall:
    """One call: its context for cancellation, and its answer. An asynchronous context manager
    that turns whatever the body raises into the answer's last line."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, grpc: GrpcApp) -> None:
        self.receive = receive
        self.context = RpcContext(scope, send)
        self._send = send
        self._grpc = grpc
        self._started = False

    def half_closed(self) -> None:
        """The body is complete."""
        self._grpc.sweeper.add(self.context, self.receive)

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Queue a part of the answer; see `RpcContext.write_frame`."""
        self._start(200)
        return asyncio.ensure_future(
            self._send({"type": "http.response.body", "body": data, "more_body": True})
        )

    def _start(self, status: int) -> None:
        if not self._started:
            self._started = True
            start = {"type": "http.response.start", "status": status, "headers": _HEADERS}
            asyncio.ensure_future(self._send(start)).add_done_callback(_seen)

    async def __aenter__(self) -> Self:
        self.context.attach()
        self._grpc.opened(self.context)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        self.context.detach()
        self._grpc.sweeper.discard(self.context)
        self._grpc.closed(self.context)
        if self.context.gone:
            return True
        if error is not None:
            self._end_with(self.context.aborted or error)
        self._start(200)
        # As a task like the writes before it, so that it cannot overtake them.
        await asyncio.ensure_future(self._send({"type": "http.response.body", "body": b""}))
        return True

    def _end_with(self, error: BaseException) -> None:
        status = error_status(error) if isinstance(error, Exception) else None
        if status is None and not isinstance(error, asyncio.CancelledError):
            raise error  # the router's boundary logs it and answers
        status = status or RpcError(StatusCode.UNAVAILABLE, "the server is stopping")
        http_status = HTTP_STATUSES[status.code]
        if not self._started:
            self._start(http_status)
        content = {
            "grpc_code": int(status.code),
            "http_code": http_status,
            "message": status.message,
        }
        line = json.dumps({"error": content}, separators=(",", ":")).encode() + b"\n"
        self.write(line).add_done_callback(_seen)


def _seen(future: asyncio.Future[None]) -> None:
    """Mark a failed send as seen: the caller is gone, which the next step finds out."""
    if not future.cancelled():
        future.exception()


class _JsonRequests(Generic[RequestT]):
    """The JSON objects of a body, as messages, each as soon as it is complete."""

    def __init__(self, call: _JsonCall, message_class: type[RequestT]) -> None:
        self._call = call
        self._message_class = message_class
        self._turns = Turns(call.context.scope)
        self._objects = JsonObjects(REQUEST_BYTES_MAX)
        self._pending: asyncio.Future[Event] | None = None
        self._receive_next()

    def _receive_next(self) -> None:
        self._pending = asyncio.ensure_future(self._call.receive())
        self._pending.add_done_callback(self._received)

    def _received(self, future: asyncio.Future[Event]) -> None:
        if says_gone(future):
            self._call.context.disconnected()

    def __aiter__(self) -> AsyncIterator[RequestT]:
        return self

    async def __anext__(self) -> RequestT:
        while True:
            found = self._objects.next_object()
            if found is not None:
                if self._turns.due():
                    await self._turns.rest()
                return decode_json(found, self._message_class)
            if self._pending is None:
                self._objects.check_finished()
                raise StopAsyncIteration
            await self._take_chunk(self._pending)

    async def batch(self, count_max: int) -> list[RequestT]:
        """Return the next message alone, `count_max` or not; none at the end. `RequestBatches`."""
        del count_max
        try:
            return [await anext(self)]
        except StopAsyncIteration:
            return []

    async def _take_chunk(self, pending: asyncio.Future[Event]) -> None:
        event = await asyncio.shield(pending)
        if event["type"] == "http.disconnect":
            raise asyncio.CancelledError
        self._objects.feed(event.get("body", b""))
        if event.get("more_body"):
            self._receive_next()
        else:
            self._pending = None
            self._call.half_closed()
