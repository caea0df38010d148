#!/usr/bin/env python3
"""The table of speeds beside etcd: one node of each, alternating, medians of short rounds.

    uv run --no-sync python tests/bench/etcd_table.py --rounds 3
    uv run --no-sync python tests/bench/etcd_table.py --only put fan-out --programs tianlu

The load driver is that of `tianlu bench`. CPU time is that of the server's whole tree of processes,
from the kernel: trust it first on a busy machine. Each part of the table has a server of its own,
so that none inherits another's keys, watches or leases.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from report import Report
from servers import SERVERS, Server

from tianlu._cli.bench.histogram import Histogram
from tianlu._cli.bench.leases import LeasePlan, run_leases
from tianlu._cli.bench.operations import Consistency, KeySpace, Kind, Operations
from tianlu._cli.bench.phases import BUSY_SHARE, Result, ServerMeter
from tianlu._cli.bench.progress import Silent
from tianlu._cli.bench.runs import (
    KvPlan,
    Setting,
    WatchPlan,
    make_keys,
    measure_kv,
    measure_watches,
)
from tianlu._cli.bench.stream_tasks import Poller
from tianlu._cli.bench.streams import Stamp, WatchConnection
from tianlu._cli.bench.target import Target
from tianlu._credentials import Credentials
from tianlu._endpoint import Endpoint

PREFIX = "bench/"
KEYS = 100_000
VALUE_BYTES = 100
KEYS_PER_REQUEST = 1_000
CONNECTIONS = 8
TIMEOUT_SECONDS = 60.0
FAN_OUT_EVENTS = 50_000
"""Events a second to all watchers together, at which delays are measured: both programs keep up."""

EVENTS_AHEAD = 50_000
"""Events to all watchers together that may be on their way; with many more etcd's puts time out."""


@dataclass(frozen=True)
class Round:
    """One measurement of one program.

    Attributes:
        scale: of times; 1 is what the table is made with.
    """

    report: Report
    program: str
    server: Server
    scale: float

    @property
    def target(self) -> Target:
        endpoint = Endpoint(f"127.0.0.1:{self.server.port}")
        return Target(endpoint, Credentials(), "", TIMEOUT_SECONDS)

    @property
    def setting(self) -> Setting:
        return Setting(
            targets=[self.target],
            processes=1,
            prefix=PREFIX,
            keep=True,  # the server goes away with its data
            meter=ServerMeter(self.server.pid),
            watcher=Silent(),
        )

    def add(self, measure: str, value: float) -> None:
        self.report.add(measure, self.program, value)

    def add_result(self, measure: str, unit: str, result: Result) -> None:
        """Add the rate and the server's CPU time for each, after checking that all went well."""
        tally = result.tally
        if tally.failed or not tally.done:
            raise SystemExit(f"{measure}, {self.program}: {tally.failed} failed: {tally.errors}")
        if result.expected not in (None, tally.done):
            raise SystemExit(f"{measure}, {self.program}: {tally.done} of {result.expected} came")
        self.add(f"{measure}, {unit}s/s", result.rate)
        self.add(f"{measure}, CPU us each", result.server_cpu_microseconds or 0.0)
        if result.busy > BUSY_SHARE:
            print(f"  {measure}, {self.program}: the driver was the limit ({result.busy:.0%})")

    def add_p99(self, measure: str, result: Result) -> None:
        for histogram in result.tally.latencies.values():
            self.add(f"{measure}, p99 ms", histogram.percentile(0.99) / 1e6)


def put(one: Round) -> None:
    """Random keys of 100,000, which come into being with the first writes."""
    _measure_kv(one, "Put 8x16", _operations(Kind.PUT), seconds=2.0)
    _measure_kv(one, "Put 8x1", _operations(Kind.PUT), streams=1, seconds=2.0)


def keys(one: Round) -> None:
    """What needs 100,000 keys, and at the end deletes them."""
    make_keys(one.setting, _operations(Kind.GET))
    for consistency in Consistency:
        operations = _operations(Kind.GET, consistency)
        _measure_kv(one, f"Range of a key, {consistency}, 8x16", operations, seconds=1.5)
    _measure_kv(one, "Range of 1,000 keys, 8x1", _operations(Kind.RANGE), streams=1, seconds=2.0)
    _measure_kv(one, "Txn, 8x16", _operations(Kind.TXN), seconds=2.0)
    _measure_kv(one, "DeleteRange of 1,000, 8x1", _operations(Kind.DELETE), streams=1, seconds=60)


def _operations(kind: Kind, consistency: Consistency = Consistency.LINEARIZABLE) -> Operations:
    return Operations(
        kind=kind,
        keys=KeySpace(PREFIX.encode(), KEYS, VALUE_BYTES),
        consistency=consistency,
        keys_per_request=KEYS_PER_REQUEST,
        read_ratio=0.5,
        seed=1,
    )


