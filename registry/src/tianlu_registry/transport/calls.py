"""Calls: requests and their answers, many at a time on one connection.

The deadline travels with the call, as what is left of it, so that the other side stops working when
nobody waits any more. An error travels as the name of its class in tianlu_registry.errors and its
text; a name that this release does not know becomes `Unavailable`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final

from google.protobuf.message import DecodeError

from tianlu._proto.v1 import peer_pb2 as pb
from tianlu_registry import errors
from tianlu_registry.errors import (
    RegistryError,
    RequestTimeout,
    RequestTooLarge,
    TooManyRequests,
    Unavailable,
)
from tianlu_registry.transport.connection import Connection
from tianlu_registry.transport.errors import BadPeerMessage, PeerUnreachable
from tianlu_registry.transport.frames import Frame, FrameKind
from tianlu_registry.transport.tasks import TaskSet

logger = logging.getLogger(__name__)

TIMEOUT_MILLISECONDS_MAX: Final = (1 << 31) - 1
METHOD_CHARS_MAX: Final = 128
_TEXT_CHARS_MAX: Final = 4096

Answer = Callable[[str, bytes], Awaitable[bytes]]


class Caller:
    """The calling end.

    Args:
        connection: of kind CALL, after its handshake.
        calls_max: calls under way; further ones are refused with `TooManyRequests`.
        frame_bytes_max: a larger payload is refused with `RequestTooLarge`.
    """

    def __init__(self, connection: Connection, *, calls_max: int, frame_bytes_max: int) -> None:
        self._connection = connection
        self._calls_max = calls_max
        self._frame_bytes_max = frame_bytes_max
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        connection.set_sink(self._on_frames)

    @property
    def is_open(self) -> bool:
        return self._connection.is_open

    async def call(self, method: str, payload: bytes, deadline: float) -> bytes:
        """Ask, and wait for the answer.

        Args:
            deadline: a point in the loop's time.

        Raises:
            RequestTimeout: no answer by then; the other side may have done it.
            RegistryError: what the other side answered, or why there is no answer.
        """
        loop = asyncio.get_running_loop()
        if len(self._waiting) >= self._calls_max:
            raise TooManyRequests
        number = next(self._numbers)
        left = min(int((deadline - loop.time()) * 1000), TIMEOUT_MILLISECONDS_MAX)
        request = pb.PeerCall(
            id=number, method=method, timeout_milliseconds=max(left, 1), payload=payload
        ).SerializeToString()
        if len(request) >= self._frame_bytes_max:
            raise RequestTooLarge
        answered: asyncio.Future[bytes] = loop.create_future()
        self._waiting[number] = answered
        try:
            async with asyncio.timeout_at(deadline):
                await self._write(request)
                return await answered
        except TimeoutError as error:
            raise RequestTimeout from error
        finally:
            del self._waiting[number]

    async def _write(self, request: bytes) -> None:
        try:
            await self._connection.drain()
        except RegistryError as error:
            raise PeerUnreachable(str(error)) from error
        self._connection.write(FrameKind.CALL, request)

    def on_closed(self, error: RegistryError) -> None:
        """Fail who waits: the connection has ended."""
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(PeerUnreachable(str(error)))

    def _on_frames(self, frames: list[Frame]) -> None:
        for kind, body in frames:
            if kind != FrameKind.ANSWER:
                raise BadPeerMessage(f"tianlu: a frame of kind {kind} among answers")
            self._on_answer(_parse_answer(body))

    def _on_answer(self, answer: pb.PeerAnswer) -> None:
        answered = self._waiting.get(answer.id)
        if answered is None or answered.done():
            return  # too late
        if answer.error:
            answered.set_exception(rebuild_error(answer.error, answer.text))
        else:
            answered.set_result(answer.payload)


class Answerer:
    """The answering end: runs each call as a task.

    No further calls are read while `calls_max` of them run, or their payloads are as large as a
    frame may be, or the caller does not read its answers.

    Args:
        connection: of kind CALL, after its handshake.
        answer: the handler's, bound to the caller.
        tasks: what the calls run in.
    """

    def __init__(
        self,
        connection: Connection,
        answer: Answer,
        *,
        tasks: TaskSet,
        calls_max: int,
        frame_bytes_max: int,
    ) -> None:
        self._connection = connection
        self._answer = answer
        self._tasks = tasks
        self._calls_max = calls_max
        self._frame_bytes_max = frame_bytes_max
        self._running: dict[asyncio.Task[None], int] = {}
        self._running_bytes = 0
        connection.on_writable(self._regulate)
        connection.set_sink(self._on_frames)

    def on_closed(self) -> None:
        """Stop working for a caller that is gone."""
        for task in self._running:
            task.cancel()

    def _on_frames(self, frames: list[Frame]) -> None:
        for kind, body in frames:
            if kind != FrameKind.CALL:
                raise BadPeerMessage(f"tianlu: a frame of kind {kind} among calls")
            task = self._tasks.spawn(self._run(_parse_call(body)), "peer-call")
            self._running[task] = len(body)
            self._running_bytes += len(body)
            task.add_done_callback(self._on_done)
        self._regulate()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running_bytes -= self._running.pop(task)
        self._regulate()

    def _regulate(self) -> None:
        """Read on, or let the caller wait."""
        if (
            self._connection.is_writable
            and len(self._running) < self._calls_max
            and self._running_bytes < self._frame_bytes_max
        ):
            self._connection.resume_reading()
        else:
            self._connection.pause_reading()

    async def _run(self, call: pb.PeerCall) -> None:
        try:
            async with asyncio.timeout(call.timeout_milliseconds / 1000):
                payload = await self._answer(call.method, call.payload)
            answer = pb.PeerAnswer(id=call.id, payload=payload)
        except TimeoutError:
            answer = _failure(call.id, RequestTimeout())
        except RegistryError as error:
            answer = _failure(call.id, error)
        except Exception:
            logger.exception("peer_call_failed method=%s", call.method)
            answer = _failure(call.id, Unavailable("tianlu: the member failed; see its log"))
        self._write(answer)

    def _write(self, answer: pb.PeerAnswer) -> None:
        data = answer.SerializeToString()
        if len(data) >= self._frame_bytes_max:
            data = _failure(answer.id, RequestTooLarge()).SerializeToString()
        self._connection.write(FrameKind.ANSWER, data)


def rebuild_error(name: str, text: str) -> RegistryError:
    """Return the error of that class and text; `Unavailable` for a class that is none of ours."""
    kind = getattr(errors, name, None)
    if not isinstance(kind, type) or not issubclass(kind, RegistryError):
        return Unavailable(text or None)
    if kind is errors.InvalidArgument:
        field, _, problem = text.partition(": ")
        return errors.InvalidArgument(field, problem)
    if issubclass(kind, errors.Broken):
        return Unavailable(text or None)  # that member's trouble, not ours
    return kind(text or None)


def _failure(number: int, error: RegistryError) -> pb.PeerAnswer:
    """Return an answer that carries an error: of the nearest class that errors.py has."""
    known = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    return pb.PeerAnswer(id=number, error=known.__name__, text=str(error)[:_TEXT_CHARS_MAX])


def _parse_call(body: bytes) -> pb.PeerCall:
    try:
        call = pb.PeerCall.FromString(body)
    except DecodeError as error:
        raise BadPeerMessage("tianlu: a call that cannot be parsed") from error
    if not call.id or not 0 < len(call.method) <= METHOD_CHARS_MAX:
        raise BadPeerMessage("tianlu: a call without number or method")
    if not 0 < call.timeout_milliseconds <= TIMEOUT_MILLISECONDS_MAX:
        raise BadPeerMessage("tianlu: a call without a deadline")
    return call


def _parse_answer(body: bytes) -> pb.PeerAnswer:
    try:
        return pb.PeerAnswer.FromString(body)
    except DecodeError as error:
        raise BadPeerMessage("tianlu: an answer that cannot be parsed") from error
