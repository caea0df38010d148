"""Disks that fail and bugs that show: the node stops and acknowledges nothing more."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry.engine.calls import Sink, delete, get, keys, one, put, revision_of, until
from registry.node.nodes import put_until, running, small

from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.errors import (
    Broken,
    InvariantBroken,
    NoSpace,
    RegistryError,
    Stopped,
    StorageFailed,
)
from tianlu_registry.mvcc.types import WatchSpec
from tianlu_registry.node.config import KIB, MIB


class FailingPoint:
    """A crash hook that raises at one point, once it has been told to."""

    def __init__(self, point: str, error: Exception) -> None:
        self.point = point
        self.error = error
        self.armed = False

    def __call__(self, point: str) -> None:
        if self.armed and point == self.point:
            raise self.error


@pytest.mark.parametrize(
    ("point", "error", "stopped_with", "exit_code"),
    [
        ("before_wal_sync", OSError(5, "Input/output error"), StorageFailed, 74),
        ("before_wal_sync", StorageFailed("fdatasync failed"), StorageFailed, 74),
        ("before_backend_commit", OSError(28, "No space left on device"), StorageFailed, 74),
        ("before_apply", RuntimeError("a bug"), InvariantBroken, 70),
    ],
)
async def test_the_node_stops_and_acknowledges_nothing_more(
    tmp_path: Path, point: str, error: Exception, stopped_with: type[Broken], exit_code: int
) -> None:
    hook = FailingPoint(point, error)
    fatal: list[Broken] = []
    sink = Sink()
    async with running(small(tmp_path), crash_hook=hook, fatal=fatal) as node:
        store = node.store
        await put(store, b"before", b"1")
        store.watch(WatchSpec(b"before"), sink)
        hook.armed = True
        acknowledged = []

        async def write(number: int) -> None:
            await put(store, b"k%d" % number, b"x")
            acknowledged.append(b"k%d" % number)

        writes = [asyncio.ensure_future(write(number)) for number in range(10)]
        await until(lambda: node.stopped_with is not None)
        for outcome in await asyncio.gather(*writes, return_exceptions=True):
            assert outcome is None or isinstance(outcome, Stopped)
        if point != "before_backend_commit":
            assert acknowledged == []
        assert isinstance(node.stopped_with, stopped_with)
        assert fatal == [node.stopped_with]
        assert fatal[0].exit_code == exit_code
        for call in (put(store, b"after"), get(store, b"before"), revision_of(store)):
            with pytest.raises(Stopped):
                await call
        assert isinstance(sink.error, Stopped)
    async with running(small(tmp_path)) as node:
        assert (await one(node.store, b"before")).value == b"1"
        found = keys(await get(node.store, b"k", b"l"))
        assert set(acknowledged) <= set(found)


async def test_a_failure_while_starting_is_raised_to_the_starter(tmp_path: Path) -> None:
    hook = FailingPoint("before_wal_sync", OSError(5, "Input/output error"))
    hook.armed = True
    fatal: list[Broken] = []
    with pytest.raises(StorageFailed, match="Input/output error"):
        await EmbeddedNode.start(small(tmp_path), crash_hook=hook, on_fatal=fatal.append)
    assert fatal == []
    async with running(small(tmp_path)) as node:
        await put(node.store, b"k", b"1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    if os.getuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


async def test_the_alarm_comes_before_the_disk_is_full(small_disk: Path) -> None:
    config = small(small_disk / "data", disk_free_bytes_min=4 * MIB)
    async with running(config) as node:
        store = node.store
        await put(store, b"k", b"1")
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(8 * MIB))
        node.node.space.measure()
        with pytest.raises(NoSpace, match="database space exceeded"):
            await put(store, b"k", b"2")
        assert "bytes free" in store.status().errors[0]
        assert (await get(store, b"k")).count == 1
        assert (await delete(store, b"k")).deleted == 1
        ballast.unlink()
        await until(lambda: store.status().errors == () == store.status().alarms)
        await put(store, b"k", b"2")


async def test_a_full_disk_stops_the_node_and_loses_nothing(small_disk: Path) -> None:
    config = small(small_disk / "data", disk_free_bytes_min=0)
    fatal: list[Broken] = []
    async with running(config, fatal=fatal) as node:
        count = await put_until(Stopped, node.store, b"k", 40 * KIB)
    assert isinstance(fatal[0], StorageFailed)
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    async with running(config) as node:
        found = await get(node.store, b"k", b"l", keys_only=True)
        assert found.count >= count > 50
        last = await one(node.store, b"k%06d" % (count - 1))
        assert len(last.value) == 40 * KIB


async def test_no_room_to_begin_with(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(12 * MIB - 64 * KIB))
    with pytest.raises(RegistryError, match="o space left") as caught:
        await EmbeddedNode.start(small(small_disk / "data"))
    assert "\n" not in str(caught.value)
    (small_disk / "ballast").unlink()
    async with running(small(small_disk / "data")) as node:
        await put(node.store, b"k", b"1")
