"""One client's connection to the registry: its endpoints, failover among them, deadlines, retries.

The calls go over one HTTP/2 connection per endpoint in use, opened on first use and kept alive by
pings. `Connection.endpoint` is tried until it fails; then the next one, round and round.

What is tried again: a repeatable method (`Method.repeatable`), while the deadline lasts and the
error is Unavailable; and any method at all if the connection could not be made, because then the
registry has not seen the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Generic, cast

from tianlu import _fork
from tianlu._endpoint import Endpoint
from tianlu._errors import ClientClosed, DeadlinePassed, TianluError, Unavailable, from_rpc
from tianlu._retry import CALL_WAIT, Deadline, draw
from tianlu._rpc import Method, Request, Response

if TYPE_CHECKING:
    import grpc.aio

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest message taken from the registry: far above a part of a catalogue snapshot."""

ATTEMPT_SECONDS_MIN: Final = 0.5
"""Least time given to one attempt of a repeatable call that has other endpoints to turn to."""

WRITE_SECONDS_MAX: Final = 3.0
"""Most time for a stream to take a message, its connecting (1 s) included. gRPC alone would wait
for ever on a peer that stopped reading, or on a stream that was cancelled before it was connected;
whoever else wants to write then waits behind."""

_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # A peer that vanished without a FIN is noticed within 10 + 3 s. Only with calls open:
    # servers may treat pings on idle connections as abuse.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Failover is ours; gRPC only has to notice quickly and come back quickly.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    # Without this, clients in one process would share a TCP connection and its fate.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.service_config_disable_resolution", 1),
)

_NEVER_SENT: Final = "failed to connect"
"""How gRPC's status text begins when no connection could be made."""


class Stream(Generic[Request, Response]):
    """A bidirectional stream on one endpoint. One reader and one writer at a time."""

    def __init__(
        self, call: grpc.aio.StreamStreamCall[Request, Response], endpoint: Endpoint
    ) -> None:
        self.endpoint: Final = endpoint
        self._call = call

    async def write(self, message: Request) -> None:
        """Send a message; returns when the transport has taken it.

        Raises:
            TianluError: the stream has ended, or nobody took the message for WRITE_SECONDS_MAX;
                it has ended then too.
        """
        import grpc.aio

        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                await self._call.write(message)
        except TimeoutError:
            self.cancel()
            raise Unavailable(
                f"registry at {self.endpoint}: took nothing for {WRITE_SECONDS_MAX:g} s"
            ) from None
        except asyncio.CancelledError:
            self._raise_ended()
            raise
        except grpc.aio.AioRpcError as error:
            raise _translate(error, self.endpoint) from error
        except asyncio.InvalidStateError as error:
            raise Unavailable(f"registry at {self.endpoint}: the stream has ended") from error

    async def read(self, silence_seconds: float | None = None) -> Response | None:
        """Return the next message, or None once the registry has ended the stream well.

        Args:
            silence_seconds: give the stream up if nothing comes for so long.

        Raises:
            TianluError: the stream broke or was silent for too long.
        """
        import grpc.aio

        try:
            async with asyncio.timeout(silence_seconds):
                message = await self._call.read()
        except TimeoutError:
            self.cancel()
            raise Unavailable(
                f"registry at {self.endpoint}: silent for {silence_seconds:g} s"
            ) from None
        except asyncio.CancelledError:
            self._raise_ended()
            raise
        except grpc.aio.AioRpcError as error:
            raise _translate(error, self.endpoint) from error
        return None if message is grpc.aio.EOF else cast("Response", message)

    def cancel(self) -> None:
        """End the stream. Does nothing if it has ended."""
        self._call.cancel()

    def _raise_ended(self) -> None:
        """Tell the end of the stream from the end of the task: gRPC says both by cancellation.

        Raises:
            Unavailable: the stream was cancelled, and the task that uses it was not.
        """
        if not _task_cancelled():
            raise Unavailable(f"registry at {self.endpoint}: the stream has ended") from None


