#!/usr/bin/env python3
"""From kill -9 of the leader to the first write that another member accepts, with default timing.

    cd tests && uv run --no-sync python -m bench.failover --rounds 10

Two clients write without pause at the members that are left; the killed one comes back between
rounds. One client asks nobody twice within 20 ms, and gives each call 250 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from cluster.client import CallFailed, Client
from clusters import HEALTH_SECONDS, LoopbackCluster, running
from report import Report
from servers import SERVERS

_CALL_SECONDS = 0.25
_PAUSE_SECONDS = 0.02
_SETTLED_SECONDS = 1.0
"""A leader that has just been elected is not measured: a follower still may not know it."""


class _Writer(threading.Thread):
    """Writes at one member; notes the first answer to a call that began after the kill."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.killed = float("inf")
        self.first = threading.Event()
        self.at = 0.0
        self._address = address

    def run(self) -> None:
        with Client(self._address, _CALL_SECONDS) as client:
            while not self.first.wait(_PAUSE_SECONDS):
                began = time.monotonic()
                with contextlib.suppress(CallFailed):
                    client.put("bench/failover", "value")
                    if began > self.killed:
                        self.at = time.monotonic()
                        self.first.set()


def round_trip(cluster: LoopbackCluster) -> float:
    """Kill the leader; return the seconds until a write was accepted, and heal."""
    leader = cluster.leader()
    time.sleep(_SETTLED_SECONDS)
    writers = [_Writer(member.address) for member in cluster.members if member is not leader]
    for writer in writers:
        writer.start()
    time.sleep(_SETTLED_SECONDS)
    killed = time.monotonic()
    cluster.kill(leader)
    for writer in writers:
        writer.killed = killed
    for writer in writers:
        if not writer.first.wait(HEALTH_SECONDS):
            raise SystemExit("no write was accepted after the kill")
        writer.join()
    cluster.start(leader)
    cluster.wait_healthy(leader)
    return min(writer.at for writer in writers) - killed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", choices=list(SERVERS))
    arguments = parser.parse_args()
    report = Report(base="etcd")
    for program in [arguments.only] if arguments.only else list(SERVERS):
        with running(program, 3) as cluster:
            for _ in range(arguments.rounds):
                report.add("first accepted write, s", program, round_trip(cluster))
    report.print()


if __name__ == "__main__":
    main()
