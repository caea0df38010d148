"""What a message between members costs: both ends in one process, so that CPU counts both.

    uv run python tests/bench/peer_transport.py [--loop asyncio] [--grpc]

`--grpc` sends the same bytes on a gRPC stream instead, for comparison (ADR 0012).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import uvloop

# In place of this directory, whose `registry` would be found first.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from registry.transport.transports import Node, connect, connected, running, until

from tianlu_registry.raft import (
    AppendEntries,
    AppendEntriesResponse,
    ConfState,
    Entry,
    Index,
    InstallSnapshot,
    MemberId,
    Message,
    SnapshotMeta,
    Term,
)
from tianlu_registry.transport import SnapshotSource, Transport, TransportLimits
from tianlu_registry.transport.codec import decode_message, encode_message

ONE, TWO = MemberId(1), MemberId(2)
ENTRY_BYTES = 250
LIMITS = TransportLimits()


def append(count: int, first: int = 1000) -> AppendEntries:
    entries = tuple(Entry(Term(5), Index(first + i), bytes(ENTRY_BYTES)) for i in range(count))
    return AppendEntries(TWO, ONE, Term(5), Index(first - 1), Term(5), entries, Index(first - 1))


class Echo(Node):
    """Counts messages, and answers each with `answer` if there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.wanted = 0
        self.done = asyncio.Event()
        self.answer: Callable[[Message], None] | None = None  # type: ignore[assignment]

    def on_messages(self, messages: list[Message]) -> None:
        self.count += len(messages)
        if self.answer is not None:
            for message in messages:
                self.answer(message)
        if self.count >= self.wanted:
            self.done.set()

    async def wait(self, count: int) -> None:
        self.wanted, self.count = count, 0
        self.done.clear()
        await self.done.wait()


def report(what: str, messages: int, wall: float, cpu: float, size: int) -> None:
    print(
        f"{what:42} {messages / wall:10,.0f}/s {cpu / messages * 1e6:8.1f} us CPU each "
        f"{messages * size / wall / 1e6:8.1f} MB/s"
    )


async def stream(one: Transport, node_two: Echo, entries: int, turns: int, burst: int) -> None:
    """Send bursts, one per turn of the loop, as fast as they are taken."""
    message = append(entries)
    size = len(encode_message(message))
    total = turns * burst
    waiting = asyncio.create_task(node_two.wait(total))
    await asyncio.sleep(0)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(turns):
        one.send([message] * burst)
        await asyncio.sleep(0)
        while one.peer_status()[TWO].queue_messages > LIMITS.send_queue_messages_max - burst:
            await asyncio.sleep(0)
    await waiting
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    report(f"append of {entries} entries, {burst} a turn", total, wall, cpu, size)


async def ping_pong(one: Transport, two: Transport, node_one: Echo, node_two: Echo) -> None:
    """An append, its answer, the next append: what a lone writer waits for."""
    count = 5000
    answer = AppendEntriesResponse(ONE, TWO, Term(5), Index(1000))
    message = append(1)
    node_two.answer = lambda _: two.send([answer])
    node_one.answer = lambda _: one.send([message]) if node_one.count < count else None
    wall, cpu = time.perf_counter(), time.process_time()
    one.send([message])
    await node_one.wait(count)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    node_one.answer = node_two.answer = None
    report("append of 1 entry and its answer", count, wall, cpu, ENTRY_BYTES)


async def snapshot(one: Transport, node_one: Echo, node_two: Echo, directory: Path) -> None:
    """A raft_snapshot, and how long messages take meanwhile."""
    size = 512 * 1024 * 1024
    path = directory / "copy"
    path.write_bytes(bytes(size))
    message = InstallSnapshot(
        TWO, ONE, Term(5), SnapshotMeta(Index(9), Term(5), ConfState((ONE, TWO)))
    )

    async def copy() -> SnapshotSource:
        return SnapshotSource(message, path, lambda: None)

    delays = []
    beat = append(0)
    wall, cpu = time.perf_counter(), time.process_time()
    one.send_snapshot(message, copy)
    while not node_one.sent:
        sent = time.perf_counter()
        one.send([beat])
        await node_two.wait(1)
        delays.append(time.perf_counter() - sent)
        await asyncio.sleep(0.01)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    delays.sort()
    print(
        f"raft_snapshot of {size >> 20} MiB: {size / wall / 1e6:.0f} MB/s, {cpu:.2f} s CPU; "
        f"messages meanwhile: median {delays[len(delays) // 2] * 1e3:.2f} ms, "
        f"p99 {delays[len(delays) * 99 // 100] * 1e3:.2f} ms, worst {delays[-1] * 1e3:.2f} ms"
    )


def codec() -> None:
    for entries in (0, 1, 10, 300):
        message = append(entries)
        data = encode_message(message)
        times = []
        for work in (lambda m=message: encode_message(m), lambda d=data: decode_message(d)):  # type: ignore[misc]
            rounds = []
            for _ in range(5):
                start = time.perf_counter()
                for _ in range(500):
                    work()
                rounds.append((time.perf_counter() - start) / 500 * 1e6)
            times.append(min(rounds))
        print(f"codec, {entries:3} entries: write {times[0]:6.1f} us, read {times[1]:6.1f} us")


async def transports() -> None:
    codec()
    node_one, node_two = Echo(), Echo()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        async with (
            running(1, directory, node=node_one, limits=LIMITS) as (one, _),
            running(2, directory, node=node_two, limits=LIMITS) as (two, _),
        ):
            connect(one, two)
            await until(lambda: connected(one, 2) and connected(two, 1))
            await ping_pong(one, two, node_one, node_two)
            for entries, turns, burst in ((0, 3000, 10), (1, 20_000, 1), (10, 5000, 1)):
                await stream(one, node_two, entries, turns, burst)
            await stream(one, node_two, 300, 500, 1)
            await snapshot(one, node_one, node_two, directory)


async def grpc_stream() -> None:
    """The same encoded messages on a gRPC stream of bytes (grpc.aio), nothing parsed by gRPC."""
    import grpc

    received = 0
    wanted = 0
    done = asyncio.Event()

    async def take(requests: AsyncIterator[bytes], _context: object) -> bytes:
        nonlocal received
        async for request in requests:
            decode_message(request)
            received += 1
            if received >= wanted:
                done.set()
        return b""

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    handler = grpc.stream_unary_rpc_method_handler(take)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("p.P", {"S": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_unary("/p.P/S")()
        for entries, total in ((0, 10_000), (1, 10_000), (10, 5000), (300, 500)):
            message = append(entries)
            received, wanted = 0, total
            done.clear()
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(total):
                await call.write(encode_message(message))
            await done.wait()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            size = len(encode_message(message))
            report(f"gRPC stream, append of {entries} entries", total, wall, cpu, size)
        await call.done_writing()
        await call
    await server.stop(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--grpc", action="store_true")
    given = parser.parse_args()
    work = grpc_stream() if given.grpc else transports()
    uvloop.run(work) if given.loop == "uvloop" else asyncio.run(work)


if __name__ == "__main__":
    main()
