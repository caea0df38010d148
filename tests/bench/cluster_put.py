#!/usr/bin/env python3
"""Put on a cluster of three on this machine: the registry beside etcd.

    cd tests && uv run --no-sync python -m bench.cluster_put --rounds 3

Connections go to the leader, as a client of etcd's finds out to do. Programs alternate.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import h2load
from clusters import LoopbackCluster, LoopbackMember, running
from report import Report
from servers import SERVERS, Server

from tianlu._proto.etcd import rpc_pb2

CONNECTIONS = 8
VALUE = b"v" * 100


def put(report: Report, program: str, cluster: LoopbackCluster, requests: int) -> None:
    leader = cluster.leader()
    _load(report, program, cluster, leader, "leader", streams=16, requests=requests)
    _load(report, program, cluster, leader, "leader", streams=1, requests=requests // 4)
    follower = next(member for member in cluster.members if member is not leader)
    _load(report, program, cluster, follower, "follower", streams=16, requests=requests)


def _load(
    report: Report,
    program: str,
    cluster: LoopbackCluster,
    member: LoopbackMember,
    role: str,
    *,
    streams: int,
    requests: int,
) -> None:
    before = _cpu_seconds(cluster)
    rate = h2load.grpc_unary(
        member.client_port,
        "/etcdserverpb.KV/Put",
        rpc_pb2.PutRequest(key=b"bench/key", value=VALUE),
        requests=requests,
        connections=CONNECTIONS,
        streams=streams,
    )
    microseconds = (_cpu_seconds(cluster) - before) / requests * 1e6
    report.add(f"Put 8x{streams} at the {role}, requests/s", program, rate)
    report.add(f"Put 8x{streams} at the {role}, CPU us, all three", program, microseconds)


def _cpu_seconds(cluster: LoopbackCluster) -> float:
    started = [member.processes for member in cluster.members if member.processes]
    return sum(Server(0, processes.pid).cpu_seconds() for processes in started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--scale", type=float, default=1.0, help="of the requests")
    parser.add_argument("--only", choices=list(SERVERS))
    parser.add_argument("--data-in", type=Path, help="directory on the disk to measure on")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    h2load.program()
    report = Report(base="etcd")
    programs = [arguments.only] if arguments.only else list(SERVERS)
    for number in range(arguments.rounds):
        for program in programs if number % 2 == 0 else reversed(programs):
            with running(program, 3, arguments.data_in) as cluster:
                put(report, program, cluster, int(arguments.requests * arguments.scale))
    report.print()
    if arguments.json:
        arguments.json.write_text(report.json())


if __name__ == "__main__":
    main()
