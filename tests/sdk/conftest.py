"""Fixtures of the SDK's tests."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sdk_registry import RegistryProcess

import tianlu


@pytest.fixture(scope="session")
def shared_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A registry for tests that do it no harm; they keep apart by service names."""
    registry = RegistryProcess(tmp_path_factory.mktemp("registry"))
    registry.start()
    yield registry
    registry.close()


@pytest.fixture
def own_registry(tmp_path: Path) -> Iterator[RegistryProcess]:
    """A registry for one test, to be killed and restarted."""
    registry = RegistryProcess(tmp_path)
    registry.start()
    yield registry
    registry.close()


@pytest.fixture
async def client(shared_registry: RegistryProcess) -> AsyncIterator[tianlu.AsyncClient]:
    async with tianlu.AsyncClient(shared_registry.endpoint, name="tests") as client:
        yield client


Until = Callable[..., Awaitable[None]]


@pytest.fixture
def until() -> Until:
    """Wait until a condition holds; fail after some seconds, saying what was waited for."""

    async def wait(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            held = condition()
            if isinstance(held, Awaitable):
                held = await held
            if held:
                return
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds:g} s: {what}")
            await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nobody listens on; held, so that nobody else gets it meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
