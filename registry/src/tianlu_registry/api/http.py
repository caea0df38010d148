"""Plain HTTP beside gRPC: a router over ASGI, whole bodies in, whole answers out.

Errors have one shape everywhere, that of etcd's JSON gateway:
``{"error": text, "code": gRPC status code, "message": text, "details": [...]}``.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from google.protobuf.json_format import MessageToDict

from tianlu_registry.api.errors import HTTP_STATUSES, error_status
from tianlu_registry.api.grpc_asgi import REQUEST_BYTES_MAX, RpcError, StatusCode, is_disconnect
from tianlu_registry.api.grpc_asgi.asgi import AsgiApp, Receive, Scope, Send
from tianlu_registry.api.web_access import Misdirected, WebAccess

_log = logging.getLogger(__name__)


class ClientGone(Exception):
    """The caller went away before its request was complete."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as a handler of the router sees it. The body has not been read."""

    scope: Scope
    receive: Receive

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def query(self) -> Mapping[str, list[str]]:
        """The query's parameters, each with all its values, empty ones too."""
        return parse_qs(
            self.scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True
        )

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of that lower-case name."""
        return next((value for key, value in self.scope["headers"] if key == name), None)

    async def body(self, bytes_max: int = REQUEST_BYTES_MAX) -> bytes:
        """Read the body.

        Raises:
            RpcError: RESOURCE_EXHAUSTED, it is longer than `bytes_max`.
            ClientGone: the caller went away.
        """
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            event = await asyncio.shield(self.receive())
            if event["type"] == "http.disconnect":
                raise ClientGone
            parts.append(event.get("body", b""))
            size += len(parts[-1])
            if size > bytes_max:
                raise RpcError(
                    StatusCode.RESOURCE_EXHAUSTED, f"body: is longer than {bytes_max} bytes"
                )
            more = bool(event.get("more_body"))
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())


def json_response(content: object, status: int = 200) -> HttpResponse:
    """Return `content` as compact JSON."""
    return HttpResponse(status, json.dumps(content, separators=(",", ":")).encode())


def text_response(text: str, status: int = 200) -> HttpResponse:
    return HttpResponse(
        status,
        text.encode(),
        "text/plain; charset=utf-8",
        ((b"x-content-type-options", b"nosniff"),),
    )


def error_response(error: RpcError) -> HttpResponse:
    """Return `error` in the one shape."""
    return json_response(error_content(error), HTTP_STATUSES[error.code])


def error_content(error: RpcError) -> dict[str, Any]:
    # In etcd's order, for whoever compares texts.
    content: dict[str, Any] = {
        "error": error.message,
        "code": int(error.code),
        "message": error.message,
    }
    if error.details:
        content["details"] = [
            {"@type": f"type.googleapis.com/{detail.DESCRIPTOR.full_name}", **MessageToDict(detail)}
            for detail in error.details
        ]
    return content


HttpHandler = Callable[[HttpRequest], Awaitable[HttpResponse]]


async def respond(send: Send, response: HttpResponse) -> None:
    """Send a whole answer."""
    headers = [
        (b"content-type", response.content_type.encode("ascii")),
        (b"content-length", b"%d" % len(response.body)),
        *response.headers,
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


class HttpRouter:
    """Routes by path and method; other ASGI applications can be mounted under a prefix.

    Args:
        access: whom it answers among browsers' pages.
    """

    def __init__(self, access: WebAccess | None = None) -> None:
        self._access = access or WebAccess()
        self._routes: dict[str, dict[str, HttpHandler]] = {}
        self._streams: dict[tuple[str, str], AsgiApp] = {}
        self._mounts: dict[str, AsgiApp] = {}

    def add(self, method: str, path: str, handler: HttpHandler) -> None:
        """Answer `method` on exactly `path` with what the handler returns."""
        self._routes.setdefault(path, {})[method] = handler

    def add_stream(self, method: str, path: str, app: AsgiApp) -> None:
        """Leave `method` on exactly `path` to an ASGI application that sends as it goes."""
        self._streams[method, path] = app

    def mount(self, prefix: str, app: AsgiApp) -> None:
        """Leave every path below `prefix`, which ends in ``/``, to an ASGI application."""
        self._mounts[prefix] = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = self._access.sending(scope, send)
        try:
            self._access.check(scope)
            app = self._application(scope)
            if self._access.is_preflight(scope):
                await respond(send, HttpResponse(200, b"", "text/plain; charset=utf-8"))
            elif app is not None:
                await app(scope, receive, send)
            else:
                await respond(send, await self._answer(HttpRequest(scope, receive)))
        except ClientGone:
            return
        except BaseException as error:  # noqa: BLE001 - the request boundary, as in grpc_asgi
            await self._fail(error, scope, send)

    def _application(self, scope: Scope) -> AsgiApp | None:
        path = scope["path"]
        stream = self._streams.get((scope["method"], path))
        if stream is not None:
            return stream
        return next((app for prefix, app in self._mounts.items() if path.startswith(prefix)), None)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        path = request.scope["path"]
        methods = self._routes.get(path, {})
        allowed = {*methods, *(method for method, known in self._streams if known == path)}
        if not allowed:
            return error_response(
                RpcError(StatusCode.NOT_FOUND, f"path: {path} is not served here")
            )
        handler = methods.get(request.method)
        if handler is None:
            allow = ", ".join(sorted(allowed))
            content = error_content(
                RpcError(
                    StatusCode.UNIMPLEMENTED,
                    f"method: {request.method} is not served at {path}, use {allow}",
                )
            )
            body = json.dumps(content, separators=(",", ":")).encode()
            return HttpResponse(405, body, headers=((b"allow", allow.encode()),))
        return await handler(request)

    async def _fail(self, error: BaseException, scope: Scope, send: Send) -> None:
        if is_disconnect(error):
            return
        status = error_status(error) if isinstance(error, Exception) else None
        if status is None:
            if not isinstance(error, asyncio.CancelledError):
                _log.error(
                    "request_crashed path=%s error=%s",
                    scope["path"],
                    type(error).__name__,
                    exc_info=error,
                )
            status = RpcError(StatusCode.INTERNAL, f"internal error: {type(error).__name__}")
        response = error_response(status)
        if isinstance(error, Misdirected):
            response = text_response(f"{error.message}\n", 421)
        try:
            await respond(send, response)
        except Exception as unsent:  # noqa: BLE001 - the answer had begun or the caller is gone
            _log.debug("error_unsent path=%s reason=%s", scope["path"], unsent)
