"""Encodings of watch responses: once for every batch and watch id, however many streams want it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Protocol

from google.protobuf.json_format import MessageToDict

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu._proto.etcd.rpc_pb2 import ResponseHeader, WatchResponse
from tianlu_registry.api.grpc_asgi.frames import frame
from tianlu_registry.mvcc.types import WatchBatch

FRAGMENT_BYTES_MAX = 2 * 1024 * 1024
"""Size from which a response is cut, for clients that asked for fragments: the largest request
and its overhead, as in etcd."""

RESPONSE_BYTES_MAX = 1024 * 1024
"""Size from which a batch of several revisions becomes several responses. etcd sends what a watcher
has missed as one, of any size; most gRPC clients refuse messages above 4 MiB."""

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
        key = (watch_id, fragment)
        encoded = batch.encodings.get(key)
        if encoded is None:
            encoded = self._encode(batch, watch_id, fragment)
            batch.encodings[key] = encoded
        return encoded

    def _encode(self, batch: WatchBatch, watch_id: int, fragment: bool) -> bytes:
        shared = batch.encodings.get(_SHARED_PART)
        if shared is None:
            shared = self._response(batch.revision, batch.events).SerializeToString()
            batch.encodings[_SHARED_PART] = shared
        # Concatenated messages merge into one (protobuf encoding, "Last One Wins"): the events
        # are serialized once and each watch adds its id.
        own = WatchResponse(watch_id=watch_id).SerializeToString()
        if len(shared) <= RESPONSE_BYTES_MAX or len(batch.events) == 1:
            return frame(shared + own)
        return b"".join(
            frame(response.SerializeToString() + own) for response in self._cut(batch, fragment)
        )

    def _cut(self, batch: WatchBatch, fragment: bool) -> Iterator[WatchResponse]:
        """Cut a large batch between revisions, and within one only for who asked for fragments."""
        for events in split_events(batch.events, RESPONSE_BYTES_MAX, whole_revisions=True):
            revision = events[-1].kv.mod_revision
            pieces = [events]
            if fragment:
                pieces = list(split_events(events, FRAGMENT_BYTES_MAX))
            for number, piece in enumerate(pieces, start=1):
                response = self._response(revision, piece)
                response.fragment = number < len(pieces)
                yield response

    def _response(self, revision: int, events: Sequence[Event]) -> WatchResponse:
        header = self._header()
        header.revision = revision
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


def split_events(
    events: Sequence[Event], bytes_max: int, *, whole_revisions: bool = False
) -> Iterator[Sequence[Event]]:
    """Cut `events` into runs of up to `bytes_max` serialized bytes, or of one larger item: an
    event, or with `whole_revisions` all events of a revision."""
    start, end, size = 0, 0, 0
    for item in _items(events, whole_revisions):
        item_size = sum(event.ByteSize() for event in item)
        if end > start and size + item_size > bytes_max:
            yield events[start:end]
            start, size = end, 0
        end += len(item)
        size += item_size
    yield events[start:]


def _items(events: Sequence[Event], whole_revisions: bool) -> Iterator[list[Event]]:
    if whole_revisions:
        return (list(run) for _, run in groupby(events, lambda event: event.kv.mod_revision))
    return ([event] for event in events)
