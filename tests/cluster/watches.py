"""Watchers that go from member to member, and whether each saw every change once and in order."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grpc
from cluster.client import Client
from cluster.histories import now
from cluster.revisions import Event

from tianlu._proto.etcd import kv_pb2, rpc_pb2


@dataclass(frozen=True, slots=True)
class Seen:
    """An event as it came.

    Attributes:
        at: when, on the histories' clock.
        stream: which of the watcher's streams brought it, from 1.
    """

    event: Event
    at: float
    stream: int


def prefix_end(prefix: str) -> bytes:
    """Return the end of the range of all keys that begin with a prefix."""
    return prefix[:-1].encode() + bytes([ord(prefix[-1]) + 1])


def watch_request(prefix: str, revision: int) -> rpc_pb2.WatchRequest:
    create = rpc_pb2.WatchCreateRequest(
        key=prefix.encode(), range_end=prefix_end(prefix), start_revision=revision
    )
    return rpc_pb2.WatchRequest(create_request=create)


def event_of(event: kv_pb2.Event) -> Event:
    pair = event.kv
    value = None if event.type == kv_pb2.Event.DELETE else pair.value.decode()
    return Event(pair.mod_revision, pair.key.decode(), value, pair.create_revision)


class Stream:
    """One watch stream: what comes, until it breaks or its time is over.

    Args:
        seconds: after which it ends by itself.
    """

    def __init__(self, client: Client, request: rpc_pb2.WatchRequest, seconds: float) -> None:
        self._over = threading.Event()
        self._call = client.stream("Watch/Watch", self._requests(request, seconds), seconds)

    def _requests(
        self, request: rpc_pb2.WatchRequest, seconds: float
    ) -> Iterator[rpc_pb2.WatchRequest]:
        yield request
        self._over.wait(seconds)  # the end of the requests would end the watch

    def responses(self) -> Iterator[rpc_pb2.WatchResponse]:
        try:
            with contextlib.suppress(grpc.RpcError):
                yield from self._call
        finally:
            self.cancel()

    def cancel(self) -> None:
        self._over.set()
        self._call.cancel()


class Watcher(threading.Thread):
    """Watches a prefix from a revision on, member after member, without end until it is stopped.

    Args:
        addresses: of the members, tried in turn.
        patience: (least, most) seconds that a stream lives before the next member is asked.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        prefix: str,
        revision: int,
        draw: random.Random,
        patience: tuple[float, float] = (1.0, 6.0),
    ) -> None:
        super().__init__(daemon=True)
        self.revision = revision
        self.seen: list[Seen] = []
        self.streams = 0
        self._prefix = prefix
        self._draw = draw
        self._patience = patience
        self._addresses = list(addresses)
        draw.shuffle(self._addresses)
        self.stopped = threading.Event()
        self._stream: Stream | None = None

    def run(self) -> None:
        next_revision = self.revision
        for address in itertools.cycle(self._addresses):
            if self.stopped.is_set():
                return
            with Client(address) as client:
                next_revision = self._follow(client, next_revision)
            self.stopped.wait(0.05)

    def _follow(self, client: Client, revision: int) -> int:
        """Follow one stream to its end; return the revision from which the next goes on."""
        self.streams += 1
        request = watch_request(self._prefix, revision)
        stream = self._stream = Stream(client, request, self._draw.uniform(*self._patience))
        if self.stopped.is_set():  # perhaps just before this stream was there to be cancelled
            stream.cancel()
        for response in stream.responses():
            moment = now()
            for event in map(event_of, response.events):
                self.seen.append(Seen(event, moment, self.streams))
                revision = event.revision + 1
            if response.canceled or self.stopped.is_set():
                break
        return revision

    def has_seen(self, revision: int) -> bool:
        return bool(self.seen) and self.seen[-1].event.revision >= revision

    def stop(self) -> None:
        self.stopped.set()
        if self._stream is not None:
            self._stream.cancel()
        self.join(20)


def account(address: str, prefix: str, last: int, seconds: float = 60.0) -> list[Event]:
    """Return every change of a prefix as one member has it, up to revision `last`.

    Raises:
        TimeoutError: the member did not give all of them in time.
    """
    events: list[Event] = []
    deadline = time.monotonic() + seconds
    revision = 1
    while time.monotonic() < deadline:
        with Client(address) as client:
            stream = Stream(client, watch_request(prefix, revision), 15.0)
            for response in stream.responses():
                events += map(event_of, response.events)
                if events and events[-1].revision >= last:
                    return events
                if response.canceled:
                    break
        revision = events[-1].revision + 1 if events else 1
        time.sleep(0.1)
    raise TimeoutError(f"{address} gave {len(events)} changes, not up to revision {last}")


def judge(revision: int, seen: Sequence[Seen], wanted: Sequence[Event]) -> list[str]:
    """Return how a watch differs from the store's account: doubles, gaps, disorder, inventions.

    Args:
        revision: from which it watched.
        wanted: the account, up to a revision that the watch has reached.
    """
    expected = [event for event in wanted if event.revision >= revision]
    position = 0
    for number, one in enumerate(seen):
        if position == len(expected):
            break  # what came after the account was taken
        if one.event == expected[position]:
            position += 1
            continue
        before = [earlier.event for earlier in seen[:number]]
        if one.event in before:
            return [f"{one} came twice"]
        if one.event.revision < expected[position].revision:
            return [f"{one} was never in the store, or came late"]
        return [f"{expected[position]} did not come; after it {one} did"]
    if position < len(expected):
        return [f"{expected[position]} and {len(expected) - position - 1} more never came"]
    return []
