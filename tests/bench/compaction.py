"""Whether puts notice that half a million old revisions are removed.

    python tests/bench/compaction.py [--revisions 500000] [--rounds 3] [--disk DIRECTORY]

Many keys are overwritten until there are as many revisions; then all but the newest are compacted,
physically, while a probe puts at a steady pace. Reported: the probe's 99th percentile and maximum
before and during, and how long the compaction took. Of etcd the same.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import grpc
from put_probe import Add, PutProbe, add_puts, alternate

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    PutRequest,
    RequestOp,
    TxnRequest,
    TxnResponse,
)

OPS = 100
CALM_SECONDS = 2.0


def fill(channel: grpc.Channel, revisions: int, keys: int) -> int:
    """Overwrite keys until there are so many revisions of them; returns the store's revision."""
    call: Any = channel.unary_unary(
        "/etcdserverpb.KV/Txn",
        request_serializer=TxnRequest.SerializeToString,
        response_deserializer=TxnResponse.FromString,
    )
    answers = []
    for start in range(0, revisions, OPS):
        ops = [
            RequestOp(request_put=PutRequest(key=b"k%07d" % (n % keys), value=bytes(64)))
            for n in range(start, min(start + OPS, revisions))
        ]
        answers.append(call.future(TxnRequest(success=ops), timeout=60))
        if len(answers) == 32:
            for answer in answers:
                revision: int = answer.result().header.revision
            answers = []
    for answer in answers:
        revision = answer.result().header.revision
    return revision


def measure(port: int, revisions: int, keys: int, add: Add) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        revision = fill(channel, revisions, keys)
        compact: Any = channel.unary_unary(
            "/etcdserverpb.KV/Compact",
            request_serializer=CompactionRequest.SerializeToString,
            response_deserializer=CompactionResponse.FromString,
        )
        with PutProbe(port) as probe:
            time.sleep(CALM_SECONDS)
            calm = len(probe.latencies)
            started = time.monotonic()
            compact(CompactionRequest(revision=revision, physical=True), timeout=120)
            seconds = time.monotonic() - started
        before, during = probe.latencies[:calm], probe.latencies[calm:]
        add("compaction, s", seconds)
        add_puts(add, before, during)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--revisions", type=int, default=500_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--disk", type=Path)
    arguments = parser.parse_args()
    alternate(
        arguments.rounds,
        arguments.disk,
        lambda port, add: measure(port, arguments.revisions, arguments.keys, add),
    )


if __name__ == "__main__":
    main()
