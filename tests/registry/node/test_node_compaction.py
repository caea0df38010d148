"""Physical compaction makes room for writes: it waits for the disk before they must."""

from __future__ import annotations

import asyncio

import pytest

from tianlu_registry.errors import Stopped
from tianlu_registry.node.compaction import PhysicalCompaction


class Store:
    """Takes so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def compaction_step(self, budget: int) -> bool:
        assert budget > 0
        self.left -= 1
        return self.left <= 0


class Committer:
    def __init__(self) -> None:
        self.is_filled = False
        self.told = 0

    def on_changed(self) -> None:
        self.told += 1


def unexpected(error: Exception) -> None:
    raise AssertionError from error


def compaction_of(store: Store, committer: Committer) -> PhysicalCompaction:
    loop = asyncio.get_running_loop()
    return PhysicalCompaction(loop, store, committer, on_failed=unexpected)  # type: ignore[arg-type]


async def test_it_goes_on_when_the_commit_that_was_full_is_done() -> None:
    store, committer = Store(3), Committer()
    compaction = compaction_of(store, committer)
    committer.is_filled = True
    finished = compaction.finished()
    await asyncio.sleep(0.02)
    assert (store.left, finished.done()) == (3, False)
    committer.is_filled = False
    compaction.on_committed()
    async with asyncio.timeout(5):
        await finished
    assert (store.left, committer.told) == (0, 3)


async def test_stopped_in_the_middle() -> None:
    store, committer = Store(1_000_000), Committer()
    compaction = compaction_of(store, committer)
    finished = compaction.finished()
    await asyncio.sleep(0.01)
    compaction.stop()
    left = store.left
    with pytest.raises(Stopped):
        await finished
    await asyncio.sleep(0.01)
    assert store.left == left < 1_000_000
    with pytest.raises(Stopped):
        await compaction.finished()
