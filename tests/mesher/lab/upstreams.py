"""Small real services: HTTP/1.1 and WebSocket with uvicorn, gRPC with grpcio, and one that can be
killed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Self

import grpc
import uvicorn

SERVICE = "lab.Echo"
ECHO = f"/{SERVICE}/Say"
COUNT = f"/{SERVICE}/Count"


def application(name: str) -> Any:
    """Return an ASGI application that says who it is and what it was asked."""

    async def app(scope: dict, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await _echo_websocket(name, receive, send)
        elif scope["path"] == "/events":
            await _events(send)
        else:
            await _answer(name, scope, receive, send)

    return app


async def _answer(name: str, scope: dict, receive: Any, send: Any) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    if scope["path"].startswith("/slow/"):
        await asyncio.sleep(float(scope["path"].removeprefix("/slow/")))
    status = int(scope["path"].removeprefix("/status/")) if "/status/" in scope["path"] else 200
    said = {
        "name": name,
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "headers": {key.decode(): value.decode() for key, value in scope["headers"]},
        "body_bytes": len(body),
    }
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})


async def _events(send: Any) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    with suppress(OSError, asyncio.CancelledError):
        for number in range(1000):
            event = f"data: {number}\n\n".encode()
            await send({"type": "http.response.body", "body": event, "more_body": True})
            await asyncio.sleep(0.02)


async def _echo_websocket(name: str, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": f"{name}: {message['text']}"})


class _QuietServer(uvicorn.Server):
    """uvicorn, without taking the test's signal handlers."""

    def capture_signals(self) -> Any:
        return nullcontext()


@asynccontextmanager
async def http_upstream(name: str, *, unix: Path | None = None) -> AsyncIterator[int]:
    """Serve `application(name)`; give its port (0 on a unix socket)."""
    async with asgi_upstream(application(name), unix=unix) as port:
        yield port


@asynccontextmanager
async def asgi_upstream(app: Any, *, unix: Path | None = None) -> AsyncIterator[int]:
    """Serve an ASGI application; give its port (0 on a unix socket)."""
    if unix is None:
        listening = socket.create_server(("127.0.0.1", 0))
    else:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(unix))
        listening.listen()
    config = uvicorn.Config(app, lifespan="off", log_level="error", ws="websockets-sansio")
    server = _QuietServer(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield 0 if unix else listening.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await task


@asynccontextmanager
async def grpc_upstream(
    name: str, *, target: str = "127.0.0.1:0", service: str = SERVICE
) -> AsyncIterator[int]:
    """Serve Say (unary), Count (a stream of ten) and Echo (both ways) on bytes; give the port."""

    async def say(request: bytes, _context: Any) -> bytes:
        return f"{name}: ".encode() + request

    async def count_up(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        for number in range(10):
            yield str(number).encode()

    async def echo(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    server = grpc.aio.server()
    methods = {
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Count": grpc.unary_stream_rpc_method_handler(count_up),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port(target)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


class UpstreamProcess:
    """An HTTP service in a process of its own, to be killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("killable.py")),
            self.name,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.port = int(await self.process.stdout.readline())
        return self

    async def kill(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
