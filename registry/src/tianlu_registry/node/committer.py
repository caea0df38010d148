"""Moves applied state into the database file, in batches, and lets go of the log behind it.

The loop freezes what has been applied together with its log position; a thread writes that in one
LMDB transaction; the loop goes on applying meanwhile. Afterwards the log up to that position (less
a margin for lagging followers) is no longer needed, because a restart replays from there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tianlu_registry.durations import Durations
from tianlu_registry.errors import Broken, Stopped, StorageFailed
from tianlu_registry.node.crash import CrashHook
from tianlu_registry.raft.types import Index, Term
from tianlu_registry.storage.backend import Batch, LmdbBackend

STALL_FACTOR: Final = 4
"""Applying stops while this many times `commit_operations_max` operations wait."""


class Committer:
    """Commits the backend's overlay.

    Args:
        backend: the database; frozen and finished on the loop, written on this object's thread.
        loop: where everything but the writing runs.
        operations_max, interval_seconds: what makes a commit due, whichever comes first.
        on_committed: called on the loop with the position that a restart would replay from.
        on_failed: called on the loop with the error that stops the node.
        crash_hook: see `node.crash`.

    Attributes:
        commit_seconds: how long the commits took.
    """

    def __init__(
        self,
        backend: LmdbBackend,
        loop: asyncio.AbstractEventLoop,
        *,
        operations_max: int,
        interval_seconds: float,
        on_committed: Callable[[Index], None],
        on_failed: Callable[[Broken], None],
        crash_hook: CrashHook | None = None,
    ) -> None:
        self.commit_seconds: Final = Durations()
        self._backend = backend
        self._loop = loop
        self._operations_max = operations_max
        self._interval_seconds = interval_seconds
        self._on_committed = on_committed
        self._on_failed = on_failed
        self._crash_hook = crash_hook
        self._applied = (Index(backend.applied.index), Term(backend.applied.term))
        self._dirty = False
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Future[None] | None = None
        self._running_bytes = 0
        self._closed = False
        self._held = 0
        self._working: asyncio.Future[None] | None = None
        self._failure: Broken | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tianlu-db-commit")

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for the disk that nothing more should be added to it."""
        return self._backend.pending_ops >= STALL_FACTOR * self._operations_max

    @property
    def is_filled(self) -> bool:
        """Whether the next commit has its fill: what can wait should not be added to it. Far from
        `is_behind`, so that whatever stops at this leaves room for the log's commands."""
        return self._backend.pending_ops >= self._operations_max

    @property
    def bytes_waiting(self) -> int:
        """Estimate of what the database file does not show in its size yet."""
        return self._backend.pending_bytes + self._running_bytes

    def on_applied(self, index: Index, term: Term) -> None:
        """Note the state machine's new position; commit now or when the interval ends."""
        self._applied = (index, term)
        self._dirty = True
        self._schedule()

    def on_changed(self) -> None:
        """Note that the state may have changed otherwise than by the log: compaction went on."""
        self._dirty = self._dirty or self._backend.pending_ops > 0
        self._schedule()

    async def hold(self) -> None:
        """Bring what was applied into the file, then commit nothing more until `resume`.

        Meanwhile the writes wait in memory, up to `STALL_FACTOR`; then applying pauses too. May be
        called again while it is held; every call needs its `resume`. When it returns, and until
        the caller's next await, nobody else works on the file: not what another holder has given
        to `run` either.
        """
        self._held += 1
        try:
            await self._finished()
            if self._dirty and self._failure is None and not self._closed:
                self._start()
                await self._finished()
        except BaseException:
            self.resume()
            raise

    async def run(self, work: Callable[[], None]) -> None:
        """Do work on the database file while it is held, on the thread of the commits: so `close`
        waits for it, whoever has given it up.

        Raises:
            Stopped: the node stops.
        """
        if self._closed:
            raise Stopped
        job = self._thread.submit(work)
        # Not what the asker awaits: that ends with the asker, whatever the thread still does.
        self._working = working = self._loop.create_future()
        job.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._worked, working))
        await asyncio.wrap_future(job)

    def resume(self) -> None:
        """End a `hold`."""
        self._held -= 1
        self._schedule()

    def restart_at(self, index: Index, term: Term) -> None:
        """Go on after the database was replaced by one at another log position, while held."""
        self._applied = (index, term)
        self._dirty = False
        self._disarm()

    async def close(self, *, commit: bool) -> None:
        """Wait for a running commit, commit the rest if told to, and end the thread.

        Raises:
            Broken: a commit has failed; nothing is lost, because the log still has it.
        """
        self._closed = True
        self._disarm()
        await self._finished()
        if commit and self._dirty and self._failure is None:
            self._start()
            await self._finished()
        # Work given up by its asker still uses the file.
        await self._loop.run_in_executor(None, self._thread.shutdown)
        if commit and self._failure is not None:
            raise self._failure

    async def _finished(self) -> None:
        """Wait until nothing uses the file. Looked at again after each wait: others wait too."""
        while (busy := self._running or self._working) is not None:
            await asyncio.wait([busy])

    def _worked(self, working: asyncio.Future[None]) -> None:
        working.set_result(None)
        if self._working is working:
            self._working = None
            self._schedule()

    def _schedule(self, *, is_due: bool = False) -> None:
        if self._running is not None or self._working is not None:
            return
        if self._closed or self._held or not self._dirty:
            return
        if is_due or self._backend.pending_ops >= self._operations_max:
            self._start()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._interval_seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._schedule(is_due=True)

    def _start(self) -> None:
        self._disarm()
        self._dirty = False
        index, term = self._applied
        self._running_bytes = self._backend.pending_bytes
        try:
            batch = self._backend.freeze(index, term)
        except Exception as error:  # noqa: BLE001 - a timer's supervisor: stops the node
            self._fail(error)
            return
        self._running = asyncio.ensure_future(
            self._loop.run_in_executor(self._thread, self._write, batch)
        )
        self._running.add_done_callback(lambda done: self._finish(batch, index, done))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write(self, batch: Batch) -> None:
        self._at("before_backend_commit")
        started = time.perf_counter()
        self._backend.write(batch)
        self.commit_seconds.add(time.perf_counter() - started)
        self._at("after_backend_commit")

    def _finish(self, batch: Batch, index: Index, done: asyncio.Future[None]) -> None:
        self._running = None
        try:
            done.result()
            self._backend.finish(batch)
            self._running_bytes = 0
            self._on_committed(index)
        except Exception as error:  # noqa: BLE001 - this callback's supervisor: stops the node
            self._fail(error)
            return
        self._schedule()

    def _fail(self, error: Exception) -> None:
        self._closed = True
        self._failure = _as_broken(error)
        self._on_failed(self._failure)

    def _at(self, point: str) -> None:
        if self._crash_hook is not None:
            self._crash_hook(point)


def _as_broken(error: Exception) -> Broken:
    if isinstance(error, Broken):
        return error
    failure = StorageFailed(f"{StorageFailed.text}: committing the database: {error}")
    failure.__cause__ = error
    return failure
