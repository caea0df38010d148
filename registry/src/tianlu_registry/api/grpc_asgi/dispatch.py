"""Calls to handlers: the ASGI application that a set of protobuf services makes.

Handlers are methods named as in the service's descriptor:

    async def Put(self, request, context) -> PutResponse                  one message each way
    async def LeaseKeepAlive(self, requests, context): yield response     streams, of messages or of
                                                                          lists of them; also as
    async def Watch(self, requests, context) -> None                      a coroutine that writes
                                                                          through the context

Nothing that a handler raises leaves this module, not even SystemExit: it would end the event
loop's thread and leave a server that accepts and never answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tianlu_registry.api.grpc_asgi.asgi import AsgiApp, Event, Receive, Scope, Send
from tianlu_registry.api.grpc_asgi.context import PLAIN_START, RpcContext
from tianlu_registry.api.grpc_asgi.reader import Disconnected, RequestStream, parse, read_one
from tianlu_registry.api.grpc_asgi.status import RpcError, StatusCode, trailers
from tianlu_registry.api.grpc_asgi.sweeper import DisconnectSweeper

_log = logging.getLogger(__name__)

_OK_HEADER = (b"grpc-status", b"0")
_OK_TRAILERS: Event = {"type": "http.response.trailers", "headers": [_OK_HEADER]}
_END_OF_BODY: Event = {"type": "http.response.body", "body": b""}

REQUEST_OVERHEAD_BYTES = 512 * 1024
"""What a message may have beyond the largest request, so that one that is a little too large is
refused by whoever knows why. Source: etcd server/etcdserver/api/v3rpc/grpc.go."""

REQUEST_BYTES_MAX = 1536 * 1024 + REQUEST_OVERHEAD_BYTES
"""Default bound of one message."""


@dataclass(slots=True)
class Method:
    """One rpc: its handler and how its calls have ended."""

    service: str
    name: str
    handler: Callable[[Any, RpcContext], Any]
    parser: Callable[[bytes], Message]
    client_streaming: bool
    server_streaming: bool
    started: int = 0
    ended: dict[StatusCode, int] = field(default_factory=lambda: dict.fromkeys(StatusCode, 0))

    @property
    def kind(self) -> str:
        """The label that gRPC's Prometheus metrics use."""
        if self.client_streaming:
            return "bidi_stream" if self.server_streaming else "client_stream"
        return "server_stream" if self.server_streaming else "unary"


