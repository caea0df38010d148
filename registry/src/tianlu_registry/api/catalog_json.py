"""The catalogue over JSON, under /v1/: every rpc of tianlu.v1.Catalog as REST, and the watch as a
stream of lines or of server-sent events.

Names are those of the `.proto`, enums are by name, 64-bit integers are strings (ProtoJSON).
An error is ``{"error": CODE, "message": text, "field": path, "code": number}``; `field` is there
when one field is at fault, and it is the one that gRPC names.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import unquote

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tianlu._proto.v1 import catalog_pb2
from tianlu._proto.v1.catalog_pb2 import WatchCreate
from tianlu_registry.api.catalog_grpc import CatalogServicer
from tianlu_registry.api.catalog_json_routes import ROUTES, Route, match
from tianlu_registry.api.catalog_watch import JSON_LINES, SERVER_SENT_EVENTS, checked_filter
from tianlu_registry.api.errors import HTTP_STATUSES, error_status
from tianlu_registry.api.grpc_asgi import RpcContext, RpcError, StatusCode
from tianlu_registry.api.grpc_asgi.asgi import Receive, Scope, Send
from tianlu_registry.api.grpc_asgi.context import shielded
from tianlu_registry.api.grpc_asgi.sweeper import DisconnectSweeper
from tianlu_registry.api.http import ClientGone, HttpRequest, HttpResponse, respond
from tianlu_registry.api.json_decode import decode_json, fill
from tianlu_registry.catalog.wire import Encoded
from tianlu_registry.errors import Conflict, InvalidArgument, RequestTooLarge
from tianlu_registry.governance.subscriptions import Subscriptions

logger = logging.getLogger(__name__)

PREFIX: Final = "/v1/"
BODY_BYTES_MAX: Final = 256 * 1024
"""Far above the largest instance (16 KiB of metadata), far below what hurts."""

_CATALOG = catalog_pb2.DESCRIPTOR.services_by_name["Catalog"]
_REQUESTS = {rpc.name: GetMessageClass(rpc.input_type) for rpc in _CATALOG.methods}
_WATCH_QUERY = frozenset({"namespace", "service", "resume_revision", "subscriber"})
_NO_STORE = ((b"cache-control", b"no-store"),)


class CatalogJson:
    """An ASGI application for the paths under /v1/.

    Args:
        servicer: carries out the rpcs.
        subscriptions: for the watch.
        sweeper: notices that the caller of a watch has gone.
        check_watch: raises why the caller may not watch; None if everybody may.
    """

    def __init__(
        self,
        servicer: CatalogServicer,
        subscriptions: Subscriptions,
        sweeper: DisconnectSweeper,
        *,
        check_watch: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._check_watch = check_watch
        self._servicer = servicer
        self._subscriptions = subscriptions
        self._sweeper = sweeper

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Nothing that it raises is meant for anybody but the router."""
        request = HttpRequest(scope, receive)
        path = scope["path"].removeprefix(PREFIX)
        context = RpcContext(scope, send)
        try:
            if path == "watch" and request.method == "GET":
                await self._watch(request, context, send)
            else:
                await respond(send, await self._answer(request, path, context))
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001 - the request boundary
            await self._fail(error, context, send)

    async def _answer(self, request: HttpRequest, path: str, context: RpcContext) -> HttpResponse:
        found = [
            (route, names) for route in ROUTES if (names := match(route.path, path)) is not None
        ]
        chosen = next((each for each in found if each[0].method == request.method), None)
        if chosen is None:
            return _not_served(request, {route.method for route, _ in found})
        route, names = chosen
        message = await _request(route, names, request)
        answer = await getattr(self._servicer, route.rpc)(message, context)
        content = MessageToDict(
            answer.message() if isinstance(answer, Encoded) else answer,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        return _json(200, content)

    async def _watch(self, request: HttpRequest, context: RpcContext, send: Send) -> None:
        """Stream until the caller goes. The call's context lets the sweeper cancel it."""
        if self._check_watch is not None:
            await self._check_watch()
        create = _watch_create(request)
        wanted = checked_filter(create)
        accept = request.header(b"accept") or b""
        encoding, kind = (
            (SERVER_SENT_EVENTS, b"text/event-stream; charset=utf-8")
            if b"text/event-stream" in accept
            else (JSON_LINES, b"application/x-ndjson; charset=utf-8")
        )
        context.attach()
        self._sweeper.add(context, request.receive)
        try:
            with self._subscriptions.open(
                wanted, create.resume_revision, create.subscriber, context.peer
            ) as subscription:
                context.started = True
                headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                async with aclosing(subscription.frames(encoding)) as frames:
                    async for data in frames:
                        await shielded(_sent(send, data))
        except asyncio.CancelledError:
            if not context.gone:
                raise
        finally:
            context.detach()
            self._sweeper.discard(context)

    async def _fail(self, error: Exception, context: RpcContext, send: Send) -> None:
        if isinstance(error, OSError):
            return  # the caller is gone
        status, content = error_content(error)
        if status == 500:
            logger.error("request_crashed path=%s", context.scope["path"], exc_info=error)
        if context.started:
            await send({"type": "http.response.body", "body": b""})
            return
        await respond(send, _json(status, content))


def error_content(error: Exception) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the JSON of an error."""
    known = error_status(error) or RpcError(
        StatusCode.INTERNAL, f"internal error: {type(error).__name__}"
    )
    content: dict[str, Any] = {
        "error": known.code.name,
        "message": known.message,
        "code": int(known.code),
    }
    field, _, _ = known.message.partition(": ")
    if isinstance(error, InvalidArgument):
        content["field"] = error.field
    elif field == "body":
        content["field"] = field
    return _status_of(error, known), content


def _status_of(error: Exception, known: RpcError) -> int:
    """Return the HTTP status. Two are clearer in HTTP than their gRPC codes are."""
    if isinstance(error, Conflict):
        return 409
    if isinstance(error, RequestTooLarge) or known.message.startswith("body: is longer"):
        return 413
    return HTTP_STATUSES[known.code]


async def _request(route: Route, names: dict[str, str], request: HttpRequest) -> Message:
    """Put a request message together from path, query and body.

    Raises:
        InvalidArgument: an unknown or malformed field, or a body that contradicts the path.
    """
    message_class = _REQUESTS[route.rpc]
    query = _query(request, route.query)
    message = fill(message_class(), query)
    if route.body:
        message.MergeFrom(decode_json(await request.body(BODY_BYTES_MAX), message_class))
    for name, field in route.bind.items():
        _bind(message, field, unquote(names[name]))
    for field, value in route.fixed.items():
        setattr(message, field, value)
    return message


def _query(request: HttpRequest, known: frozenset[str]) -> dict[str, str]:
    """Return the query's parameters.

    Raises:
        InvalidArgument: one that this path does not have, or one given twice.
    """
    found: dict[str, str] = {}
    for name, values in request.query.items():
        if name not in known:
            usable = f"; it takes {', '.join(sorted(known))}" if known else ""
            raise InvalidArgument(name, f"is not a query parameter of this path{usable}")
        if len(values) > 1:
            raise InvalidArgument(name, "is given twice")
        found[name] = values[0]
    return found


def _bind(message: Message, path: str, value: str) -> None:
    """Set the field at `path` to what the URL says, which the body must not contradict."""
    *parents, name = path.split(".")
    target: Any = message
    for parent in parents:
        target = getattr(target, parent)
    given = getattr(target, name)
    bound = type(target)()
    fill(bound, {name: value})
    if given and given != getattr(bound, name):
        raise InvalidArgument(path, f"is {given!r} in the body but {value!r} in the path")
    setattr(target, name, getattr(bound, name))


def _watch_create(request: HttpRequest) -> WatchCreate:
    """Return the subscription that a query asks for; `service` may be a list with commas.

    A browser that reconnects says with Last-Event-ID what it holds.
    """
    query = _query(request, _WATCH_QUERY)
    content: dict[str, object] = {
        name: value for name, value in query.items() if name != "service" and value
    }
    if query.get("service"):
        content["services"] = query["service"].split(",")
    last = (request.header(b"last-event-id") or b"").decode("latin-1")
    if last and "resume_revision" not in content:
        content["resume_revision"] = last
    return fill(WatchCreate(), content)


def _not_served(request: HttpRequest, allowed: set[str]) -> HttpResponse:
    path = request.scope["path"]
    if not allowed:
        message = f"path: {path} is not served here"
        return _error(404, StatusCode.NOT_FOUND, message, "path")
    allow = ", ".join(sorted(allowed))
    message = f"method: {request.method} is not served at {path}, use {allow}"
    return _error(405, StatusCode.UNIMPLEMENTED, message, "method", ((b"allow", allow.encode()),))


def _error(
    status: int,
    code: StatusCode,
    message: str,
    field: str,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> HttpResponse:
    content = {"error": code.name, "message": message, "field": field, "code": int(code)}
    return _json(status, content, headers)


def _json(
    status: int, content: object, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> HttpResponse:
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()
    return HttpResponse(status, body + b"\n", headers=(*_NO_STORE, *headers))


def _sent(send: Send, data: bytes) -> asyncio.Future[None]:
    return asyncio.ensure_future(
        send({"type": "http.response.body", "body": data, "more_body": True})
    )
