"""The embedded store alone, in this process: no network, no gRPC. The figures of ADR 0004.

    uv run python tests/bench/embedded_store.py --directory /path/on/the/disk/to/measure

Every figure is the median of alternating rounds. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from tianlu._proto.etcd.rpc_pb2 import PutRequest, RangeRequest
from tianlu_registry.engine.embedded import EmbeddedNode, EmbeddedStore
from tianlu_registry.node.config import NodeConfig

VALUE = bytes(100)
KEYS_PER_WORKER = 1_000

Call = Callable[[EmbeddedStore, bytes], Awaitable[object]]


def put(store: EmbeddedStore, key: bytes) -> Awaitable[object]:
    return store.put(PutRequest(key=key, value=VALUE))


def read(store: EmbeddedStore, key: bytes) -> Awaitable[object]:
    return store.range(RangeRequest(key=key))


async def measure(
    store: EmbeddedStore, call: Call, workers: int, seconds: float
) -> tuple[float, float, float]:
    """Return calls per second, the slowest 1 % of them in ms, and CPU microseconds per call."""
    took: list[float] = []
    ends = time.perf_counter() + seconds

    async def work(number: int) -> None:
        count = 0
        while (started := time.perf_counter()) < ends:
            await call(store, b"bench/%d/%d" % (number, count % KEYS_PER_WORKER))
            took.append(time.perf_counter() - started)
            count += 1

    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work(number) for number in range(workers)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    took.sort()
    return len(took) / elapsed, took[int(len(took) * 0.99)] * 1e3, cpu / len(took) * 1e6


async def main(directory: Path, rounds: int, seconds: float) -> None:
    node = await EmbeddedNode.start(NodeConfig(directory))
    figures: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for _ in range(rounds):
        for workers in (1, 8, 128):
            for name, call in (("put", put), ("range", read)):
                found = await measure(node.store, call, workers, seconds)
                figures.setdefault((name, workers), []).append(found)
    await node.stop()
    print(f"{'call':<8}{'concurrent':>12}{'per second':>14}{'99 % ms':>12}{'CPU us':>10}")
    for (name, workers), rows in figures.items():
        rate, slow, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:<8}{workers:>12}{rate:>14,.0f}{slow:>12.2f}{cpu:>10.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, help="parent of the data directory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory, prefix="tianlu-bench-") as data:
        uvloop.run(main(Path(data), given.rounds, given.seconds))
