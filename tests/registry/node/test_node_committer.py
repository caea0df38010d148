from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from registry.engine.calls import until

from tianlu_registry.errors import Broken, StorageFailed
from tianlu_registry.node.committer import STALL_FACTOR, Committer
from tianlu_registry.raft.types import Index, Term
from tianlu_registry.storage.backend import LmdbBackend

NEVER = 3_600.0


class Harness:
    """A committer on a real database. Its writes wait for `may_write`."""

    def __init__(
        self, directory: Path, *, operations_max: int = 10, interval_seconds: float = NEVER
    ) -> None:
        self.backend = LmdbBackend.open(directory)
        self.backend.commit(0, 0)  # a new database has its format to write
        self.may_write = threading.Event()
        self.may_write.set()
        self.error: Exception | None = None
        self.committed: list[int] = []
        self.failed: list[Broken] = []
        self.index = 0
        self.committer = Committer(
            self.backend,
            asyncio.get_running_loop(),
            operations_max=operations_max,
            interval_seconds=interval_seconds,
            on_committed=self.committed.append,
            on_failed=self.failed.append,
            crash_hook=self.hook,
        )

    def hook(self, point: str) -> None:
        if point == "before_backend_commit":
            self.may_write.wait(20)
            if self.error is not None:
                raise self.error

    def apply(self, count: int) -> None:
        """Apply entries that write one record each."""
        for _ in range(count):
            self.index += 1
            self.backend.put(self.index.to_bytes(12, "big"), b"x" * 100)
            self.committer.on_applied(Index(self.index), Term(1))


async def test_enough_operations_make_a_commit_due(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.apply(9)
    await asyncio.sleep(0)
    assert harness.backend.pending_ops == 9
    harness.apply(1)
    await until(lambda: harness.committed == [10])
    assert harness.backend.applied.index == 10
    await harness.committer.close(commit=True)
    assert harness.committed == [10]


async def test_the_interval_makes_a_commit_due(tmp_path: Path) -> None:
    harness = Harness(tmp_path, interval_seconds=0.01)
    harness.apply(1)
    await until(lambda: harness.committed == [1])
    await harness.committer.close(commit=True)


async def test_one_commit_at_a_time_and_the_next_takes_what_gathered(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.may_write.clear()
    harness.apply(35)
    assert harness.committer.bytes_waiting > 35 * 100
    assert not harness.committer.is_behind
    harness.apply(10 * STALL_FACTOR)
    assert harness.committer.is_behind
    harness.may_write.set()
    await until(lambda: harness.committed == [10, 75])
    assert not harness.committer.is_behind
    assert harness.committer.bytes_waiting == 0
    await harness.committer.close(commit=True)


async def test_changes_without_log_entries_are_committed_too(tmp_path: Path) -> None:
    harness = Harness(tmp_path, interval_seconds=0.01)
    harness.committer.on_changed()  # nothing has changed: nothing to commit
    harness.apply(1)
    await until(lambda: harness.committed == [1])
    harness.backend.delete((1).to_bytes(12, "big"))
    harness.committer.on_changed()
    await until(lambda: harness.committed == [1, 1])
    await harness.committer.close(commit=True)


async def test_closing_commits_the_rest_only_if_told_to(tmp_path: Path) -> None:
    harness = Harness(tmp_path / "a")
    harness.apply(3)
    await harness.committer.close(commit=True)
    assert harness.backend.applied.index == 3
    other = Harness(tmp_path / "b")
    other.apply(3)
    await other.committer.close(commit=False)
    assert other.backend.applied.index == 0


@pytest.mark.parametrize("error", [OSError(28, "No space left"), StorageFailed("No space left")])
async def test_a_failed_commit_is_reported_and_the_last(tmp_path: Path, error: Exception) -> None:
    harness = Harness(tmp_path)
    harness.error = error
    harness.apply(10)
    await until(lambda: harness.failed != [])
    assert isinstance(harness.failed[0], StorageFailed)
    assert "No space left" in str(harness.failed[0])
    harness.error = None
    harness.apply(20)
    await harness.committer.close(commit=False)
    assert (harness.committed, len(harness.failed)) == ([], 1)


async def test_a_failure_of_the_last_commit_is_raised(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.apply(3)
    harness.error = OSError(5, "Input/output error")
    with pytest.raises(StorageFailed, match="Input/output error"):
        await harness.committer.close(commit=True)


class Work:
    """Work on the file that takes until the test lets it end."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.begun = threading.Event()
        self.ended = False

    def __call__(self) -> None:
        self.begun.set()
        self.may_end.wait(20)
        self.ended = True


async def test_a_second_holder_waits_for_the_work_of_the_first(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    committer, work = harness.committer, Work()
    await committer.hold()
    copying = asyncio.ensure_future(committer.run(work))
    await until(work.begun.is_set)
    harness.apply(1)
    # It would replace the file that is being copied.
    second = asyncio.ensure_future(committer.hold())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not second.done()
    assert not harness.backend.is_committing
    work.may_end.set()
    await second
    assert work.ended
    assert harness.committed == [1]
    await copying
    committer.resume()
    committer.resume()
    await committer.close(commit=True)


async def test_work_that_was_given_up_still_keeps_others_from_the_file(tmp_path: Path) -> None:
    harness = Harness(tmp_path, operations_max=1)
    committer, work = harness.committer, Work()
    await committer.hold()
    copying = asyncio.ensure_future(committer.run(work))
    await until(work.begun.is_set)
    copying.cancel()
    await asyncio.wait([copying])
    committer.resume()
    harness.apply(1)
    await asyncio.sleep(0)
    assert not harness.backend.is_committing
    work.may_end.set()
    await until(lambda: harness.committed == [1])
    assert work.ended
    await committer.close(commit=True)