class GrpcApp:
    """Serves protobuf services over ASGI.

    Args:
        error_status: says how an exception of the handlers ends a call; None for one it does not
            know, which is then logged with its stack and answered with UNKNOWN and no more than
            its type: what a stranger's error text says is not for the caller.
        fallback: serves the paths of no method, unless the request says that it is gRPC.
        request_bytes_max: largest request message, before and after decompression.
        sweep_interval_seconds: see `DisconnectSweeper`.
    """

    def __init__(
        self,
        error_status: Callable[[Exception], RpcError | None],
        *,
        fallback: AsgiApp | None = None,
        request_bytes_max: int = REQUEST_BYTES_MAX,
        sweep_interval_seconds: float = 5.0,
    ) -> None:
        self._error_status = error_status
        self.request_bytes_max: Final = request_bytes_max
        self._fallback = fallback
        self.sweeper = DisconnectSweeper(sweep_interval_seconds)
        self._streams: set[RpcContext] = set()
        self._drained_with: Exception | None = None
        self._methods: dict[str, Method] = {}
        self._services: dict[str, ServiceDescriptor] = {}

    def add(self, service: ServiceDescriptor, implementation: object) -> None:
        """Serve `service`; methods that `implementation` lacks answer UNIMPLEMENTED."""
        self._services[service.full_name] = service
        for descriptor in service.methods:
            handler = getattr(implementation, descriptor.name, None)
            if handler is not None:
                path = f"/{service.full_name}/{descriptor.name}"
                self._methods[path] = _method(descriptor, handler)

    def drain(self, error: Exception) -> None:
        """End every streaming call with `error`, and refuse new ones with it.

        A stream that is open when its connection closes looks like a broken server to clients;
        one that has ended makes them look for another. Calls of one message go on.
        """
        self._drained_with = error
        for context in tuple(self._streams):
            context.abort(error)

    def opened(self, context: RpcContext) -> None:
        """End this streaming call too when draining, or now; it came in otherwise than as gRPC.

        Args:
            context: attached to the task that serves the call; `closed` at its end.
        """
        self._streams.add(context)
        if self._drained_with is not None:
            context.abort(self._drained_with)

    def closed(self, context: RpcContext) -> None:
        """A call that was `opened` has ended."""
        self._streams.discard(context)

    @property
    def methods(self) -> dict[str, Method]:
        """Every method served, by its path."""
        return self._methods

    @property
    def services(self) -> dict[str, ServiceDescriptor]:
        """Every service added, by its full name."""
        return self._services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = self._methods.get(scope["path"])
        if method is None:
            await self._serve_other(scope, receive, send)
            return
        context = RpcContext(scope, send)
        method.started += 1
        try:
            _check_speaks_grpc(context)
            if method.client_streaming or method.server_streaming:
                await self._serve_stream(method, context, receive, send)
            else:
                await self._serve_unary(method, context, receive, send)
        except BaseException as error:  # noqa: BLE001 - the request boundary; see the module's docstring
            await self._end_with(error, method, context, send)
        finally:
            context.detach()
            self.sweeper.discard(context)
            self._streams.discard(context)

    async def _serve_unary(
        self, method: Method, context: RpcContext, receive: Receive, send: Send
    ) -> None:
        """The hot path: everything here happens for every Put and Range."""
        message = await read_one(receive, context, self.request_bytes_max)
        request = parse(method.parser, message)
        context.attach()
        self.sweeper.add(context, receive)
        response = await method.handler(request, context)
        context.detach()
        body = context.frame(response.SerializeToString())
        if not context.started:
            await context.start()
        await send({"type": "http.response.body", "body": body})
        method.ended[StatusCode.OK] += 1
        await send(_ok_trailers(context))

    async def _serve_stream(
        self, method: Method, context: RpcContext, receive: Receive, send: Send
    ) -> None:
        if self._drained_with is not None:
            raise self._drained_with
        request: Message | RequestStream[Any]
        if method.client_streaming:
            context.attach()
            self._streams.add(context)
            request = RequestStream(
                receive,
                context,
                method.parser,
                self.request_bytes_max,
                lambda: self.sweeper.add(context, receive),
            )
        else:
            message = await read_one(receive, context, self.request_bytes_max)
            request = parse(method.parser, message)
            # Not before: a cancelled `receive` would confuse the server.
            context.attach()
            self.opened(context)
            self.sweeper.add(context, receive)
        await _run_stream_handler(method, request, context)
        context.detach()
        if not context.started:
            await context.start()
        await send(_END_OF_BODY)
        method.ended[StatusCode.OK] += 1
        await send(_ok_trailers(context))

    async def _end_with(
        self, error: BaseException, method: Method, context: RpcContext, send: Send
    ) -> None:
        """Answer a call whose handler did not end well; swallow what must not travel further."""
        context.detach()
        if isinstance(error, Disconnected) or context.gone or is_disconnect(error):
            method.ended[StatusCode.CANCELLED] += 1
            return
        status = self._status_of(context.aborted or error, method, context)
        method.ended[status.code] += 1
        await _send_status(context, send, status)

    def _status_of(self, error: BaseException, method: Method, context: RpcContext) -> RpcError:
        if context.expired:
            return RpcError(StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
        if isinstance(error, RpcError):
            return error
        if isinstance(error, asyncio.CancelledError):
            return RpcError(StatusCode.UNAVAILABLE, "the server is stopping")
        if isinstance(error, Exception):
            known = self._error_status(error)
            if known is not None:
                return known
        _log.error(
            "call_crashed service=%s method=%s error=%s",
            method.service,
            method.name,
            type(error).__name__,
            exc_info=error,
        )
        return RpcError(StatusCode.UNKNOWN, f"internal error: {type(error).__name__}")

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._fallback is not None and not is_grpc(scope):
            await self._fallback(scope, receive, send)
            return
        status = self._unknown_method(scope["path"])
        await _send_status(RpcContext(scope, send), send, status)

    def _unknown_method(self, path: str) -> RpcError:
        service, _, name = path.lstrip("/").rpartition("/")
        known = service in self._services
        what = f"method {name} for service {service}" if known else f"service {service}"
        return RpcError(StatusCode.UNIMPLEMENTED, f"unknown {what}")


def _method(descriptor: MethodDescriptor, handler: Callable[[Any, RpcContext], Any]) -> Method:
    return Method(
        service=descriptor.containing_service.full_name,
        name=descriptor.name,
        handler=handler,
        parser=GetMessageClass(descriptor.input_type).FromString,
        client_streaming=descriptor.client_streaming,
        server_streaming=descriptor.server_streaming,
    )


async def _run_stream_handler(
    method: Method, request: Message | RequestStream[Any], context: RpcContext
) -> None:
    """Run the handler, whichever of its three forms it has, and send what it gives."""
    running = method.handler(request, context)
    if isinstance(running, AsyncGenerator):
        async with aclosing(running):
            async for response in running:
                messages = response if isinstance(response, list) else [response]
                await context.write(*messages)
        return
    response = await running
    if response is not None:
        await context.write(response)


def _ok_trailers(context: RpcContext) -> Event:
    headers = context.trailing_headers
    if not headers:
        return _OK_TRAILERS
    return {"type": "http.response.trailers", "headers": [_OK_HEADER, *headers]}


async def send_error(scope: Scope, send: Send, error: RpcError) -> None:
    """End a gRPC call with `error` before anything else was done for it."""
    await _send_status(RpcContext(scope, send), send, error)


async def _send_status(context: RpcContext, send: Send, status: RpcError) -> None:
    """End the call with `status`, with real trailers even when nothing was sent before: not every
    ASGI server can put a status into the response headers."""
    try:
        if not context.started:
            context.started = True
            if not context.speaks_grpc or context.scope["http_version"] != "2":
                await _send_unsupported(context, send)
                return
            if not context.reads_trailers:
                await _send_status_in_headers(context, send, status)
                return
            await send(PLAIN_START)
        await send(_END_OF_BODY)
        headers = trailers(status) + context.trailing_headers
        await send({"type": "http.response.trailers", "headers": headers})
    except Exception as error:  # noqa: BLE001 - the answer's last try; nobody is left to tell
        _log.debug("status_unsent path=%s error=%s", context.scope["path"], error)


async def _send_status_in_headers(context: RpcContext, send: Send, status: RpcError) -> None:
    """Tell a caller who gets no trailers. Source: PROTOCOL-HTTP2.md, "Trailers-Only"."""
    headers = [(b"content-type", b"application/grpc"), *trailers(status)]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    await send({**start, "headers": headers + context.trailing_headers})
    await send(_END_OF_BODY)


async def _send_unsupported(context: RpcContext, send: Send) -> None:
    """Tell a caller that does not speak gRPC. Source: PROTOCOL-HTTP2.md, "Content-Type"."""
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    status, problem = 415, b"content-type: must be application/grpc on this path"
    if context.speaks_grpc:
        status, problem = 505, b"gRPC needs HTTP/2"
    await send({"type": "http.response.start", "status": status, "headers": headers})
    text = problem + b"; JSON is served under /v3/ and /v1/\n"
    await send({"type": "http.response.body", "body": text})


def _check_speaks_grpc(context: RpcContext) -> None:
    """Refuse a call without gRPC's content-type. A browser posts any bytes to any site for any
    page, but this type only with that site's leave, which nobody gets here. And one that could not
    be told how it ended, before it does anything.

    Raises:
        RpcError: INVALID_ARGUMENT; `_send_status` makes it HTTP's 415 or 505. INTERNAL, it takes no
            trailers.
    """
    if not context.speaks_grpc or context.scope["http_version"] != "2":
        raise RpcError(StatusCode.INVALID_ARGUMENT, "content-type: must be application/grpc")
    if not context.reads_trailers:
        raise RpcError(
            StatusCode.INTERNAL, "te: must be trailers, or a proxy on the way loses the status"
        )


def is_grpc(scope: Scope) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"application/grpc")
        for name, value in scope["headers"]
    )


def is_disconnect(error: BaseException) -> bool:
    """Whether the server says that the caller is gone. ASGI: `send` raises an OSError then; pyvoy
    names its own `ClientDisconnectedError`, which must not be mistaken for a handler's OSError."""
    return isinstance(error, OSError) and "Disconnect" in type(error).__name__
