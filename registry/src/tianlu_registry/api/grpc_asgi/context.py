"""What a handler knows and decides about its call: metadata, deadline, peer, and its answer's
frames."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from google.protobuf.message import Message

from tianlu_registry.api.grpc_asgi.asgi import Event, Scope, Send
from tianlu_registry.api.grpc_asgi.compression import (
    ACCEPTED,
    COMPRESS_FROM_BYTES,
    can_compress,
    compress,
)
from tianlu_registry.api.grpc_asgi.frames import pack_prefix
from tianlu_registry.api.grpc_asgi.metadata import (
    Metadata,
    RawHeaders,
    decode_metadata,
    encode_metadata,
    parse_timeout_seconds,
)
from tianlu_registry.api.grpc_asgi.status import RpcError, StatusCode

_HEADERS: RawHeaders = [(b"content-type", b"application/grpc")]
PLAIN_START: Event = {
    "type": "http.response.start",
    "status": 200,
    "headers": _HEADERS,
    "trailers": True,
}
"""The start of an answer without initial metadata, shared by all calls: servers only read it."""

_FLUSH: Event = {"type": "http.response.body", "body": b"", "more_body": True}


class RpcContext:
    """One call. Made by the adapter, handed to the handler, dead when the handler returns.

    Attributes:
        scope: the ASGI scope, for what has no name here.
        deadline: point in monotonic time at which the caller gives up; None for never.
        encoding: what the request's compressed messages are compressed with.
        started: response headers have been handed to the server.
        speaks_grpc: the request's content-type says that it is gRPC.
        reads_trailers: the caller has said so, as gRPC demands. Nobody else gets trailers from the
            server below, and with them the status.
        expired, gone, aborted: the deadline has passed; the caller has disconnected; what the
            call was ended with from outside. Each of them cancels the handler's task.
    """

    __slots__ = (
        "_send",
        "_task",
        "_timer",
        "_trailing_metadata",
        "aborted",
        "deadline",
        "encoding",
        "expired",
        "gone",
        "malformed_timeout",
        "reads_trailers",
        "received",
        "scope",
        "speaks_grpc",
        "started",
    )

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self._send = send
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._trailing_metadata: Metadata = ()
        self.deadline: float | None = None
        self.encoding: bytes | None = None
        self.expired = self.gone = self.started = False
        self.speaks_grpc = self.reads_trailers = False
        self.malformed_timeout: bytes | None = None
        self.aborted: Exception | None = None
        self.received: asyncio.Future[Event] | None = None  # owned by the disconnect sweeper
        for name, value in scope["headers"]:
            if name == b"grpc-timeout":
                self._read_timeout(value)
            elif name == b"grpc-encoding":
                self.encoding = value
            elif name == b"content-type":
                self.speaks_grpc = value.startswith(b"application/grpc")
            elif name == b"te":
                self.reads_trailers = value == b"trailers"

    def _read_timeout(self, value: bytes) -> None:
        seconds = parse_timeout_seconds(value)
        if seconds is None:
            self.malformed_timeout = value
        else:
            self.deadline = time.monotonic() + seconds

    # What the caller sent

    @property
    def metadata(self) -> list[tuple[str, str | bytes]]:
        """The caller's metadata; values of ``-bin`` keys are bytes."""
        return decode_metadata(self.scope["headers"])

    @property
    def peer(self) -> str:
        """Where the call comes from, as ``host:port``; ``unix`` for a Unix socket."""
        client = self.scope.get("client")
        return f"{client[0]}:{client[1]}" if client and client[0] else "unix"

    # The answer

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Send `metadata` with the status at the end of the call, replacing what was set before."""
        self._trailing_metadata = metadata

    @property
    def trailing_headers(self) -> RawHeaders:
        return encode_metadata(self._trailing_metadata) if self._trailing_metadata else []

    async def send_initial_metadata(self, metadata: Metadata = ()) -> None:
        """Send the response headers now rather than with the first message.

        Raises:
            RuntimeError: they have been sent already.
        """
        if self.started:
            raise RuntimeError("the response headers have been sent already")
        await self.start(metadata)
        # Servers hold the headers back until a body event follows.
        await shielded(self._send(_FLUSH))

    def start(self, metadata: Metadata = ()) -> Awaitable[None]:
        """Queue the response headers; they leave with the next body event."""
        self.started = True
        if self.encoding is None and not metadata:  # nearly always
            return self._send(PLAIN_START)
        headers = list(_HEADERS)
        if self.encoding is not None and can_compress(self.encoding):
            headers += [(b"grpc-encoding", self.encoding), (b"grpc-accept-encoding", ACCEPTED)]
        headers += encode_metadata(metadata)
        return self._send({**PLAIN_START, "headers": headers})

    def frame(self, message: bytes) -> bytes:
        """Return `message` framed, compressed as the request was if it is worth it."""
        if (
            self.encoding is not None
            and len(message) >= COMPRESS_FROM_BYTES
            and can_compress(self.encoding)
        ):
            message = compress(message, self.encoding)
            return pack_prefix(1, len(message)) + message
        return pack_prefix(0, len(message)) + message

    async def write(self, *messages: Message) -> None:
        """Send messages of a stream, in one piece; waits while the caller or the connection is
        slow."""
        frames = b"".join([self.frame(message.SerializeToString()) for message in messages])
        await shielded(self.write_frame(frames))

    def write_frame(self, data: bytes) -> asyncio.Future[None]:
        """Queue framed messages at once, without waiting.

        Returns:
            A future that is done when the connection has taken the data, or that carries an
            OSError if the caller is gone. Whoever calls this bounds how much it leaves
            unfinished. Do not cancel the future.
        """
        if not self.started:
            asyncio.ensure_future(self.start()).add_done_callback(_observe)
        sent = self._send({"type": "http.response.body", "body": data, "more_body": True})
        # pyvoy's is a future already; asking first is a third of the cost of `ensure_future`.
        return sent if isinstance(sent, asyncio.Future) else asyncio.ensure_future(sent)

    # For the adapter: deadline and disconnect

    def attach(self) -> None:
        """Let the deadline and a disconnect cancel the running task.

        Raises:
            RpcError: the grpc-timeout header was malformed, or the deadline has passed already.
        """
        if self.malformed_timeout is not None:
            raise RpcError(
                StatusCode.INVALID_ARGUMENT,
                f"grpc-timeout: {self.malformed_timeout.decode('latin-1')!r} is not a timeout "
                "such as 5S or 100m",
            )
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        if self.deadline is not None:
            remaining = self.deadline - time.monotonic()
            if remaining <= 0:
                raise RpcError(StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
            self._timer = loop.call_later(remaining, self._expire)

    def detach(self) -> None:
        """Nothing cancels the task any more: it is about to answer."""
        self._task = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self.expired = True
        self._cancel()

    def abort(self, error: Exception) -> None:
        """End the call with `error` from outside its handler, which is cancelled."""
        self.aborted = error
        self._cancel()

    def disconnected(self) -> None:
        """The caller is gone: cancel the handler. Harmless when repeated."""
        if not self.gone:
            self.gone = True
            self._cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def says_gone(future: asyncio.Future[Event]) -> bool:
    """Whether a finished `receive` says that nobody listens any more."""
    if future.cancelled():
        return True
    return future.exception() is not None or future.result()["type"] == "http.disconnect"


def shielded(sending: Awaitable[None]) -> asyncio.Future[None]:
    """Return a future for what is being sent, to be awaited by a handler that may be cancelled: the
    server's own must not be, as it sets it all the same. That the caller is gone is no loss if
    nobody waits for it any more."""
    inner = asyncio.ensure_future(sending)
    outer = asyncio.shield(inner)
    inner.add_done_callback(_observe)
    outer.add_done_callback(_observe)
    return outer


def _observe(future: asyncio.Future[None]) -> None:
    """Mark a failed send as seen, or asyncio reports it at the end: the next send fails too."""
    if not future.cancelled():
        future.exception()
