"""Whole benchmarks: the phases in order, with what has to be there before and to go afterwards.

What they measure is in the results; who calls them shows it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tianlu._cli.bench.ground import Ground
from tianlu._cli.bench.operations import KeyMaking, Operations
from tianlu._cli.bench.phases import Result, ServerMeter, Watcher, phase, run_calls, run_watch
from tianlu._cli.bench.stream_tasks import WatchTask, WriteTask
from tianlu._cli.bench.streams import Stamp
from tianlu._cli.bench.target import Target
from tianlu._cli.bench.tasks import load_tasks
from tianlu._errors import Conflict, InvalidInput

FOREVER_SECONDS: Final = 24 * 3600.0
_MAKING_CONNECTIONS: Final = 2
_MAKING_STREAMS: Final = 4
_SETUP_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What all benchmarks need.

    Attributes:
        targets: the endpoints, to which connections go in turn.
        processes: how many workers drive the load.
        prefix: of all keys; ends with a slash.
        keep: whether keys and leases stay.
        meter: reads the server's CPU time.
        watcher: is shown how far it is.
    """

    targets: Sequence[Target]
    processes: int
    prefix: str
    keep: bool
    meter: ServerMeter
    watcher: Watcher


@dataclass(frozen=True, slots=True)
class KvPlan:
    """A load of key-value calls.

    Attributes:
        streams: calls at once on each connection.
        total: how many calls at most; None for no bound.
        rate: calls a second; 0 for as many as are answered.
    """

    operations: Operations
    connections: int
    streams: int
    seconds: float
    total: int | None
    rate: float


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """Watchers and who writes for them.

    Attributes:
        watchers: how many, a stream each.
        connections: over how many connections.
        distinct: whether each watches a prefix of its own, rather than all one key.
        events_ahead: how many writes may be on their way, if no rate is given.
        total: how many writes at most; None for no bound.
        rate: writes a second; 0 for as many as the watchers keep up with.
    """

    watchers: int
    connections: int
    distinct: bool
    value_bytes: int
    events_ahead: int
    seconds: float
    total: int | None
    rate: float
    seed: int


def run_kv(setting: Setting, plan: KvPlan) -> Result:
    """Make the keys that are needed, run the load, and clear up.

    Raises:
        TianluError: it cannot be done.
    """
    operations = plan.operations
    with ground(setting):
        if operations.needs_keys:
            make_keys(setting, operations)
        return measure_kv(setting, plan)


def measure_kv(setting: Setting, plan: KvPlan) -> Result:
    """Run the load on keys that are there.

    Raises:
        TianluError: it cannot be done.
    """
    tasks = load_tasks(
        setting.targets,
        plan.operations,
        processes=setting.processes,
        connections=plan.connections,
        streams=plan.streams,
        seconds=plan.seconds,
        total=plan.total,
        rate=plan.rate,
    )
    title = str(plan.operations.kind)
    with phase(setting.watcher, title, total=plan.total, seconds=plan.seconds, unit="requests"):
        return run_calls(tasks, setting.meter, setting.watcher)


def make_keys(setting: Setting, operations: Operations) -> None:
    """Put all keys of a key space.

    Raises:
        Conflict: not all could be put.
        KeyboardInterrupt: it was interrupted.
    """
    making = KeyMaking(operations.keys)
    tasks = load_tasks(
        setting.targets,
        making,
        processes=1,
        connections=_MAKING_CONNECTIONS,
        streams=_MAKING_STREAMS,
        seconds=FOREVER_SECONDS,
    )
    watcher = setting.watcher
    with phase(watcher, "making keys", total=making.count, seconds=None, unit="transactions"):
        result = run_calls(tasks, ServerMeter(None), watcher)
    if result.interrupted:
        raise KeyboardInterrupt
    if result.tally.done < making.count:
        reason = next(iter(result.tally.errors), "the server did not answer")
        raise Conflict(f"the keys could not be made: {reason}")


def run_watches(setting: Setting, plan: WatchPlan) -> tuple[Result, Result]:
    """Watch, write, and clear up; returns the events and the writes.

    Raises:
        TianluError: it cannot be done.
    """
    with ground(setting):
        return measure_watches(setting, plan)


def measure_watches(setting: Setting, plan: WatchPlan) -> tuple[Result, Result]:
    """Watch and write; returns the events and the writes.

    Raises:
        TianluError: it cannot be done.
    """
    stamp = Stamp(secrets.token_hex(4))
    if plan.value_bytes < stamp.bytes_min:
        raise InvalidInput("--value-bytes", f"must be {stamp.bytes_min} or more, for the time")
    keys, ranges = _watched(plan, setting.prefix.encode())
    workers = min(setting.processes, plan.connections)
    targets = spread(setting.targets, plan.connections)
    watchers = [
        WatchTask(
            targets=targets[worker::workers],
            ranges=ranges[worker::workers],
            stamp=stamp,
            setup_seconds=_SETUP_SECONDS,
        )
        for worker in range(workers)
    ]
    writer = WriteTask(
        targets=setting.targets[:1],
        streams=max(1, min(plan.events_ahead, 1_000)) if not plan.rate else 1_000,
        keys=keys,
        value_bytes=plan.value_bytes,
        stamp=stamp,
        seed=plan.seed,
        watchers=1 if plan.distinct else plan.watchers,
        readers=(),
        events_ahead=plan.events_ahead,
        seconds=plan.seconds,
        count=plan.total,
        rate=plan.rate,
        grace_seconds=setting.targets[0].timeout_seconds,
    )
    total = None if plan.total is None else plan.total * writer.watchers
    with phase(setting.watcher, "watch", total=total, seconds=plan.seconds, unit="events"):
        return run_watch(watchers, writer, setting.meter, setting.watcher)


def _watched(plan: WatchPlan, prefix: bytes) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """Return the keys that are written, and each watcher's (key, range_end)."""
    if not plan.distinct:
        key = prefix + b"fan-out"
        return [key], [(key, b"")] * plan.watchers
    prefixes = [b"%b%08d" % (prefix, number) for number in range(plan.watchers)]
    return [one + b"/key" for one in prefixes], [(one + b"/", one + b"0") for one in prefixes]


def spread(targets: Sequence[Target], connections: int) -> list[Target]:
    """Return the target of each connection."""
    return [targets[number % len(targets)] for number in range(connections)]


@contextmanager
def ground(setting: Setting) -> Iterator[Ground]:
    """Take the prefix; at the end, whatever it is, clear it unless it shall stay."""
    taken = Ground(setting.targets[0], setting.prefix)
    if taken.take():
        taken.clear(setting.watcher)
        taken.take()
    try:
        yield taken
    finally:
        if not setting.keep:
            taken.clear(setting.watcher)
