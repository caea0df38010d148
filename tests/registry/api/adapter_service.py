"""A service with all four kinds of methods, for testing the adapter; also an ASGI application.

Loaded both by the tests (fake ASGI) and by Envoy (`registry.api.adapter_service:app`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from tianlu_registry.api.errors import error_status
from tianlu_registry.api.grpc_asgi import GrpcApp, RpcContext, RpcError, StatusCode
from tianlu_registry.api.http import HttpRequest, HttpResponse, HttpRouter, json_response
from tianlu_registry.errors import InvalidArgument

PACKAGE = "adapter.test"


def _service() -> ServiceDescriptor:
    file = FileDescriptorProto(name="adapter_test.proto", package=PACKAGE, syntax="proto3")
    text = file.message_type.add(name="Text")
    optional = FieldDescriptorProto.LABEL_OPTIONAL
    text.field.add(name="text", number=1, type=FieldDescriptorProto.TYPE_STRING, label=optional)
    text.field.add(name="count", number=2, type=FieldDescriptorProto.TYPE_INT64, label=optional)
    service = file.service.add(name="Echo")
    for name, client_streaming, server_streaming in (
        ("Say", False, False),
        ("Collect", True, False),
        ("Expand", False, True),
        ("Chat", True, True),
        ("Absent", False, False),
    ):
        service.method.add(
            name=name,
            input_type=f".{PACKAGE}.Text",
            output_type=f".{PACKAGE}.Text",
            client_streaming=client_streaming,
            server_streaming=server_streaming,
        )
    pool = DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName(f"{PACKAGE}.Echo")


SERVICE = _service()
Text: Any = GetMessageClass(SERVICE.methods_by_name["Say"].input_type)


class Echo:
    """What a request's text asks for happens; everything else is echoed."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.entered = 0

    async def Say(self, request: Any, context: RpcContext) -> Any:
        self.entered += 1
        await self._misbehave(request.text, context)
        return Text(text=request.text, count=request.count + 1)

    async def Collect(self, requests: AsyncIterator[Any], context: RpcContext) -> Any:
        texts = [request.text async for request in requests]
        return Text(text=",".join(texts), count=len(texts))

    async def Expand(self, request: Any, context: RpcContext) -> AsyncIterator[Any]:
        await self._misbehave(request.text, context)
        try:
            for number in range(request.count):
                yield Text(text=request.text, count=number)
            if request.text == "endless":
                await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.append("Expand")
            raise

    async def Chat(self, requests: AsyncIterator[Any], context: RpcContext) -> AsyncIterator[Any]:
        try:
            async for request in requests:
                await self._misbehave(request.text, context)
                yield request
        except asyncio.CancelledError:
            self.cancelled.append("Chat")
            raise

    async def _misbehave(self, text: str, context: RpcContext) -> None:
        if text == "metadata":
            sent = dict(context.metadata)
            await context.send_initial_metadata([("x-first", sent["x-text"])])
            context.set_trailing_metadata([("x-last-bin", sent["x-raw-bin"])])
        elif text == "sleep":
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                self.cancelled.append("Say")
                raise
        elif text == "block":
            time.sleep(60)
        elif text == "status":
            raise RpcError(StatusCode.ABORTED, "50% done: näh", details=[Text(text="more")])
        elif text == "registry":
            raise InvalidArgument("ports[0].number", "is 0; give 1 to 65535")
        elif text == "crash":
            raise ZeroDivisionError("secret")
        elif text == "exit":
            raise SystemExit(3)
        elif text == "interrupt":
            raise KeyboardInterrupt
        elif text == "oserror":
            raise ConnectionResetError("a handler's own connection")


def make_app(echo: Echo, **options: Any) -> GrpcApp:
    """Return an adapter that serves `echo`."""
    app = GrpcApp(error_status, **options)
    app.add(SERVICE, echo)
    return app


class ProcessApp:
    """The application for Envoy: the service, the launcher's pages and what the tests ask."""

    def __init__(self) -> None:
        self._echo = Echo()
        router = HttpRouter()
        router.add("GET", "/-/alive", self._alive)
        router.add("POST", "/-/drain", self._alive)
        router.add("GET", "/cancelled", self._cancelled)
        self._grpc = make_app(self._echo, fallback=router, sweep_interval_seconds=0.2)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._grpc(scope, receive, send)
            return
        while True:
            event = await receive()
            await send({"type": f"{event['type']}.complete"})
            if event["type"] == "lifespan.shutdown":
                return

    async def _alive(self, request: HttpRequest) -> HttpResponse:
        return json_response({"alive": True})

    async def _cancelled(self, request: HttpRequest) -> HttpResponse:
        return json_response(self._echo.cancelled)


app = ProcessApp()
