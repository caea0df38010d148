"""One client's connection to the registry: its endpoints, failover among them, deadlines, retries.

The calls go over one HTTP/2 connection per endpoint in use, opened on first use and kept alive by
pings (`tianlu._channels`), each with the client's token (`tianlu._identity`). `Connection.endpoint`
is tried until it fails; then another one (`tianlu._failover`).

What is tried again, while the deadline lasts and the error is Unavailable, by `tianlu._rpc.Method`:

    reads        on another endpoint; with several, another is asked also while the first is silent
    repeatable   on another endpoint: doing it twice has the effect of doing it once
    the rest     only if the registry has certainly not done it: no connection could be made, or it
                 said that it has no leader. Otherwise the error is OutcomeUnknown.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from tianlu import _fork
from tianlu._channels import Channels
from tianlu._credentials import Credentials
from tianlu._endpoint import Endpoint
from tianlu._errors import (
    ClientClosed,
    OutcomeUnknown,
    PermissionDenied,
    TianluError,
    Unauthenticated,
    Unavailable,
)
from tianlu._failover import EndpointChoice
from tianlu._identity import CANNOT_LOG_IN, NO_TOKEN, Identity, LogIn, metadata
from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._refusal import refused_text
from tianlu._retry import CALL_WAIT, Deadline, draw
from tianlu._rpc import AUTHENTICATE, Method, Request, Response
from tianlu._stream import Stream, task_cancelled, translate

if TYPE_CHECKING:
    import grpc.aio

MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Largest message taken from the registry: far above a part of a catalogue snapshot."""

ATTEMPT_SECONDS_MIN: Final = 0.5
"""Least time given to one attempt of a repeatable call that has other endpoints to turn to."""

ENDPOINTS_TRIED: Final = 3
"""Over how many attempts the time of a call is spread, if there are as many endpoints."""

LOGIN_SECONDS: Final = 3.0
"""Most time for the login before a stream is opened, its connecting (1 s) included."""

OWN_WRITE_SECONDS: Final = 5.0
"""How long after a write nodes that serve may be behind it: far longer than one ever is."""

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

_NOT_DONE: Final = (
    "failed to connect",
    "resolution failed",
    "etcdserver: no leader",
    CANNOT_LOG_IN,
)
"""What a status text has in it when the registry has certainly not done what it was asked: gRPC
could not connect or find the host; in etcd's words, nobody was there to propose it to; or there was
no token to ask with."""


