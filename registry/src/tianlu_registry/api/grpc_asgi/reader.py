"""Reading a call's request: one message, or a stream of them.

pyvoy's `receive` differs from the ASGI specification in two ways that shape this module. Its
futures must not be cancelled (it later sets them all the same), hence the shields. And once the
request is complete it answers at once, with an empty body event, instead of waiting for the
disconnect, hence `sweeper.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from tianlu_registry.api.grpc_asgi.asgi import Event, Receive
from tianlu_registry.api.grpc_asgi.compression import decompress
from tianlu_registry.api.grpc_asgi.context import RpcContext, says_gone
from tianlu_registry.api.grpc_asgi.frames import (
    PREFIX_BYTES,
    FrameBuffer,
    check_flag,
    too_large,
    unpack_prefix,
)
from tianlu_registry.api.grpc_asgi.status import RpcError, StatusCode
from tianlu_registry.api.grpc_asgi.turns import Turns

RequestT = TypeVar("RequestT", bound=Message)


RequestT_co = TypeVar("RequestT_co", bound=Message, covariant=True)


class RequestBatches(Protocol[RequestT_co]):
    """Messages of a streaming request, for a handler that does better with several at once."""

    async def batch(self, count_max: int) -> Sequence[RequestT_co]:
        """Return the next message and, as far as they are here, others behind it; at most
        `count_max`, and none at the end of the request."""
        ...


class Disconnected(Exception):
    """The caller went away before its request was complete: nobody to answer."""


async def read_one(receive: Receive, context: RpcContext, bytes_max: int) -> bytes:
    """Return the only message of a request, decompressed.

    Raises:
        Disconnected: the caller went away.
        RpcError: no message, more than one, too large, or not decodable.
    """
    event = await receive()
    if event["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = event.get("body", b"")
    if event.get("more_body"):
        body = await _rest_of_body(receive, body, bytes_max)
    if len(body) < PREFIX_BYTES:
        raise RpcError(StatusCode.INTERNAL, "grpc: the request has no message")
    flag, size = unpack_prefix(body)
    if size > bytes_max:
        raise too_large(size, bytes_max)
    if size != len(body) - PREFIX_BYTES:
        raise RpcError(
            StatusCode.INTERNAL,
            f"grpc: the message's prefix says {size} bytes, "
            f"the request has {len(body) - PREFIX_BYTES}",
        )
    message = body[PREFIX_BYTES:]
    if flag:
        check_flag(flag)
        return decompress(message, context.encoding, bytes_max)
    return message


async def _rest_of_body(receive: Receive, first: bytes, bytes_max: int) -> bytes:
    if len(first) >= PREFIX_BYTES and unpack_prefix(first)[1] > bytes_max:
        raise too_large(unpack_prefix(first)[1], bytes_max)
    parts, size = [first], len(first)
    more = True
    while more:
        if size > bytes_max + PREFIX_BYTES:
            declared = unpack_prefix(b"".join(parts))[1]
            raise too_large(max(declared, size - PREFIX_BYTES), bytes_max)
        event = await asyncio.shield(receive())
        if event["type"] == "http.disconnect":
            raise Disconnected
        parts.append(event.get("body", b""))
        size += len(parts[-1])
        more = bool(event.get("more_body"))
    return b"".join(parts)


def parse(parser: Callable[[bytes], RequestT], message: bytes) -> RequestT:
    """Return the decoded message.

    Raises:
        RpcError: INTERNAL, as gRPC libraries answer what they cannot decode.
    """
    try:
        return parser(message)
    except DecodeError as error:
        raise RpcError(
            StatusCode.INTERNAL, f"grpc: failed to unmarshal the received message: {error}"
        ) from error


class RequestStream(Generic[RequestT]):
    """The messages of a streaming request, as an asynchronous iterator for one reader.

    One `receive` is always outstanding, so a disconnect is noticed at once even while the handler
    does something else. At most one chunk is held unread beside an incomplete message: a handler
    that does not read holds the caller back through HTTP/2 flow control.
    """

    __slots__ = (
        "_buffer",
        "_bytes_max",
        "_context",
        "_failed",
        "_on_half_close",
        "_parser",
        "_pending",
        "_receive",
        "_turns",
        "finished",
    )

    def __init__(
        self,
        receive: Receive,
        context: RpcContext,
        parser: Callable[[bytes], RequestT],
        bytes_max: int,
        on_half_close: Callable[[], None],
    ) -> None:
        self._receive = receive
        self._context = context
        self._parser = parser
        self._bytes_max = bytes_max
        self._on_half_close = on_half_close
        self._buffer = FrameBuffer(bytes_max)
        self._turns = Turns(context.scope)
        self._pending: asyncio.Future[Event] | None = None
        self._failed: RpcError | None = None
        self.finished = False
        self._receive_next()

    def _receive_next(self) -> None:
        self._pending = asyncio.ensure_future(self._receive())
        self._pending.add_done_callback(self._received)

    def _received(self, future: asyncio.Future[Event]) -> None:
        if says_gone(future):
            self._context.disconnected()

    def __aiter__(self) -> RequestStream[RequestT]:
        return self

    async def __anext__(self) -> RequestT:
        while True:
            found = await self._next_arrived()
            if found is not None:
                return found
            if self.finished or self._pending is None:
                self._buffer.check_finished()
                raise StopAsyncIteration
            await self._take_chunk(self._pending)

    async def batch(self, count_max: int) -> list[RequestT]:
        """Return the next message and those that have arrived with it, at most `count_max`; none at
        the end of the request. Of a message that is wrong one hears when those before it have been
        returned. They wait for one message at most that the client's rate puts off.
        """
        try:
            found = [await anext(self)]
        except StopAsyncIteration:
            return []
        try:
            while len(found) < count_max and not self._turns.is_put_off:
                following = await self._next_arrived()
                if following is None:
                    break
                found.append(following)
        except RpcError as error:
            self._failed = error
        return found

    async def _next_arrived(self) -> RequestT | None:
        """Return the next message if all of it is here."""
        if self._failed is not None:
            raise self._failed
        found = self._buffer.next_message()
        if found is None:
            return None
        flag, message = found
        if self._turns.due():
            await self._turns.rest()
        if flag:
            message = decompress(message, self._context.encoding, self._bytes_max)
        return parse(self._parser, message)

    async def _take_chunk(self, pending: asyncio.Future[Event]) -> None:
        event = await asyncio.shield(pending)
        if event["type"] == "http.disconnect":
            self._context.disconnected()
            raise asyncio.CancelledError
        self._buffer.feed(event.get("body", b""))
        if event.get("more_body"):
            self._receive_next()
        else:
            self.finished = True
            self._pending = None
            self._on_half_close()
