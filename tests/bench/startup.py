#!/usr/bin/env python3
"""From the start of a program until it serves.

    uv run --no-sync python tests/bench/startup.py --rounds 5

A registry node on an empty directory and on one of 100,000 keys, etcd on the same, and `tianlu up`
with all of its parts. Figures are seconds from exec to the first healthy answer; files are in the
page cache.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).parent))

from report import Report
from servers import BIN, free_port, running, scratch, wait_for

from tianlu._proto.etcd import rpc_pb2

KEYS = 100_000
_KEYS_A_TXN = 100


def _registry(data: Path, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "tianlu", "registry", "--data-dir", str(data)),
        *("--listen-client-urls", f"http://127.0.0.1:{port}"),
    ]


def _etcd(data: Path, port: int) -> list[str]:
    url, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}"
    return [
        *(str(BIN / "etcd"), "--data-dir", str(data), "--log-level", "error"),
        *("--listen-client-urls", url, "--advertise-client-urls", url),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"default={peer}"),
    ]


def _up(data: Path, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "tianlu", "up", "--data-dir", str(data)),
        *("--listen", f"127.0.0.1:{port}"),
    ]


NODES = {"tianlu": _registry, "etcd": _etcd}


@contextlib.contextmanager
def _timed(command: list[str], url: str) -> Iterator[float]:
    """Run a program; gives the seconds until `url` said that it is well."""
    began = time.monotonic()
    with running(command):
        wait_for(" ".join(command[:4]), lambda: _is_well(url))
        yield time.monotonic() - began


def _is_well(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            body = answer.read()
    except OSError:
        return False
    # /health of both registries is JSON that may say otherwise.
    return not body.startswith(b"{") or json.loads(body).get("health", "true") == "true"


def _fill(port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            "/etcdserverpb.KV/Txn",
            request_serializer=rpc_pb2.TxnRequest.SerializeToString,
            response_deserializer=rpc_pb2.TxnResponse.FromString,
        )
        for first in range(0, KEYS, _KEYS_A_TXN):
            puts = [
                rpc_pb2.PutRequest(key=b"bench/%d" % key, value=b"v" * 100)
                for key in range(first, first + _KEYS_A_TXN)
            ]
            call(rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_put=p) for p in puts]))


def node(report: Report, program: str) -> None:
    """Start a node twice: before and after it has been filled."""
    with scratch() as directory:
        port = free_port()
        command = NODES[program](directory / "data", port)
        health = f"http://127.0.0.1:{port}/health"
        with _timed(command, health) as seconds:
            report.add("node, empty, s", program, seconds)
            _fill(port)
        with _timed(command, health) as seconds:
            report.add(f"node, {KEYS:,} keys, s", program, seconds)


def everything(report: Report) -> None:
    with scratch() as directory:
        port = free_port()
        with _timed(_up(directory / "data", port), f"http://127.0.0.1:{port}/readyz") as seconds:
            report.add("tianlu up, s", "tianlu", seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    report = Report(base="etcd")
    for _ in range(arguments.rounds):
        for program in NODES:
            node(report, program)
        everything(report)
    report.print()


if __name__ == "__main__":
    main()
