"""Encodings of watch responses: once for every batch and watch id, however many streams want it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from google.protobuf.json_format import MessageToDict

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu._proto.etcd.rpc_pb2 import ResponseHeader, WatchResponse
from tianlu_registry.api.grpc_asgi.frames import frame
from tianlu_registry.mvcc.types import WatchBatch

FRAGMENT_BYTES_MAX = 2 * 1024 * 1024
"""Size from which a response is cut, for clients that asked for fragments: the largest request
and its overhead, as in etcd."""

_SHARED_PART = "grpc-shared"


class WatchWire(Protocol):
    """How responses look on one kind of connection."""

    def control(self, response: WatchResponse) -> bytes:
        """Encode a response without events."""
        ...

    def batch(self, batch: WatchBatch, watch_id: int, *, fragment: bool) -> bytes:
        """Encode a batch for a watch, as one response or, if allowed and too large, as several."""
        ...


class GrpcWatchWire:
    """Responses as gRPC frames.

    Args:
        header: makes a header; its ids and term are the node's.
    """

    def __init__(self, header: Callable[[], ResponseHeader]) -> None:
        self._header = header

    def control(self, response: WatchResponse) -> bytes:
        return frame(response.SerializeToString())

    def batch(self, batch: WatchBatch, watch_id: int, *, fragment: bool) -> bytes:
        key = (_SHARED_PART, watch_id, fragment)
        encoded = batch.encodings.get(key)
        if encoded is None:
            encoded = self._encode(batch, watch_id, fragment)
            batch.encodings[key] = encoded
        return encoded

    def _encode(self, batch: WatchBatch, watch_id: int, fragment: bool) -> bytes:
        shared = batch.encodings.get(_SHARED_PART)
        if shared is None:
            shared = self._response(batch, batch.events).SerializeToString()
            batch.encodings[_SHARED_PART] = shared
        # Concatenated messages merge into one (protobuf encoding, "Last One Wins"): the events
        # are serialized once and each watch adds its id.
        own = WatchResponse(watch_id=watch_id).SerializeToString()
        if not fragment or len(shared) < FRAGMENT_BYTES_MAX or len(batch.events) == 1:
            return frame(shared + own)
        return b"".join(self._fragments(batch, own))

    def _fragments(self, batch: WatchBatch, own: bytes) -> Iterator[bytes]:
        pieces = list(split_events(batch.events, FRAGMENT_BYTES_MAX))
        for number, events in enumerate(pieces, start=1):
            response = self._response(batch, events)
            response.fragment = number < len(pieces)
            yield frame(response.SerializeToString() + own)

    def _response(self, batch: WatchBatch, events: Sequence[Event]) -> WatchResponse:
        header = self._header()
        header.revision = batch.revision
        return WatchResponse(header=header, events=events)


class JsonWatchWire:
    """Responses as etcd's JSON gateway streams them: one ``{"result": ...}`` a line.

    Not cached and not cut: the gateway is for people and small tools.
    """

    def __init__(self, header: Callable[[], ResponseHeader]) -> None:
        self._header = header

    def control(self, response: WatchResponse) -> bytes:
        return result_line(response)

    def batch(self, batch: WatchBatch, watch_id: int, *, fragment: bool) -> bytes:
        header = self._header()
        header.revision = batch.revision
        return result_line(WatchResponse(header=header, watch_id=watch_id, events=batch.events))


def result_line(response: object) -> bytes:
    """Return a message of a stream as the JSON gateway has it."""
    content = MessageToDict(response, preserving_proto_field_name=True)  # type: ignore[arg-type]
    return json.dumps({"result": content}, separators=(",", ":")).encode() + b"\n"


def split_events(events: Sequence[Event], bytes_max: int) -> Iterator[Sequence[Event]]:
    """Cut `events` into runs of up to `bytes_max` serialized bytes, or of one larger event."""
    start, size = 0, 0
    for position, event in enumerate(events):
        event_size = event.ByteSize()
        if position > start and size + event_size >= bytes_max:
            yield events[start:position]
            start, size = position, 0
        size += event_size
    yield events[start:]
