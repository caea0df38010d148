from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from tianlu_registry.errors import Broken, StorageFailed
from tianlu_registry.node.writer import WriterThread
from tianlu_registry.raft.types import Entry, HardState, Index, Term


class FakeLog:
    """Notes calls. Syncs wait for `may_sync`; `failure` is what the next one raises."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.may_sync = threading.Event()
        self.may_sync.set()
        self.failure: Exception | None = None

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        self.calls.append("append " + ",".join(str(entry.index) for entry in entries))

    def sync(self) -> None:
        self.may_sync.wait(10)
        self.calls.append("sync")
        if self.failure is not None:
            raise self.failure

    def release(self, up_to: Index) -> int:
        self.calls.append(f"release {up_to}")
        return 0

    def close(self) -> None:
        self.calls.append("close")


class Harness:
    def __init__(self) -> None:
        self.log = FakeLog()
        self.persisted: list[int] = []
        self.points: list[str] = []
        self.failed: asyncio.Future[Broken] = asyncio.get_running_loop().create_future()
        self.writer = WriterThread(
            self.log,
            asyncio.get_running_loop(),
            on_persisted=self.persisted.append,
            on_failed=self.failed.set_result,
            crash_hook=self.points.append,
        )

    def write(self, number: int) -> None:
        self.writer.write(number, None, (Entry(Term(1), Index(number), b"x"),))

    async def stop(self) -> None:
        self.log.may_sync.set()
        await asyncio.to_thread(self.writer.stop)
        await asyncio.sleep(0)


async def test_what_gathers_during_a_sync_shares_the_next() -> None:
    harness = Harness()
    harness.log.may_sync.clear()
    harness.write(1)
    harness.writer.start()
    while harness.log.calls != ["append 1"]:
        await asyncio.sleep(0.001)
    for number in (2, 3, 4):
        harness.write(number)
    await harness.stop()
    assert harness.log.calls == [
        "append 1", "sync", "append 2", "append 3", "append 4", "sync", "close",
    ]  # fmt: skip
    assert harness.persisted == [1, 4]


async def test_releases_wait_for_the_sync_and_only_the_newest_is_done() -> None:
    harness = Harness()
    harness.writer.release(Index(5))
    harness.write(1)
    harness.writer.release(Index(6))
    harness.writer.start()
    await harness.stop()
    assert harness.log.calls == ["append 1", "sync", "release 6", "close"]
    assert harness.points == [
        "before_wal_append",
        "before_wal_sync",
        "after_wal_sync",
        "before_wal_release",
        "after_wal_release",
    ]


@pytest.mark.parametrize("failure", [StorageFailed("disk gone"), OSError(5, "disk gone")])
async def test_after_a_failed_sync_nothing_is_reported_or_written(failure: Exception) -> None:
    harness = Harness()
    harness.log.failure = failure
    harness.write(1)
    harness.writer.start()
    error = await asyncio.wait_for(harness.failed, 10)
    assert isinstance(error, StorageFailed)
    assert "disk gone" in str(error)
    harness.log.failure = None
    harness.write(2)
    await harness.stop()
    assert harness.persisted == []
    assert harness.log.calls == ["append 1", "sync", "close"]
