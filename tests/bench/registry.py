#!/usr/bin/env python3
"""The registry beside etcd: Put, Range and watch fan-out through each one's client port.

    uv run --no-sync python tests/bench/registry.py put range fanout --rounds 3

Programs alternate within a round; figures are requests (or messages) a second, or milliseconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent))

import h2load
from report import Report, percentile
from servers import SERVERS
from watch_streams import Streams

from tianlu._proto.etcd import rpc_pb2

VALUE = b"v" * 100
WATCH_KEY = b"bench/fan"
WATCHERS = 1000
WATCH_CONNECTIONS = 10
SINGLE_EVENTS = 20
BURST_EVENTS = 50


def put(report: Report, program: str, port: int, requests: int) -> None:
    request = rpc_pb2.PutRequest(key=b"bench/key", value=VALUE)
    for streams in (16, 1):
        count = requests if streams > 1 else requests // 4
        rate = h2load.grpc_unary(
            port, "/etcdserverpb.KV/Put", request, requests=count, connections=8, streams=streams
        )
        report.add(f"Put 8x{streams}, requests/s", program, rate)


def range_one(report: Report, program: str, port: int, requests: int) -> None:
    _put_once(port, b"bench/key")
    for serializable in (False, True):
        request = rpc_pb2.RangeRequest(key=b"bench/key", serializable=serializable)
        rate = h2load.grpc_unary(
            port, "/etcdserverpb.KV/Range", request, requests=requests, connections=8, streams=16
        )
        kind = "serializable" if serializable else "linearizable"
        report.add(f"Range {kind} 8x16, requests/s", program, rate)


def fanout(report: Report, program: str, port: int, _requests: int) -> None:
    create = rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=WATCH_KEY))
    streams = Streams(
        port,
        "/etcdserverpb.Watch/Watch",
        create.SerializeToString(),
        connections=WATCH_CONNECTIONS,
        streams=WATCHERS,
    )
    streams.receive(WATCHERS)  # the "created" answers
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = _put_call(channel)
        delays: list[float] = []
        for _ in range(SINGLE_EVENTS):
            sent = time.monotonic()
            call(rpc_pb2.PutRequest(key=WATCH_KEY, value=VALUE))
            delays += [moment - sent for moment in streams.receive(WATCHERS, WATCH_KEY)]
        report.add("fan-out of 1 event to 1,000, p50 ms", program, percentile(delays, 0.5) * 1e3)
        report.add("fan-out of 1 event to 1,000, p99 ms", program, percentile(delays, 0.99) * 1e3)
        began = time.monotonic()
        futures = [
            call.future(rpc_pb2.PutRequest(key=WATCH_KEY, value=VALUE)) for _ in range(BURST_EVENTS)
        ]
        last = streams.receive(WATCHERS * BURST_EVENTS, WATCH_KEY)[-1]
        for future in futures:
            future.result()
        report.add(
            "fan-out of 50 events, events/s", program, WATCHERS * BURST_EVENTS / (last - began)
        )
    streams.close()


def _put_call(channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable:
    return channel.unary_unary(
        "/etcdserverpb.KV/Put",
        request_serializer=rpc_pb2.PutRequest.SerializeToString,
        response_deserializer=rpc_pb2.PutResponse.FromString,
    )


def _put_once(port: int, key: bytes) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        _put_call(channel)(rpc_pb2.PutRequest(key=key, value=VALUE), timeout=10)


MEASURES = {"put": put, "range": range_one, "fanout": fanout}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("measures", nargs="*", metavar="|".join(MEASURES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--only", choices=list(SERVERS), help="one program alone, for profiling")
    parser.add_argument("--data-in", type=Path, help="directory on the disk to measure on")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    h2load.program()
    report = Report(base="etcd")
    programs = [arguments.only] if arguments.only else list(SERVERS)
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}")
        for measure in arguments.measures or MEASURES:
            for program in programs if number % 2 == 0 else reversed(programs):
                with SERVERS[program](arguments.data_in) as port:
                    MEASURES[measure](report, program, port, arguments.requests)
    report.print()
    if arguments.json:
        arguments.json.write_text(report.json())


if __name__ == "__main__":
    main()
