"""Attacks on a real node, for as long as you like.

    cd tests && uv run --no-sync python -m hostile --minutes 10
    cd tests && uv run --no-sync python -m hostile --seed 1a2b3c4d --case 17     one case again

First what takes too long for every run of the tests: 10,000 idle connections, bodies and readers
that stop in the middle. Then random attacks until the time is over, beside an honest client, with
what the node's memory does.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import tempfile
import time
from pathlib import Path

from hostile import http2 as h2
from hostile.attacked import MIB, Attacked
from hostile.calls import PUT, RANGE, call, framed, grpc_headers, http1, http2, post
from hostile.random_cases import run_case
from hostile.test_hostile_connections import idle
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd.rpc_pb2 import PutRequest, RangeRequest

IDLE = 10_000
AT_ONCE = 20
ROUND_SECONDS = 10.0
SILENT_SECONDS_MAX = 90
"""The node ends silent calls after 60."""

GROWTH_BYTES_MAX = 256 * MIB


async def halves(node: Attacked) -> None:
    """Half requests of every kind, and an answer that nobody takes: all of them end."""
    with node.unharmed():
        async with (
            http2(node.target) as connection,
            http2(node.target, {h2.Setting.INITIAL_WINDOW_SIZE: 0}) as reader,
        ):
            await connection.send(h2.headers(1, grpc_headers(PUT)))
            await connection.send(h2.headers(3, grpc_headers(PUT)), h2.data(3, b"\0\0"))
            put = framed(PutRequest(key=b"a", value=bytes(1000)))
            await call(connection, 5, grpc_headers(PUT), put)
            await call(reader, 1, grpc_headers(RANGE), framed(RangeRequest(key=b"a")))
            body = asyncio.create_task(
                http1(node.target, post("/v3/kv/put", b"{", length=100), SILENT_SECONDS_MAX)
            )
            # Both at once: who answers no pings is closed sooner.
            await asyncio.gather(
                connection.until_over(1, 3, seconds_max=SILENT_SECONDS_MAX),
                reader.until_over(1, seconds_max=SILENT_SECONDS_MAX),
            )
            assert (await body).startswith(b"HTTP/1.1 408")
            for stream in (1, 3):
                assert connection.answer(stream).headers["grpc-message"] == "stream timeout"
            assert connection.answer(5).headers["grpc-status"] == "0"
            assert reader.answer(1).reset is not None


async def at_random(node: Attacked, seed: str, minutes: float) -> None:
    """Random cases until the time is over."""
    end, number, before = time.monotonic() + 60 * minutes, 0, node.memory_bytes()
    while time.monotonic() < end:
        round_end = time.monotonic() + ROUND_SECONDS
        with node.unharmed(GROWTH_BYTES_MAX) as neighbour:
            while time.monotonic() < round_end:
                cases = range(number, number + AT_ONCE)
                await asyncio.gather(*(run_case(node.target, f"{seed}:{each}") for each in cases))
                number += AT_ONCE
        grown = node.memory_bytes() - before
        assert grown <= GROWTH_BYTES_MAX, f"grew by {grown / MIB:.0f} MiB since the start"
        print(
            f"{number:,} cases, memory {grown / MIB:+.1f} MiB, the neighbour's slowest put "
            f"{neighbour.slowest_seconds:.3f} s",
            flush=True,
        )
        for word in ("call_crashed", "request_crashed", "Traceback", "node_restarting"):
            assert word not in node.log, node.log[-3000:]


async def attack(node: Attacked, arguments: argparse.Namespace) -> None:
    if arguments.case is not None:
        with node.unharmed():
            await run_case(node.target, f"{arguments.seed}:{arguments.case}")
        return
    print(f"{IDLE:,} idle connections: {await idle(node, IDLE) / 1024:.1f} KiB each", flush=True)
    await halves(node)
    print("half requests and answers end", flush=True)
    await at_random(node, arguments.seed, arguments.minutes)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hostile", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1, help="of random attacks")
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--case", type=int, help="run this case of the seed only")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tianlu-hostile-") as directory:
        process = RegistryProcess(Path(directory))
        process.start(60)
        try:
            asyncio.run(attack(Attacked(process), arguments))
        finally:
            process.kill()


if __name__ == "__main__":
    main()
