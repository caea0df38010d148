"""The delta ADS server: one stream for each connected Envoy, on a unix socket.

The shell around `DeltaSession`. A stream has two tasks: one reads requests into the session, the
other sends what the session says, whenever a request came, a newer snapshot was published, or
time is up. Snapshots are not queued: a stream sees the newest one only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic

import grpc

from tianlu_mesher.resources.snapshot import XdsSnapshot
from tianlu_mesher.xds.ledger import Verdict
from tianlu_mesher.xds.messages import METHOD, DeltaRequest, decode_request, encode_response
from tianlu_mesher.xds.session import DEFAULT_LIMITS, DeltaSession, SessionLimits

logger = logging.getLogger(__name__)

_SERVICE, _METHOD_NAME = METHOD.strip("/").split("/")
_STOP_GRACE_SECONDS = 0.2
_MESSAGE_BYTES_MAX = 64 << 20  # one assignment of 100,000 endpoints has about 15 MB


_Context = grpc.aio.ServicerContext[bytes, bytes]


class _Stream:
    """One connected Envoy."""

    def __init__(self, limits: SessionLimits) -> None:
        self.session = DeltaSession(limits)
        self.changed = asyncio.Event()


class AdsServer:
    """Serves the newest published snapshot to every Envoy that connects.

    Args:
        socket_path: the unix socket; at most 100 bytes long, its directory exists.
        on_verdict: called with every ACK and NACK.
        on_settled: called with a revision once every connected Envoy has all of it in effect.
    """

    def __init__(
        self,
        socket_path: Path,
        *,
        on_verdict: Callable[[Verdict], None],
        on_settled: Callable[[int], None],
        limits: SessionLimits = DEFAULT_LIMITS,
    ) -> None:
        self._socket_path = socket_path
        self._on_verdict = on_verdict
        self._on_settled = on_settled
        self._limits = limits
        self._snapshot: XdsSnapshot | None = None
        self._told: int | None = None
        self._streams: set[_Stream] = set()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen. A socket left behind by a process that died is replaced."""
        server = grpc.aio.server(
            options=[
                ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
                ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
            ]
        )
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
            self._serve
        )
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE, {_METHOD_NAME: handler}),)
        )
        server.add_insecure_port(f"unix:{self._socket_path}")
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """End all streams. Envoy keeps what it has, and connects again when somebody serves."""
        if self._server is not None:
            await self._server.stop(_STOP_GRACE_SECONDS)
            self._server = None

    def publish(self, snapshot: XdsSnapshot) -> None:
        """Let every Envoy have `snapshot`, which must be consistent. Returns at once."""
        self._snapshot = snapshot
        for stream in self._streams:
            stream.session.offer(snapshot)
            stream.changed.set()

    @property
    def connected(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    @property
    def ever_settled(self) -> bool:
        """Whether some view has been wholly in effect since we began to serve."""
        return self._told is not None

    @property
    def settled_revision(self) -> int | None:
        """The newest revision that every connected Envoy has wholly in effect, if there is one."""
        revisions = [stream.session.settled_revision for stream in self._streams]
        known = [revision for revision in revisions if revision is not None]
        return min(known) if known and len(known) == len(revisions) else None

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Type and name of every resource that some Envoy refuses."""
        return tuple(sorted({each for stream in self._streams for each in stream.session.refused}))

    def _note_settled(self) -> None:
        settled = self.settled_revision
        if settled is not None and settled != self._told:
            self._told = settled
            self._on_settled(settled)

    async def _serve(self, requests: AsyncIterable[bytes], context: _Context) -> None:
        stream = _Stream(self._limits)
        if self._snapshot is not None:
            stream.session.offer(self._snapshot)
        self._streams.add(stream)
        logger.info("xds.stream.started streams=%d", len(self._streams))
        try:
            async with asyncio.TaskGroup() as tasks:
                sender = tasks.create_task(self._send(stream, context))
                await self._read(stream, requests)
                sender.cancel()
        finally:
            self._streams.discard(stream)
            logger.info("xds.stream.complete streams=%d", len(self._streams))

    async def _read(self, stream: _Stream, requests: AsyncIterable[bytes]) -> None:
        async for content in requests:
            self._take(stream, decode_request(content))
            stream.changed.set()

    def _take(self, stream: _Stream, request: DeltaRequest) -> None:
        verdict = stream.session.receive(request)
        if verdict is not None:
            self._on_verdict(verdict)

    async def _send(self, stream: _Stream, context: _Context) -> None:
        while True:
            stream.changed.clear()
            step = stream.session.poll(monotonic())
            for response in step.responses:
                await context.write(encode_response(response))
            self._note_settled()
            timeout = None if step.wake_at is None else max(0.0, step.wake_at - monotonic())
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await stream.changed.wait()
