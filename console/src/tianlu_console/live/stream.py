"""One event stream as an ASGI response.

Source: HTML Standard, section 9.2 "Server-sent events" (field syntax, comments as heartbeats,
    `retry`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tianlu import ServiceKey
from tianlu_console.live.hub import LiveClient, LiveHub

EVENT_GAP_SECONDS: Final = 0.25
"""At most four batches a second go to one page, however fast the catalogue changes."""

HEARTBEAT_SECONDS: Final = 15.0
"""Below the usual 60 s after which proxies drop a silent connection."""

RECONNECT_MS: Final = 500

HEADERS: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


class EventStream(Response):
    """Sends a client's events until it leaves, the hub closes or the visitor may no longer see
    them.

    The client is in the hub exactly as long as this response is being sent.

    Args:
        service: the service whose instances the page shows, if any.
        missed: events to send at once.
        still_allowed: asked at every heartbeat: a stream must not outlive the session that opened
            it.
    """

    def __init__(
        self,
        hub: LiveHub,
        service: ServiceKey | None,
        missed: Iterable[tuple[str, int]],
        still_allowed: Callable[[], Awaitable[bool]],
    ) -> None:
        super().__init__(headers=HEADERS)
        # The length is not known; the base class has just declared it to be nothing.
        del self.headers["content-length"]
        self._hub = hub
        self._service = service
        self._missed = tuple(missed)
        self._still_allowed = still_allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream. Raises `Overloaded` before anything is sent if the hub takes no more
        clients.
        """
        with self._hub.client(self._service) as client:
            for event, revision in self._missed:
                client.post(event, revision)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            pump = asyncio.create_task(self._pump(client, send))
            leave = asyncio.create_task(_until_gone(receive))
            try:
                await asyncio.wait({pump, leave}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pump.cancel()
                leave.cancel()
                await asyncio.gather(pump, leave, return_exceptions=True)

    async def _pump(self, client: LiveClient, send: Send) -> None:
        async def write(body: bytes, *, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        loop = asyncio.get_running_loop()
        check_at = loop.time() + HEARTBEAT_SECONDS
        await write(f"retry: {RECONNECT_MS}\n\n".encode())
        while not self._hub.closed:
            await client.wait(max(0.0, check_at - loop.time()))
            if loop.time() >= check_at:
                if not await self._still_allowed():
                    break
                check_at = loop.time() + HEARTBEAT_SECONDS
                await write(b": heartbeat\n\n")
            events = client.take()
            if events:
                await write(
                    b"".join(encode_event(name, revision) for name, revision in events.items())
                )
                await asyncio.sleep(EVENT_GAP_SECONDS)
        await write(b"", more=False)


def encode_event(name: str, revision: int) -> bytes:
    """Return one event; its id lets a page that reconnects say what it has seen."""
    data = json.dumps({"revision": revision}, separators=(",", ":"))
    return f"event: {name}\nid: {revision}\ndata: {data}\n\n".encode()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
