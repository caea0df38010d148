#!/usr/bin/env python3
"""Restart with a million keys: time to the first answered read, and resident memory.

    cd tests && uv run --no-sync python -m bench.restart --rounds 3 [--scale 0.1]

One node, keys of 300 bytes, killed with SIGKILL and started again; files are in the page cache.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from cluster.client import Client
from clusters import LoopbackCluster, fill, key, running
from report import Report
from servers import SERVERS

KEYS = 1_000_000


def restart(report: Report, program: str, cluster: LoopbackCluster, keys: int) -> None:
    """Kill and start the node; note how long its first read takes and what it then holds."""
    (member,) = cluster.members
    cluster.kill(member)
    began = time.monotonic()
    cluster.start(member)
    answered = cluster.wait_healthy(member)
    report.add(f"restart with {keys:,} keys, s", program, answered - began)
    with Client(member.address) as client:
        if client.get(key(keys - 1).decode()).found is None:
            raise SystemExit(f"{program} lost keys")
    assert member.processes is not None
    mebibytes = member.processes.memory_bytes() / (1 << 20)
    report.add(f"memory with {keys:,} keys, MiB", program, mebibytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="of the million keys")
    parser.add_argument("--only", choices=list(SERVERS))
    parser.add_argument("--data-in", type=Path, help="directory on the disk to measure on")
    arguments = parser.parse_args()
    report = Report(base="etcd")
    keys = int(KEYS * arguments.scale)
    for program in [arguments.only] if arguments.only else list(SERVERS):
        with running(program, 1, arguments.data_in) as cluster:
            fill(cluster.members[0].address, keys)
            for _ in range(arguments.rounds):
                restart(report, program, cluster, keys)
    report.print()


if __name__ == "__main__":
    main()
