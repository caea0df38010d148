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
from google.protobuf.message import Message

sys.path.insert(0, str(Path(__file__).parent))

import h2load
from report import Report, percentile
from servers import SERVERS, Server
from watch_streams import Streams

from tianlu._proto.etcd import rpc_pb2

CONNECTIONS = 8
VALUE = b"v" * 100
WATCH_KEY = b"bench/fan"
WATCHERS = 1000
WATCH_CONNECTIONS = 10
SINGLE_EVENTS = 20
BURST_EVENTS = 50


def put(report: Report, program: str, server: Server, requests: int) -> None:
    request = rpc_pb2.PutRequest(key=b"bench/key", value=VALUE)
    _load(report, program, server, "Put 8x16", request, requests=requests, streams=16)
    _load(report, program, server, "Put 8x1", request, requests=requests // 4, streams=1)


def range_one(report: Report, program: str, server: Server, requests: int) -> None:
    _put_once(server.port, b"bench/key")
    for kind in ("linearizable", "serializable"):
        request = rpc_pb2.RangeRequest(key=b"bench/key", serializable=kind == "serializable")
        measure = f"Range {kind} 8x16"
        _load(report, program, server, measure, request, requests=requests, streams=16)


def _load(
    report: Report,
    program: str,
    server: Server,
    measure: str,
    request: Message,
    *,
    requests: int,
    streams: int,
) -> None:
    """Send requests over 8 connections; note the rate and the server's CPU time for each."""
    before = server.cpu_seconds()
    rate = h2load.grpc_unary(
        server.port,
        f"/etcdserverpb.KV/{measure.partition(' ')[0]}",
        request,
        requests=requests,
        connections=CONNECTIONS,
        streams=streams,
    )
    microseconds = (server.cpu_seconds() - before) / requests * 1e6
    report.add(f"{measure}, requests/s", program, rate)
    report.add(f"{measure}, CPU us a request", program, microseconds)


def fanout(report: Report, program: str, server: Server, _requests: int) -> None:
    create = rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=WATCH_KEY))
    streams = Streams(
        server.port,
        "/etcdserverpb.Watch/Watch",
        create.SerializeToString(),
        connections=WATCH_CONNECTIONS,
        streams=WATCHERS,
    )
    streams.receive(WATCHERS)  # the "created" answers
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = _put_call(channel)
        delays: list[float] = []
        for _ in range(SINGLE_EVENTS):
            sent = time.monotonic()
            call(rpc_pb2.PutRequest(key=WATCH_KEY, value=VALUE))
            delays += [moment - sent for moment in streams.receive(WATCHERS, WATCH_KEY)]
        report.add("fan-out of 1 event to 1,000, p50 ms", program, percentile(delays, 0.5) * 1e3)
        report.add("fan-out of 1 event to 1,000, p99 ms", program, percentile(delays, 0.99) * 1e3)
        before, began = server.cpu_seconds(), time.monotonic()
        futures = [
            call.future(rpc_pb2.PutRequest(key=WATCH_KEY, value=VALUE)) for _ in range(BURST_EVENTS)
        ]
        last = streams.receive(WATCHERS * BURST_EVENTS, WATCH_KEY)[-1]
        for future in futures:
            future.result()
        count = WATCHERS * BURST_EVENTS
        microseconds = (server.cpu_seconds() - before) / count * 1e6
        report.add("fan-out of 50 events, events/s", program, count / (last - began))
        report.add("fan-out of 50 events, CPU us an event", program, microseconds)
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
                with SERVERS[program](arguments.data_in) as server:
                    MEASURES[measure](report, program, server, arguments.requests)
    report.print()
    if arguments.json:
        arguments.json.write_text(report.json())


if __name__ == "__main__":
    main()
