"""What the shop's services share: serve on a port from the kernel, and register under it.

Each service is an ordinary FastAPI application. `run` binds a port, tells the registry once the
application serves, and takes its leave on SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

import tianlu

VERSION = os.environ.get("SHOP_VERSION", "1")


def caller() -> httpx.AsyncClient:
    """Return an HTTP client whose calls go through the mesher: http://orders.default/…"""
    return httpx.AsyncClient(proxy=os.environ["TIANLU_MESHER"], timeout=5.0, trust_env=False)


def run(service: str, app: FastAPI) -> None:
    """Serve `app` and register it as an instance of `service` until SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(service, app))


async def _run(service: str, app: FastAPI) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    server = _Server(uvicorn.Config(app, log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve([listener]))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with _registered(service, port):
        await stop.wait()
    server.should_exit = True
    await serving


@contextlib.asynccontextmanager
async def _registered(service: str, port: int) -> AsyncIterator[None]:
    endpoints = os.environ.get("TIANLU_ENDPOINTS", "127.0.0.1:8080").split(",")
    async with tianlu.AsyncClient(endpoints, name=f"{service} pid {os.getpid()}") as client:
        registration = await client.register(
            service,
            port=port,
            address="127.0.0.1",  # where it listens; the SDK would name this host
            version=VERSION,
            metadata={"pid": str(os.getpid()), "language": "python"},
        )
        _write_run_file(registration.instance.id, port)
        try:
            yield
        finally:
            await registration.deregister(drain_seconds=0.3)


def _write_run_file(instance: str, port: int) -> None:
    path = os.environ.get("SHOP_RUN_FILE")
    if path:
        addresses = {"http": f"http://127.0.0.1:{port}", "instance": instance}
        temporary = Path(path + ".tmp")
        temporary.write_text(json.dumps({"pid": os.getpid(), "addresses": addresses}))
        temporary.replace(path)


class _Server(uvicorn.Server):
    """Leaves signals to `_run`, which first takes leave of the registry."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