def _measure_kv(
    one: Round, measure: str, operations: Operations, *, streams: int = 16, seconds: float
) -> None:
    plan = KvPlan(operations, CONNECTIONS, streams, seconds * one.scale, None, 0.0)
    one.add_result(measure, "request", measure_kv(one.setting, plan))


def fan_out(one: Round) -> None:
    """One key to all: what gets through, and the delay at a rate that both programs manage."""
    for watchers in (1_000, 5_000):
        measure = f"fan-out to {watchers:,}"
        full = _watch_plan(watchers, seconds=2.0 * one.scale)
        one.add_result(measure, "event", _events(one, measure, full))
        calm = _watch_plan(watchers, seconds=2.0 * one.scale, rate=FAN_OUT_EVENTS / watchers)
        events = _events(one, measure, calm)
        one.add_p99(f"{measure}, {FAN_OUT_EVENTS:,} events/s", events)


def distinct(one: Round) -> None:
    """10,000 watchers on distinct prefixes, 1,000 writes a second."""
    plan = _watch_plan(10_000, connections=100, seconds=3.0 * one.scale, rate=1_000, distinct=True)
    measure = "10,000 watchers, 1,000 writes/s"
    events = _events(one, measure, plan)
    one.add(f"{measure}, CPU us a write", events.server_cpu_microseconds or 0.0)
    one.add_p99(measure, events)


def _events(one: Round, measure: str, plan: WatchPlan) -> Result:
    """Measure watches; return the events after checking that the writes went well."""
    events, writes = measure_watches(one.setting, plan)
    if writes.tally.failed:
        raise SystemExit(f"{measure}, {one.program}: writes failed: {writes.tally.errors}")
    return events


def _watch_plan(
    watchers: int,
    *,
    seconds: float,
    connections: int = 20,
    rate: float = 0.0,
    distinct: bool = False,
) -> WatchPlan:
    return WatchPlan(
        watchers=watchers,
        connections=connections,
        distinct=distinct,
        value_bytes=VALUE_BYTES,
        events_ahead=max(1, EVENTS_AHEAD // watchers),
        seconds=seconds,
        total=None,
        rate=rate,
        seed=1,
    )


def leases(one: Round) -> None:
    """100,000 leases kept alive."""
    plan = LeasePlan(
        leases=100_000,
        connections=CONNECTIONS,
        streams=1,
        at_once=16,
        ttl_seconds=600,
        seconds=2.0 * one.scale,
        total=None,
        expiring=0,
    )
    results = run_leases(one.setting, plan)
    one.add_result("LeaseGrant, 8x16", "grant", results.grants)
    one.add_result("100,000 leases kept alive", "renewal", results.renewals)
    per_cpu = 1e6 / (results.renewals.server_cpu_microseconds or 1.0)
    one.add("100,000 leases kept alive, renewals per CPU second", per_cpu)


def memory(one: Round) -> None:
    """2,000 connections with 10,000 watches that nothing happens to."""
    one.add("memory without clients, MiB", one.server.memory_mib())
    pattern = Stamp("idle").pattern
    connections = [WatchConnection(one.target, pattern, Histogram()) for _ in range(2_000)]
    try:
        one.add("memory with 2,000 connections, MiB", one.server.memory_mib())
        for number, connection in enumerate(connections):
            first = 5 * number
            connection.watch([(b"idle/%08d" % (first + each), b"") for each in range(5)])
        deadline = time.monotonic() + TIMEOUT_SECONDS

        def created() -> bool:
            if time.monotonic() > deadline:
                raise SystemExit(f"{one.program}: 10,000 watches were not made in time")
            return sum(connection.created for connection in connections) == 10_000

        Poller(connections).until(created)
        one.add("memory with 10,000 watches on them, MiB", one.server.memory_mib())
    finally:
        for connection in connections:
            connection.close()


MEASURES = {
    "put": put,
    "keys": keys,
    "fan-out": fan_out,
    "distinct": distinct,
    "leases": leases,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), help="parts of the table")
    parser.add_argument("--programs", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the time of each measurement")
    parser.add_argument("--data-in", type=Path, help="directory on the disk to measure on")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    report = Report(base="etcd")
    began = time.monotonic()
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}, load {os.getloadavg()[0]:.1f}")
        for measure in arguments.only or MEASURES:
            programs = arguments.programs if number % 2 == 0 else arguments.programs[::-1]
            for program in programs:
                with SERVERS[program](arguments.data_in) as server:
                    MEASURES[measure](Round(report, program, server, arguments.scale))
    report.print()
    print(f"\n{time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}")
    if arguments.json:
        arguments.json.write_text(report.json())


if __name__ == "__main__":
    main()