class Connection:
    """The registry as one thing, whichever endpoint answers. Belongs to one event loop.

    Args:
        endpoints: at least one.
        timeout_seconds: deadline of a call that is given none.
    """

    def __init__(self, endpoints: Sequence[Endpoint], *, timeout_seconds: float) -> None:
        self._endpoints = tuple(endpoints)
        self._timeout_seconds = timeout_seconds
        self._current = 0
        self._channels: dict[Endpoint, grpc.aio.Channel] = {}
        self._closed = ""

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint in use, or the one to be tried next."""
        return self._endpoints[self._current]

    def deadline(self) -> Deadline:
        """Return the deadline of a call that begins now."""
        return Deadline.after(self._timeout_seconds)

    def turn_from(self, endpoint: Endpoint) -> None:
        """Say that `endpoint` failed; the next one is used if it was in use."""
        if self.endpoint == endpoint:
            self._current = (self._current + 1) % len(self._endpoints)

    async def call(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        deadline: Deadline | None = None,
    ) -> Response:
        """Make a unary call.

        Raises:
            TianluError: by the table in `tianlu._errors`.
        """
        deadline = deadline or self.deadline()
        attempt = 0
        while True:
            attempt += 1
            endpoint = self.endpoint
            try:
                return await self._attempt(method, request, endpoint, deadline)
            except Unavailable as error:
                self.turn_from(endpoint)
                pause = CALL_WAIT.seconds(attempt, draw())
                if not _may_repeat(method, error) or deadline.remaining() <= pause:
                    raise
                await asyncio.sleep(pause)

    async def _attempt(
        self,
        method: Method[Request, Response],
        request: Request,
        endpoint: Endpoint,
        deadline: Deadline,
    ) -> Response:
        import grpc.aio

        timeout_seconds = deadline.remaining()
        if method.repeatable and len(self._endpoints) > 1:
            # A silent endpoint must leave time to ask another.
            timeout_seconds = min(
                timeout_seconds, max(ATTEMPT_SECONDS_MIN, timeout_seconds / len(self._endpoints))
            )
        call = self._channel(endpoint).unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            response: Response = await call(request, timeout=timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise _translate(error, endpoint) from error
        except grpc.aio.UsageError as error:
            raise ClientClosed("the client is closed") from error
        except asyncio.CancelledError:
            # Closing a channel cancels its calls, which must not look as if the task was cancelled.
            if not self._closed or _task_cancelled():
                raise
            raise ClientClosed(self._closed) from None
        return response

    def stream(self, method: Method[Request, Response]) -> Stream[Request, Response]:
        """Open a bidirectional stream on the endpoint in use.

        A failure shows at the first write or read; then call `turn_from(stream.endpoint)`.
        """
        endpoint = self.endpoint
        open_call: grpc.aio.StreamStreamMultiCallable[Request, Response] = self._channel(
            endpoint
        ).stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return Stream(open_call(), endpoint)

    async def close(self) -> None:
        """Close all channels; calls under way fail. Calling it again does nothing."""
        self._closed = "the client is closed"
        channels = list(self._channels.values())
        self._channels.clear()
        for channel in channels:
            await channel.close()

    def abandon(self, why: str) -> None:
        """Refuse every later call without touching the channels: they are another process's."""
        self._closed = why

    def _channel(self, endpoint: Endpoint) -> grpc.aio.Channel:
        import grpc.aio

        if self._closed:
            raise ClientClosed(self._closed)
        channel = self._channels.get(endpoint)
        if channel is None:
            _fork.check_usable()
            channel = (
                grpc.aio.secure_channel(endpoint.target, grpc.ssl_channel_credentials(), _OPTIONS)
                if endpoint.tls
                else grpc.aio.insecure_channel(endpoint.target, _OPTIONS)
            )
            self._channels[endpoint] = channel
        return channel


def _task_cancelled() -> bool:
    """Whether the present task has been asked to end."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _may_repeat(method: Method[Request, Response], error: Unavailable) -> bool:
    if isinstance(error, DeadlinePassed):
        return method.repeatable
    return method.repeatable or _NEVER_SENT in str(error)


def _translate(error: grpc.aio.AioRpcError, endpoint: Endpoint) -> TianluError:
    return from_rpc(error.code().name, error.details() or "", endpoint=str(endpoint))
