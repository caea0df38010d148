#!/usr/bin/env python3
"""A new member joins a cluster of a million keys while 1,000 writes a second go on.

    cd tests && uv run --no-sync python -m bench.catch_up --rounds 1 [--scale 0.1]

Time from the start of the new member's process to its first linearizable read, and the writes'
latency before and meanwhile. Writes are sent at their moments, whatever the earlier ones do, and
their latency counts from those moments.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from cluster.client import Client
from clusters import LoopbackCluster, fill, running
from report import Report, percentile
from servers import SERVERS

from tianlu._proto.etcd import rpc_pb2

KEYS = 1_000_000
WRITES_A_SECOND = 1_000
_BEFORE_SECONDS = 5.0
_BATCH_SECONDS = 0.005


@dataclass
class Writes(threading.Thread):
    """1,000 puts a second at one member.

    Attributes:
        latencies: (moment it was due, seconds) of each answered one.
        failed: how many were not answered.
    """

    address: str
    latencies: list[tuple[float, float]] = field(default_factory=list)
    failed: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._stopped = threading.Event()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        asyncio.run(self._send())

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    async def _send(self) -> None:
        async with grpc.aio.insecure_channel(self.address) as channel:
            call = channel.unary_unary(
                "/etcdserverpb.KV/Put",
                request_serializer=rpc_pb2.PutRequest.SerializeToString,
                response_deserializer=rpc_pb2.PutResponse.FromString,
            )
            request = rpc_pb2.PutRequest(key=b"bench/catch-up", value=b"v" * 100)
            async with asyncio.TaskGroup() as tasks:
                due = time.monotonic()
                while not self._stopped.is_set():
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    for _ in range(round(WRITES_A_SECOND * _BATCH_SECONDS)):
                        tasks.create_task(self._one(call, request, due))
                    due += _BATCH_SECONDS

    async def _one(
        self, call: grpc.aio.UnaryUnaryMultiCallable, request: rpc_pb2.PutRequest, due: float
    ) -> None:
        try:
            await call(request, timeout=30)
        except grpc.aio.AioRpcError:
            self.failed += 1
        else:
            self.latencies.append((due, time.monotonic() - due))


def catch_up(report: Report, program: str, cluster: LoopbackCluster, keys: int) -> None:
    leader = cluster.leader()
    fill(leader.address, keys)
    writes = Writes(leader.address)
    writes.start()
    try:
        time.sleep(_BEFORE_SECONDS)
        member = cluster.add()
        with Client(leader.address) as client:
            request = rpc_pb2.MemberAddRequest(peerURLs=[member.peer_url])
            client.call("Cluster/MemberAdd", request, 30)
        began = time.monotonic()
        cluster.start(member, joins=True)
        answered = cluster.wait_healthy(member)
    finally:
        writes.stop()
    report.add(f"catching up with {keys:,} keys, s", program, answered - began)
    before = [latency for due, latency in writes.latencies if due < began]
    during = [latency for due, latency in writes.latencies if began <= due <= answered]
    report.add("p99 of writes before, ms", program, percentile(before, 0.99) * 1e3)
    report.add("p99 of writes meanwhile, ms", program, percentile(during, 0.99) * 1e3)
    report.add("longest write meanwhile, ms", program, max(during) * 1e3)
    report.add("failed writes", program, writes.failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the million keys")
    parser.add_argument("--only", choices=list(SERVERS))
    parser.add_argument("--data-in", type=Path, help="directory on the disk to measure on")
    arguments = parser.parse_args()
    report = Report(base="etcd")
    for number in range(arguments.rounds):
        programs = [arguments.only] if arguments.only else list(SERVERS)
        for program in programs if number % 2 == 0 else reversed(programs):
            with running(program, 3, arguments.data_in) as cluster:
                catch_up(report, program, cluster, int(KEYS * arguments.scale))
    report.print()


if __name__ == "__main__":
    main()
