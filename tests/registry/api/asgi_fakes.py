"""A scripted ASGI server for one call: what the client sends, and what the application answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import unquote

from tianlu_registry.api.grpc_asgi.frames import FrameBuffer, frame


class FakeCall:
    """One HTTP request. Events given at the start or by `client_sends` come out of `receive`; when
    they are used up it waits, as the ASGI specification has it."""

    def __init__(
        self,
        path: str,
        body: Iterable[bytes] = (),
        *,
        headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/grpc"),),
        reads_trailers: bool = True,
        half_close: bool = True,
        method: str = "POST",
        query: bytes = b"",
    ) -> None:
        self.scope = {
            "type": "http",
            "http_version": "2",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": [*headers, *([(b"te", b"trailers")] if reads_trailers else [])],
            "client": ("198.51.100.7", 4711),
            "extensions": {},
        }
        self.events: list[dict[str, Any]] = []
        self.send_error: Exception | None = None
        self.send_blocked: asyncio.Event | None = None
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        chunks = list(body)
        for number, chunk in enumerate(chunks, start=1):
            self.client_sends(chunk, last=half_close and number == len(chunks))
        if not chunks and half_close:
            self.client_sends(b"", last=True)

    def client_sends(self, data: bytes, *, last: bool = False) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": data, "more_body": not last})

    def client_disconnects(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        return await self._incoming.get()

    async def send(self, event: Any) -> None:
        if self.send_error is not None:
            raise self.send_error
        self.events.append(dict(event))
        if self.send_blocked is not None:
            await self.send_blocked.wait()

    async def run(self, app: Any) -> FakeCall:
        """Run the application to its end, bounded."""
        async with asyncio.timeout(5):
            await app(self.scope, self.receive, self.send)
        return self

    # The answer

    @property
    def body(self) -> bytes:
        return b"".join(event["body"] for event in self.events if event["type"].endswith("body"))

    @property
    def status(self) -> int:
        return int(self.events[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.events[0]["headers"])

    @property
    def trailers(self) -> dict[bytes, bytes]:
        assert self.events[-1]["type"] == "http.response.trailers", self.events
        return dict(self.events[-1]["headers"])

    @property
    def code(self) -> int:
        return int(self.trailers[b"grpc-status"])

    @property
    def message(self) -> str:
        return unquote(self.trailers.get(b"grpc-message", b"").decode("ascii"))

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        buffer = FrameBuffer(1 << 30)
        buffer.feed(self.body)
        found = []
        while (one := buffer.next_message()) is not None:
            found.append(one)
        buffer.check_finished()
        return found


def framed(message: Any) -> bytes:
    return frame(message.SerializeToString())