class Connection:
    """The registry as one thing, whichever endpoint answers. Belongs to one event loop.

    Args:
        endpoints: at least one.
        timeout_seconds: deadline of a call that is given none.
        credentials: who calls; nobody if not given.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        timeout_seconds: float,
        credentials: Credentials | None = None,
    ) -> None:
        credentials = credentials or Credentials()
        self._choice = EndpointChoice(endpoints)
        self._timeout_seconds = timeout_seconds
        self._channels = Channels(credentials, _OPTIONS)
        self._identity = Identity(credentials)
        self._closed = ""
        self._start: Callable[[], None] | None = None
        self._own_revision = 0
        self._wrote_at = -math.inf

    def when_used(self, start: Callable[[], None]) -> None:
        """Call `start` whenever a channel is opened; it may do nothing. It must not block."""
        self._start = start

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint in use, or the one to be tried next."""
        return self._choice.current

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every endpoint that may be used."""
        return self._choice.all

    @property
    def own_revision(self) -> int:
        """The revision of this client's newest write, for OWN_WRITE_SECONDS; then 0.

        Reads carry it as their `min_revision`, so that a client sees its own writes whichever node
        answers. Not for ever: a registry that has lost its history would never get there.
        """
        recent = time.monotonic() - self._wrote_at < OWN_WRITE_SECONDS
        return self._own_revision if recent else 0

    def deadline(self) -> Deadline:
        """Return the deadline of a call that begins now."""
        return Deadline.after(self._timeout_seconds)

    def turn_from(self, endpoint: Endpoint) -> None:
        """Say that `endpoint` failed; another is used if it was in use."""
        self._choice.failed(endpoint, time.monotonic(), draw())

    def served(self, endpoint: Endpoint) -> None:
        """Say that `endpoint` answered on a stream."""
        self._choice.served(endpoint)

    async def learn(self, endpoints: Iterable[Endpoint]) -> None:
        """Use these as well, instead of what was learnt before; close what is used no more."""
        self._choice.learn(endpoints)
        for gone in set(self._channels.endpoints) - set(self._choice.all):
            await self._channels.drop(gone)

    async def call(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        deadline: Deadline | None = None,
    ) -> Response:
        """Make a unary call.

        Raises:
            OutcomeUnknown: it was sent and not answered, and must not be repeated unasked.
            TianluError: by the table in `tianlu._errors`.
        """
        deadline = deadline or self.deadline()
        attempt = 0
        maybe_done = False
        while True:
            attempt += 1
            try:
                response = await self._attempt(method, request, deadline)
            except Unavailable as error:
                maybe_done = maybe_done or not _certainly_not_done(error)
                if maybe_done and not method.repeatable:
                    raise OutcomeUnknown(f"{error}; it may or may not have been done") from error
                pause = CALL_WAIT.seconds(attempt, draw())
                if deadline.remaining() <= pause:
                    raise
                await asyncio.sleep(pause)
            except TianluError as error:
                if maybe_done and method.done_by is not None and isinstance(error, method.done_by):
                    return method.response()  # an earlier attempt had done it
                raise
            else:
                if not method.reads:
                    self._note_write(getattr(response, "revision", 0))
                return response

    def _note_write(self, revision: int) -> None:
        if revision:
            self._own_revision = max(self.own_revision, revision)
            self._wrote_at = time.monotonic()

    def share(self, deadline: Deadline) -> float:
        """Return how long one attempt may take, so that a silent endpoint leaves time for another.

        Nothing is saved up if there is no other.
        """
        seconds = deadline.remaining()
        tried = min(len(self._choice.all), ENDPOINTS_TRIED)
        return seconds if tried == 1 else min(seconds, max(ATTEMPT_SECONDS_MIN, seconds / tried))

    async def ask(
        self,
        method: Method[Request, Response],
        request: Request,
        endpoint: Endpoint,
        timeout_seconds: float,
    ) -> Response:
        """Make a unary call to one endpoint, once.

        Raises:
            TianluError: by the table in `tianlu._errors`; `turn_from` has been called if need be.
        """
        deadline = Deadline.after(timeout_seconds)

        async def attempt(token: str) -> Response:
            return await self._ask(method, request, endpoint, deadline, token)

        try:
            if method.anonymous:
                return await attempt(NO_TOKEN)
            return await self._identity.call(attempt, self._login_at(endpoint, deadline), deadline)
        except Unavailable:
            self.turn_from(endpoint)
            raise
        except PermissionDenied as error:
            text = refused_text(str(error), self._identity.user, method.path, request)
            raise PermissionDenied(text) from error

    def _login_at(self, endpoint: Endpoint, deadline: Deadline) -> LogIn:
        async def log_in(name: str, password: str) -> str:
            request = etcd.AuthenticateRequest(name=name, password=password)
            return (await self._ask(AUTHENTICATE, request, endpoint, deadline, NO_TOKEN)).token

        return log_in

    async def _ask(
        self,
        method: Method[Request, Response],
        request: Request,
        endpoint: Endpoint,
        deadline: Deadline,
        token: str,
    ) -> Response:
        import grpc.aio

        call = self._channel(endpoint).unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            response: Response = await call(
                request, timeout=deadline.remaining(), metadata=metadata(token)
            )
        except grpc.aio.AioRpcError as error:
            raise translate(error, endpoint) from error
        except grpc.aio.UsageError as error:
            raise ClientClosed("the client is closed") from error
        except asyncio.CancelledError:
            # Closing a channel cancels its calls, which must not look as if the task was cancelled.
            if task_cancelled():
                raise
            raise (
                ClientClosed(self._closed)
                if self._closed
                else Unavailable(f"registry at {endpoint}: the connection is used no more")
            ) from None
        self._choice.served(endpoint)
        return response

    async def _attempt(
        self, method: Method[Request, Response], request: Request, deadline: Deadline
    ) -> Response:
        tried = min(len(self._choice.all), ENDPOINTS_TRIED)
        if tried == 1 or method.waits or not method.repeatable:
            return await self.ask(method, request, self.endpoint, deadline.remaining())
        share = self.share(deadline)
        if not method.reads:
            return await self.ask(method, request, self.endpoint, share)
        return await self._first_answer(method, request, deadline, share, tried)

    async def _first_answer(
        self,
        method: Method[Request, Response],
        request: Request,
        deadline: Deadline,
        patience_seconds: float,
        endpoints_max: int,
    ) -> Response:
        """Ask one endpoint, and another beside it whenever nobody has answered for a while: a slow
        answer counts as well as a quick one.

        Raises:
            TianluError: an endpoint refused, or all that were asked failed.
        """
        asked: list[asyncio.Task[Response]] = []
        waiting: set[asyncio.Task[Response]] = set()
        try:
            while True:
                endpoint = self.endpoint
                asked.append(
                    asyncio.create_task(self.ask(method, request, endpoint, deadline.remaining()))
                )
                waiting.add(asked[-1])
                last = len(asked) == endpoints_max
                answered = await _first_answered(waiting, None if last else patience_seconds)
                if answered is not None:
                    return answered.result()
                self.turn_from(endpoint)
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def stream(self, method: Method[Request, Response]) -> Stream[Request, Response]:
        """Open a bidirectional stream on the endpoint in use, logging in before if need be.

        Whether the registry takes it shows at the first write or read; if that fails, call
        `turn_from(stream.endpoint)`.

        Raises:
            TianluError: nobody could log in; `turn_from` has been called if need be.
        """
        endpoint = self.endpoint
        # A login takes long if its node is away: then another one is to be tried soon.
        deadline = self.deadline().at_most(LOGIN_SECONDS)
        try:
            token = await self._identity.token(self._login_at(endpoint, deadline), deadline)
        except Unavailable:
            self.turn_from(endpoint)
            raise

        def open_with(token: str) -> grpc.aio.StreamStreamCall[Request, Response]:
            open_call: grpc.aio.StreamStreamMultiCallable[Request, Response] = self._channel(
                endpoint
            ).stream_stream(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            return open_call(metadata=metadata(token))

        async def again(error: Unauthenticated) -> grpc.aio.StreamStreamCall[Request, Response]:
            if not self._identity.refused(token, error):
                raise error
            deadline = self.deadline().at_most(LOGIN_SECONDS)
            fresh = self._identity.token(self._login_at(endpoint, deadline), deadline)
            return open_with(await fresh)

        return Stream(open_with(token), endpoint, again, self._identity.accepted)

    async def close(self) -> None:
        """Close all channels; calls under way fail. Calling it again does nothing."""
        self._closed = "the client is closed"
        await self._channels.close()

    def abandon(self, why: str) -> None:
        """Refuse every later call without touching the channels: they are another process's."""
        self._closed = why

    def _channel(self, endpoint: Endpoint) -> grpc.aio.Channel:
        if self._closed:
            raise ClientClosed(self._closed)
        if endpoint in self._channels.endpoints:
            return self._channels.get(endpoint)
        _fork.check_usable()
        channel = self._channels.get(endpoint)
        if self._start is not None:
            self._start()
        return channel


async def _first_answered(
    waiting: set[asyncio.Task[Response]], patience_seconds: float | None
) -> asyncio.Task[Response] | None:
    """Wait for a task that ends other than by Unavailable, or else for the last one to end.

    Those that have ended are taken out of `waiting`.

    Returns:
        None if nothing ended for `patience_seconds`.
    """
    while True:
        ended, _ = await asyncio.wait(
            waiting, timeout=patience_seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if not ended:
            return None
        waiting -= ended
        for one in ended:
            if not isinstance(one.exception(), Unavailable):
                return one
        if not waiting:
            return ended.pop()


def _certainly_not_done(error: Unavailable) -> bool:
    return any(text in str(error) for text in _NOT_DONE)
