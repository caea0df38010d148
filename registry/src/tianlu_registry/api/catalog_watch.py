"""Watch streams of the catalogue on the wire: gRPC frames, lines of JSON, server-sent events.

One message is outstanding on a stream at a time. While a connection takes none, its subscriber's
position stands still and what it misses is gathered into the next message.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from google.protobuf.json_format import MessageToDict

from tianlu._proto.v1.catalog_pb2 import WatchCreate, WatchRequest
from tianlu_registry.api.grpc_asgi import RpcContext
from tianlu_registry.api.grpc_asgi.context import shielded
from tianlu_registry.api.grpc_asgi.frames import frame
from tianlu_registry.catalog import validate
from tianlu_registry.catalog.history import WatchFilter
from tianlu_registry.catalog.messages import Part
from tianlu_registry.errors import InvalidArgument
from tianlu_registry.governance.groups import Encoding
from tianlu_registry.governance.subscriptions import Subscription, Subscriptions


def _json_text(part: Part) -> str:
    """Return a message as one line of ProtoJSON with the `.proto`'s own field names."""
    content = MessageToDict(part.message(), preserving_proto_field_name=True)
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False)


def _server_sent_event(part: Part) -> bytes:
    name = "snapshot" if part.snapshot else "changes" if part.events else "bookmark"
    # Only a revision that is held completely may become the browser's Last-Event-ID.
    whole = not part.snapshot or part.snapshot_end
    identity = f"id: {part.revision}\n" if whole else ""
    return f"event: {name}\n{identity}data: {_json_text(part)}\n\n".encode()


GRPC: Final = Encoding("grpc", lambda part: frame(part.encode()))
JSON_LINES: Final = Encoding("lines", lambda part: _json_text(part).encode() + b"\n")
SERVER_SENT_EVENTS: Final = Encoding("events", _server_sent_event)


def checked_filter(create: WatchCreate) -> WatchFilter:
    """Return what a subscriber wants.

    Raises:
        InvalidArgument: a malformed name, or a negative revision.
    """
    if create.namespace:
        validate.namespace("create.namespace", create.namespace)
    validate.watched_services("create.services", create.services)
    validate.text("create.subscriber", create.subscriber, validate.PEOPLE_BYTES_MAX)
    if create.resume_revision < 0:
        raise InvalidArgument("create.resume_revision", "must not be negative")
    return WatchFilter(create.namespace, frozenset(create.services))


async def serve_grpc(
    subscriptions: Subscriptions, requests: AsyncIterator[WatchRequest], context: RpcContext
) -> None:
    """Serve one gRPC stream until its caller goes or the registry stops.

    Raises:
        InvalidArgument: the first message is no valid creation.
        TooManyRequests: there are too many subscribers.
        Stopped: the registry stops.
    """
    create = await _first(requests)
    wanted = checked_filter(create)
    with subscriptions.open(
        wanted, create.resume_revision, create.subscriber, context.peer
    ) as subscription:
        await context.send_initial_metadata()
        reader = asyncio.create_task(_read_acks(requests, subscription, context))
        try:
            async with aclosing(subscription.frames(GRPC)) as frames:
                async for data in frames:
                    await shielded(context.write_frame(data))
        finally:
            reader.cancel()


async def _first(requests: AsyncIterator[WatchRequest]) -> WatchCreate:
    async for request in requests:
        if request.HasField("create"):
            return request.create
        break
    raise InvalidArgument("create", "is needed: it is the first message of a watch stream")


async def _read_acks(
    requests: AsyncIterator[WatchRequest], subscription: Subscription, context: RpcContext
) -> None:
    """Take acknowledgements until the caller sends no more; it may go on listening."""
    try:
        async for request in requests:
            if not request.HasField("ack"):
                problem = "is given twice: one subscription a stream"
                context.abort(InvalidArgument("create", problem))
                return
            subscription.acknowledge(request.ack.applied_revision)
    except Exception as error:  # noqa: BLE001 - handed to the call's boundary, which logs it
        context.abort(error)
