"""Very many connections, idle ones and short ones; and what limits of connections do."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hostile import http2 as h2
from hostile.attacked import Attacked
from hostile.calls import PUT, WATCH, ask, call, framed, grpc_headers, http1, http2, post
from hostile.wire import Wire, connect
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd.rpc_pb2 import (
    PutRequest,
    WatchCreateRequest,
    WatchRequest,
    WatchResponse,
)

IDLE = 3_000
"""`python -m hostile` opens 10,000; they are alike."""

BYTES_EACH_MAX = 40 * 1024


@asynccontextmanager
async def many(target: str, count: int) -> AsyncIterator[list[Wire]]:
    """Hold connections until the block ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wires: list[Wire] = []
    try:
        while len(wires) < count:
            step = min(100, count - len(wires))
            wires += await asyncio.gather(*(connect(target) for _ in range(step)))
        yield wires
    finally:
        for wire in wires:
            wire.reset()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def idle(node: Attacked, count: int) -> float:
    """Hold connections of which a third never say a word, a third have said hello in HTTP/2, and a
    third have made a request; returns the bytes that each costs."""
    before = node.memory_bytes()
    with node.unharmed(count * BYTES_EACH_MAX):
        async with many(node.target, count) as wires:
            for number, wire in enumerate(wires):
                if number % 3 == 1:
                    await wire.send(h2.PREFACE + h2.settings())
                elif number % 3 == 2:
                    await wire.send(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            await wires[count - count % 3 - 1].until(b"200 OK", 60)
            await ask(node.target, grpc_headers(PUT), framed(PutRequest(key=b"idle")))
            cost = (node.memory_bytes() - before) / count
            assert cost <= BYTES_EACH_MAX
    return cost


async def test_idle_connections_cost_little_and_nobody_else(node: Attacked) -> None:
    await idle(node, IDLE)


async def test_connections_that_come_and_go(node: Attacked) -> None:
    with node.unharmed():
        for _ in range(10):
            async with many(node.target, 100) as wires:
                for wire in wires[::2]:
                    await wire.send(h2.PREFACE + h2.settings() + h2.headers(1, grpc_headers(PUT)))
    async with asyncio.timeout(30):
        while node.connections > 10:
            await asyncio.sleep(0.05)


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[RegistryProcess]:
    process = RegistryProcess(
        tmp_path,
        "--max-connections=12",
        "--max-connections-per-client=8",
        "--max-requests-per-second-per-client=1",
        "--max-requests-burst-per-client=6",
        "--max-streams-per-client=3",
        "--max-watches-per-client=2",
    )
    process.start(60)
    yield process
    process.kill()


async def test_every_limit_at_once(limited: RegistryProcess) -> None:
    await _connections(limited)
    await _watches(limited)
    await _requests(limited)
    metrics = await http1(limited.target, _get("/metrics"))
    while metrics.startswith(b"HTTP/1.1 429"):  # it counts as any other request
        await asyncio.sleep(0.2)
        metrics = await http1(limited.target, _get("/metrics"))
    for limit in ("connections", "requests", "streams", "watches"):
        name = f'tianlu_registry_client_refused_total{{limit="{limit}"}}'
        (line,) = (each for each in metrics.decode().splitlines() if each.startswith(name))
        assert float(line.rpartition(" ")[2]) >= 1, line
    assert "node_stuck" not in limited.log
    assert "node_silent" not in limited.log


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()


async def _connections(limited: RegistryProcess) -> None:
    """Of 20 connections 11 are accepted, as the launcher has one, and 8 stay."""
    async with many(limited.target, 20) as wires:
        async with asyncio.timeout(30):
            while sum(not wire.closed for wire in wires) > 8:
                await asyncio.gather(*(wire.receive(0.05) for wire in wires if not wire.closed))
        assert sum(not wire.closed for wire in wires) == 8
        (left, *_) = (wire for wire in wires if not wire.closed)
        await left.send(_get("/livez"))
        assert b"200 OK" in await left.until_closed()


async def _watches(limited: RegistryProcess) -> None:
    create = framed(WatchRequest(create_request=WatchCreateRequest(key=b"a")))
    async with http2(limited.target) as connection:
        for stream in (1, 3, 5, 7):
            await connection.send(h2.headers(stream, grpc_headers(WATCH)))
        await connection.until_over(7)
        assert _refusal(connection.answer(7)) == "8"
        await connection.send_body(1, create * 3, end=False)
        async with asyncio.timeout(30):
            while (answers := _watch_answers(connection.answer(1).body)) and len(answers) < 3:
                await connection.until_pong()
            while len(answers) < 3:
                await connection.until_pong()
                answers = _watch_answers(connection.answer(1).body)
        assert [answer.canceled for answer in answers] == [False, False, True]
        assert answers[2].cancel_reason == "etcdserver: too many requests"


def _watch_answers(body: bytearray) -> list[WatchResponse]:
    answers, start = [], 0
    while start + 5 <= len(body):
        end = start + 5 + int.from_bytes(body[start + 1 : start + 5], "big")
        answers.append(WatchResponse.FromString(bytes(body[start + 5 : end])))
        start = end
    return answers


def _refusal(answer: h2.Answer) -> str | None:
    assert answer.headers["grpc-message"] == "etcdserver: too many requests"
    assert int(answer.headers["grpc-retry-pushback-ms"]) > 0
    return answer.headers.get("grpc-status")


async def _requests(limited: RegistryProcess) -> None:
    body = framed(PutRequest(key=b"a"))
    async with http2(limited.target) as connection:
        streams = range(1, 40, 2)
        for stream in streams:
            await call(connection, stream, grpc_headers(PUT), body)
            await connection.until_over(stream)
        refused = [one for one in streams if connection.answer(one).headers["grpc-status"] != "0"]
        assert refused
        assert {_refusal(connection.answer(stream)) for stream in refused} == {"8"}
    answer = await http1(limited.target, post("/v3/kv/put", b'{"key":"YQ=="}', "connection: close"))
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: " in answer
    assert b"etcdserver: too many requests" in answer
    assert (await http1(limited.target, _get("/readyz"))).startswith(b"HTTP/1.1 200 ")
