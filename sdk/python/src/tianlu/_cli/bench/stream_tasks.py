"""The tasks of worker processes that hold streams: watchers, who writes for them, and leases."""

from __future__ import annotations

import random
import selectors
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tianlu._cli.bench.connection import Connection
from tianlu._cli.bench.http2 import grpc_message
from tianlu._cli.bench.load import NANOSECONDS, Load, LoadConnection, Tally
from tianlu._cli.bench.operations import PUT, Call
from tianlu._cli.bench.streams import KeepAliveConnection, Stamp, WatchConnection, check_watches
from tianlu._cli.bench.target import Target
from tianlu._cli.bench.workers import Post
from tianlu._errors import DeadlinePassed
from tianlu._proto.etcd import rpc_pb2 as etcd

_WAIT_SECONDS: Final = 0.05


class Poller:
    """Reads several connections as they have something, until told to end."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = connections
        self._selector = selectors.DefaultSelector()
        self._writing: set[Connection] = set()
        for connection in connections:
            self._selector.register(connection, selectors.EVENT_READ, connection)

    def until(self, over: Callable[[], bool]) -> None:
        """Read until `over` says so; it is asked after each round of reading."""
        for connection in self._connections:
            self._flush(connection)
        while not over():
            for key, events in self._selector.select(_WAIT_SECONDS):
                connection = key.data
                if events & selectors.EVENT_READ:
                    connection.receive()
                if connection.lost is None:
                    self._flush(connection)
                else:
                    self._selector.unregister(connection)

    def _flush(self, connection: Connection) -> None:
        congested = not connection.flush()
        if congested != (connection in self._writing):
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if congested else 0)
            self._selector.modify(connection, events, connection)
            (self._writing.add if congested else self._writing.discard)(connection)


@dataclass(frozen=True, slots=True)
class WatchTask:
    """Watchers of one worker, a stream each.

    Attributes:
        targets: one for each connection.
        ranges: (key, range_end) of each watcher.
        stamp: what stands in the values.
        setup_seconds: how long making the watches may take.
    """

    targets: Sequence[Target]
    ranges: Sequence[tuple[bytes, bytes]]
    stamp: Stamp
    setup_seconds: float

    def run(self, post: Post) -> Tally:
        tally = Tally()
        delays = tally.histogram("event")
        connections = [
            WatchConnection(target, self.stamp.pattern, delays) for target in self.targets
        ]
        self._create(connections)
        poller = Poller(connections)
        post.ready()
        reported = 0

        def over() -> bool:
            nonlocal reported
            tally.done = sum(connection.events for connection in connections)
            if tally.done != reported:
                reported = tally.done
                tally.last = time.monotonic_ns()
                post.report(reported)
            return post.stopped() or all(connection.lost for connection in connections)

        poller.until(over)
        for connection in connections:
            if connection.lost:
                tally.errors[connection.lost] += 1
                tally.failed += 1
            connection.close()
        return tally

    def _create(self, connections: list[WatchConnection]) -> None:
        """Make all watches and wait until the server has confirmed them.

        Raises:
            TianluError: it refused one, or did not in time.
        """
        deadline = time.monotonic() + self.setup_seconds
        for number, connection in enumerate(connections):
            connection.watch(self.ranges[number :: len(connections)])

        def over() -> bool:
            check_watches(connections)
            if time.monotonic() > deadline:
                raise DeadlinePassed(
                    f"{sum(connection.created for connection in connections)} of "
                    f"{len(self.ranges)} watches were made in {self.setup_seconds:.0f} s"
                )
            return sum(connection.created for connection in connections) >= len(self.ranges)

        Poller(connections).until(over)
        for connection in connections:
            connection.count_events()


@dataclass(frozen=True, slots=True)
class WriteTask:
    """Who writes what others watch; it is one worker.

    Attributes:
        targets: one for each connection.
        keys: one is chosen for each write.
        watchers: how many watch each key.
        readers: the workers that watch.
        events_ahead: how many writes may be on their way to watchers, if no rate is given.
        count: how many writes at most; None for no bound.
        rate: writes a second; 0 for as many as watchers keep up with.
    """

    targets: Sequence[Target]
    streams: int
    keys: Sequence[bytes]
    value_bytes: int
    stamp: Stamp
    seed: int
    watchers: int
    readers: Sequence[int]
    events_ahead: int
    seconds: float
    count: int | None
    rate: float
    grace_seconds: float

    def run(self, post: Post) -> Tally:
        tally = Tally()
        connections = [LoadConnection(target, tally) for target in self.targets]
        begun = 0

        def calls() -> Iterator[Call]:
            nonlocal begun
            chosen = random.Random(self.seed)  # noqa: S311 - repeatable
            began = time.monotonic_ns()
            while self.count is None or begun < self.count:
                key = self.keys[int(chosen.random() * len(self.keys))]
                due = began + int(begun * NANOSECONDS / self.rate) if self.rate else 0
                begun += 1
                value = self.stamp.value(due or time.monotonic_ns(), self.value_bytes)
                request = etcd.PutRequest(key=key, value=value)
                yield Call(PUT, grpc_message(request.SerializeToString()), "put")

        def may_begin() -> bool:
            if self.rate:
                return True
            arrived = post.board.done(self.readers)
            return begun * self.watchers - arrived < self.events_ahead * self.watchers

        load = Load(connections, calls(), streams=self.streams, rate=self.rate, may_begin=may_begin)
        began = post.ready()
        load.run(
            until=began + int(self.seconds * NANOSECONDS),
            grace_seconds=self.grace_seconds,
            stopped=post.stopped,
            progress=lambda: post.report(tally.done, tally.failed),
        )
        for connection in connections:
            connection.close()
        return tally


@dataclass(frozen=True, slots=True)
class KeepAliveTask:
    """Leases that one worker keeps alive.

    Attributes:
        targets: one for each connection.
        leases: what this worker renews.
        streams: how many on each connection.
        at_once: renewals on a stream that have no answer yet.
        ttl_seconds: what was granted.
    """

    targets: Sequence[Target]
    leases: range
    streams: int
    at_once: int
    ttl_seconds: int
    seconds: float
    count: int | None
    grace_seconds: float

    def run(self, post: Post) -> Tally:
        tally = Tally()
        connections = [
            KeepAliveConnection(target, self.ttl_seconds, tally) for target in self.targets
        ]
        poller = Poller(connections)
        began = post.ready()
        until = began + int(self.seconds * NANOSECONDS)
        all_streams = len(connections) * self.streams
        for number, connection in enumerate(connections):
            first = number * self.streams
            shares = [self.leases[one::all_streams] for one in range(first, first + self.streams)]
            connection.keep([share for share in shares if share], self.at_once)
        finish_by: int | None = None

        def over() -> bool:
            nonlocal finish_by
            now = time.monotonic_ns()
            post.report(tally.done, tally.failed)
            if finish_by is None:
                full = self.count is not None and tally.done + tally.failed >= self.count
                if now < until and not full and not post.stopped():
                    return all(connection.lost for connection in connections)
                finish_by = now + int(self.grace_seconds * NANOSECONDS)
                for connection in connections:
                    connection.pause()
            return now > finish_by or not any(connection.waiting for connection in connections)

        poller.until(over)
        for connection in connections:
            if connection.lost is None and connection.waiting:
                connection.lose("the last answers did not come in time")
            if connection.lost:
                tally.errors[connection.lost] += 1
            connection.close()
        return tally
