"""A registry node that answers as a test tells it to, over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from tianlu._rpc import Method

Answer = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]


class FakeNode(grpc.GenericRpcHandler):
    """Serves one unary method; `calls` counts what reached it."""

    def __init__(self, method: Method[Any, Any], answer: Answer) -> None:
        self.calls = 0
        self.endpoint = ""
        self._method = method
        self._answer = answer
        self._server = grpc.aio.server()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != self._method.path:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self._serve, self._method.request.FromString, self._method.response.SerializeToString
        )

    async def _serve(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        self.calls += 1
        return await self._answer(request, context)

    async def start(self) -> FakeNode:
        self._server.add_generic_rpc_handlers((self,))
        self.endpoint = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def stop(self) -> None:
        """Break every connection at once."""
        await self._server.stop(None)


@asynccontextmanager
async def nodes(method: Method[Any, Any], *answers: Answer) -> AsyncIterator[list[FakeNode]]:
    """Run a node for each answer."""
    running = [await FakeNode(method, answer).start() for answer in answers]
    try:
        yield running
    finally:
        for node in running:
            await node.stop()


def good(response: Any) -> Answer:
    async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
        return response

    return answer


def late(response: Any, seconds: float) -> Answer:
    async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
        await asyncio.sleep(seconds)
        return response

    return answer


def refusing(code: grpc.StatusCode, text: str) -> Answer:
    async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
        await context.abort(code, text)

    return answer


SILENT_SECONDS = 60.0


def silent() -> Answer:
    return late(None, SILENT_SECONDS)
