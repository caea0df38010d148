"""The supervisor's own small HTTP server, on a unix socket behind the gateway.

GET /healthz   200 while the supervisor runs
GET /readyz    200 when all parts serve, else 503; the body says which part is in which state
GET /metrics   the metrics of all parts, each sample with its part's name
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from tianlu_standalone.exposition import merge
from tianlu_standalone.plain_http import plain_client
from tianlu_standalone.process import PartProcess
from tianlu_standalone.supervisor import Supervisor

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

SCRAPE_TIMEOUT_SECONDS = 2.0


class StatusServer:
    """Serves the supervisor's view on a unix socket until `stop`."""

    def __init__(self, supervisor: Supervisor, socket: Path) -> None:
        self._supervisor = supervisor
        config = uvicorn.Config(
            self._application,
            uds=str(socket),
            log_level="warning",
            access_log=False,
            lifespan="off",
            interface="asgi3",  # a bound method looks like the older interface to it
            ws="none",
        )
        self._server = _QuietServer(config)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve in the background."""
        self._task = asyncio.create_task(self._server.serve())

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task

    async def _application(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] not in {"GET", "HEAD"}:
            await _answer(send, 405, _problem("only GET is served here"))
        elif path == "/healthz":
            await _answer(send, 200, b'{"status":"up"}\n')
        elif path == "/readyz":
            ready = self._supervisor.ready()
            parts = {
                name: part["state"]
                for name, part in self._supervisor.describe()["parts"].items()
                if not part["demo"]
            }
            body = json.dumps({"ready": ready, "parts": parts}) + "\n"
            await _answer(send, 200 if ready else 503, body.encode())
        elif path == "/metrics":
            text = await self._metrics()
            await _answer(send, 200, text.encode(), b"text/plain; version=0.0.4; charset=utf-8")
        else:
            await _answer(send, 404, _problem(f"no such page: {path}"))

    async def _metrics(self) -> str:
        processes = [process for process in self._supervisor.processes if process.part.probe]
        texts = await asyncio.gather(*(_scrape(process) for process in processes))
        scraped = {
            process.part.name: text
            for process, text in zip(processes, texts, strict=True)
            if text is not None
        }
        own = [
            "# HELP tianlu_part_serving Whether a part serves.",
            "# TYPE tianlu_part_serving gauge",
        ]
        restarts = [
            "# HELP tianlu_part_restarts_total How often a part was started again.",
            "# TYPE tianlu_part_restarts_total counter",
        ]
        for name, part in self._supervisor.describe()["parts"].items():
            own.append(f'tianlu_part_serving{{name="{name}"}} {int(part["state"] == "serving")}')
            restarts.append(f'tianlu_part_restarts_total{{name="{name}"}} {part["restarts"]}')
        return merge({"supervisor": "\n".join(own + restarts), **scraped})


class _QuietServer(uvicorn.Server):
    """Leaves signals to the supervisor."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _scrape(process: PartProcess) -> str | None:
    """Return a part's metrics, or None if it has none to give now."""
    probe = process.part.probe
    if probe is None:
        return None
    base = "http://part" if probe.socket else process.addresses.get(probe.address_key, "")
    prefix = probe.path.rpartition("/")[0]
    try:
        async with plain_client(probe.socket, SCRAPE_TIMEOUT_SECONDS) as client:
            answer = await client.get(f"{base}{prefix}/metrics")
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return answer.text if answer.status_code == httpx.codes.OK else None


def _problem(message: str) -> bytes:
    return json.dumps({"message": message}).encode() + b"\n"


async def _answer(
    send: Send, status: int, body: bytes, content_type: bytes = b"application/json"
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
