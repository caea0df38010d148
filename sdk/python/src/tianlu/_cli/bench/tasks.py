"""The tasks of worker processes that make single calls."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tianlu._cli.bench.load import NANOSECONDS, Load, LoadConnection, Tally
from tianlu._cli.bench.operations import Call
from tianlu._cli.bench.target import Target
from tianlu._cli.bench.workers import Post


class Calls(Protocol):
    """Where calls come from; it is sent to another process."""

    def calls(self, worker: int, workers: int) -> Iterator[Call]:
        """Yield the calls of one of several workers."""
        ...


@dataclass(frozen=True, slots=True)
class LoadTask:
    """Calls of one worker.

    Attributes:
        targets: one for each connection.
        streams: calls at once on each.
        part: number of this worker among those that share the calls, and how many they are.
        calls: what to ask.
        seconds: how long to begin calls.
        count: how many calls at most; None for no bound.
        rate: calls a second; 0 for as many as are answered.
        grace_seconds: how long the last answers are waited for.
    """

    targets: Sequence[Target]
    streams: int
    part: tuple[int, int]
    calls: Calls
    seconds: float
    count: int | None
    rate: float
    grace_seconds: float

    def run(self, post: Post) -> Tally:
        tally = Tally()
        connections = [LoadConnection(target, tally) for target in self.targets]
        load = Load(
            connections,
            itertools.islice(self.calls.calls(*self.part), self.count),
            streams=min(self.streams, *(one.streams_max for one in connections)),
            rate=self.rate,
        )
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


def load_tasks(
    targets: Sequence[Target],
    calls: Calls,
    *,
    processes: int,
    connections: int,
    streams: int,
    seconds: float,
    total: int | None = None,
    rate: float = 0.0,
) -> list[LoadTask]:
    """Share connections, calls and rate among worker processes.

    Args:
        targets: where to connect, in turn.
        processes: how many workers; no more than connections.
        total: how many calls all make together; None for no bound.
        rate: of all together.
    """
    workers = min(processes, connections)
    chosen = [targets[number % len(targets)] for number in range(connections)]
    return [
        LoadTask(
            targets=chosen[worker::workers],
            streams=streams,
            part=(worker, workers),
            calls=calls,
            seconds=seconds,
            count=None if total is None else len(range(worker, total, workers)),
            rate=rate / workers,
            grace_seconds=max(target.timeout_seconds for target in chosen),
        )
        for worker in range(workers)
    ]
