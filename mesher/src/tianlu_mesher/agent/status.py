"""The agent's status page: a very small HTTP server.

    GET /healthz   200 while the agent runs
    GET /readyz    200 once Envoy serves with a view of the catalogue, else 503
    GET /metrics   the agent's metrics, then Envoy's
    GET /status    JSON: revision, rung, age, refusals
    GET /routes    JSON: every service with its authorities and endpoints

One request a connection, 8 KiB and 5 s at most: it is for probes and people on this host.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from tianlu_mesher.errors import MesherError

logger = logging.getLogger(__name__)

_REQUEST_BYTES_MAX = 8 << 10
_REQUEST_TIMEOUT_SECONDS = 5.0
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Answer(NamedTuple):
    """A response: status, content and content type."""

    status: int
    content: bytes
    content_type: str = "text/plain; charset=utf-8"


Page = Callable[[], Awaitable[Answer]]


def json_answer(content: Any, status: int = 200) -> Answer:  # noqa: ANN401 -- whatever JSON can say
    """Return `content` as JSON."""
    text = json.dumps(content, indent=1, default=str)
    return Answer(status, text.encode() + b"\n", "application/json")


class StatusServer:
    """Serves `pages` by path on a socket that is listening already."""

    def __init__(self, listening: socket.socket, pages: Mapping[str, Page]) -> None:
        self._listening = listening
        self._pages = pages
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to serve."""
        self._server = await asyncio.start_server(
            self._converse, sock=self._listening, limit=_REQUEST_BYTES_MAX
        )

    async def stop(self) -> None:
        """Stop serving."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                answer = await self._answer(head)
                writer.write(_encode(answer))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            logger.debug("status.request.failed")
        finally:
            writer.close()

    async def _answer(self, head: bytes) -> Answer:
        method, _, rest = head.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        page = self._pages.get(path)
        if method != "GET":
            return json_answer({"error": "not_allowed", "message": "only GET is served"}, 405)
        if page is None:
            paths = sorted(self._pages)
            return json_answer({"error": "not_found", "message": f"served are {paths}"}, 404)
        try:
            return await page()
        except MesherError as error:
            return json_answer({"error": "unavailable", "message": str(error)}, 503)


def _encode(answer: Answer) -> bytes:
    return (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"content-type: {answer.content_type}\r\n"
        f"content-length: {len(answer.content)}\r\n"
        "connection: close\r\n\r\n"
    ).encode() + answer.content
