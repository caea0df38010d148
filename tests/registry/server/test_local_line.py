"""The launcher's line to its child: kept, made again, and what a full server's silence means."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tianlu_registry.server.local_http import Line

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


@contextlib.asynccontextmanager
async def serving(path: Path, handler: Handler) -> AsyncIterator[None]:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(served, str(path))
    try:
        yield
    finally:
        server.close()


@contextlib.contextmanager
def line(path: Path, *, may_be_full: bool = False) -> Any:
    with contextlib.closing(Line(path, may_be_full)) as made:
        yield made


async def ask(one: Line, seconds: float = 10) -> bool:
    return await one.ask("/alive", {"x-token": "t"}, seconds)


async def test_one_connection_serves_many_requests(tmp_path: Path) -> None:
    heads: list[list[bytes]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append([])
        while True:
            heads[-1].append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK)

    async with serving(tmp_path / "s", handler):
        with line(tmp_path / "s") as one:
            assert [await ask(one) for _ in range(3)] == [True] * 3
    ((first, *_),) = heads
    assert [len(each) for each in heads] == [3]
    assert first.startswith(b"GET /alive HTTP/1.1\r\n")
    assert b"\r\nx-token: t\r\n" in first


async def test_a_line_that_was_closed_is_made_again(tmp_path: Path) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)

    async with serving(tmp_path / "s", handler):
        with line(tmp_path / "s") as one:
            assert [await ask(one) for _ in range(3)] == [True] * 3


@pytest.mark.parametrize("may_be_full", [True, False])
async def test_closed_at_once_counts_only_where_there_is_a_limit(
    tmp_path: Path, may_be_full: bool
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        return

    async with serving(tmp_path / "s", handler):
        with line(tmp_path / "s", may_be_full=may_be_full) as one:
            assert await ask(one) is may_be_full


@pytest.mark.parametrize("may_be_full", [True, False])
async def test_nobody_there_and_no_answer_are_no_answers(tmp_path: Path, may_be_full: bool) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    with line(tmp_path / "s", may_be_full=may_be_full) as one:
        assert not await ask(one)
        async with serving(tmp_path / "s", handler):
            assert not await ask(one, 0.05)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 503 No\r\n\r\n", b"nonsense\r\n\r\n", b"HTTP/1.1 x\r\n\r\n"]
)
async def test_another_answer_is_none(tmp_path: Path, answer: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()

    async with serving(tmp_path / "s", handler):
        with line(tmp_path / "s", may_be_full=True) as one:
            assert not await ask(one)
