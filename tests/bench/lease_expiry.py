"""Whether puts notice that 100,000 leases run out at once.

    python tests/bench/lease_expiry.py [--leases 100000] [--rounds 3] [--disk DIRECTORY]

Leases of one length, each with a key, are granted; nobody renews them. From the first end to the
last a probe puts at a steady pace. Reported: the probe's 99th percentile and maximum before and
during, and how long it took until the last key was gone. Of etcd the same.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from put_probe import Add, PutProbe, add_puts, alternate

from tianlu._proto.etcd import rpc_pb2 as pb

IN_FLIGHT = 256
CALM_SECONDS = 2.0


def method(channel: grpc.Channel, path: str) -> Any:
    service, _, name = path.partition("/")
    descriptor = pb.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    return channel.unary_unary(
        f"/etcdserverpb.{path}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(descriptor.output_type).FromString,
    )


def ask(call: Any, requests: list[Message]) -> None:
    """Make calls, a bounded number at a time."""
    waiting: list[Any] = []
    for request in requests:
        waiting.append(call.future(request, timeout=60))
        if len(waiting) == IN_FLIGHT:
            for answer in waiting:
                answer.result()
            waiting = []
    for answer in waiting:
        answer.result()


def measure(port: int, leases: int, add: Add) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        ids = range(1, leases + 1)
        started = time.monotonic()
        ttl = 30 + leases // 2_500
        ask(method(channel, "Lease/LeaseGrant"), [pb.LeaseGrantRequest(ID=n, TTL=ttl) for n in ids])
        granted = time.monotonic() - started
        puts = [pb.PutRequest(key=b"l%d" % n, lease=n) for n in ids]
        ask(method(channel, "KV/Put"), list(puts))
        count = method(channel, "KV/Range")
        keys = pb.RangeRequest(key=b"l", range_end=b"m", count_only=True, serializable=True)
        # All alive, whenever they were granted: they end together, as after an outage.
        alive = channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=pb.LeaseKeepAliveRequest.SerializeToString,
            response_deserializer=pb.LeaseKeepAliveResponse.FromString,
        )
        for _ in alive(pb.LeaseKeepAliveRequest(ID=n) for n in ids):
            pass
        renewed = time.monotonic()
        add("granted, /s", leases / granted)
        with PutProbe(port) as probe:
            time.sleep(CALM_SECONDS)
            calm = len(probe.latencies)
            while count(keys, timeout=10).count == leases:
                time.sleep(0.05)
            first = time.monotonic()
            quiet = len(probe.latencies)
            while count(keys, timeout=10).count:
                time.sleep(0.05)
            last = time.monotonic()
        before, during = probe.latencies[:calm], probe.latencies[quiet - 20 :]
        add("first to last end, s", last - first)
        add("the last is late by, s", last - renewed - ttl)
        add_puts(add, before, during)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leases", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--disk", type=Path)
    arguments = parser.parse_args()
    alternate(
        arguments.rounds,
        arguments.disk,
        lambda port, add: measure(port, arguments.leases, add),
    )


if __name__ == "__main__":
    main()
