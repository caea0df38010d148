"""The one thread that writes the log: group commit.

The event loop hands over what a Ready wants durable and goes on. The thread takes everything that
has gathered, appends it, syncs once and reports the newest number. So one disk sync serves as many
proposals as arrived during the one before, and the loop never waits for the disk.

Failure: the first error ends the thread for good. What was in the log then has an unknown fate,
so nothing later is written or reported (fsync that failed may have dropped the pages it could not
write; trying again would report a success that never was). Source: Rebello et al., "Can
Applications Recover from fsync Failures?", USENIX ATC 2020.

The queue has no maximum of its own: the open proposals, which are limited, bound what is in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TypeVar

from tianlu_registry.durations import Durations
from tianlu_registry.errors import Broken, StorageFailed
from tianlu_registry.node.crash import CrashHook
from tianlu_registry.raft.types import Entry, HardState, Index, Term

_T = TypeVar("_T")


class LogWriter(Protocol):
    """What the thread needs of the WAL. Called from that thread alone, except `close`."""

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Buffer records for the next sync."""
        ...

    def sync(self) -> None:
        """Make everything appended durable.

        Raises:
            StorageFailed: it may not be.
        """
        ...

    def restart_after(self, index: Index, term: Term, hard_state: HardState | None) -> None:
        """Make the log begin after an entry; durable on return.

        Raises:
            StorageFailed: it may not be.
        """
        ...

    def release(self, up_to: Index) -> int:
        """Remove whole segments that hold nothing above `up_to`; returns how many."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Write:
    number: int
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    after: tuple[Index, Term] | None = None


@dataclass(frozen=True, slots=True)
class _Release:
    up_to: Index


_Job = _Write | _Release | None


class WriterThread:
    """Owns the WAL while the node runs.

    Args:
        wal: the open log.
        loop: where the callbacks run.
        on_persisted: called on the loop with the newest number that is durable.
        on_failed: called on the loop, once, with the error that ended the thread.
        crash_hook: see `node.crash`.

    Attributes:
        sync_seconds: how long the syncs took.
    """

    def __init__(
        self,
        wal: LogWriter,
        loop: asyncio.AbstractEventLoop,
        *,
        on_persisted: Callable[[int], None],
        on_failed: Callable[[Broken], None],
        crash_hook: CrashHook | None = None,
    ) -> None:
        self.sync_seconds: Final = Durations()
        self._wal = wal
        self._loop = loop
        self._on_persisted = on_persisted
        self._on_failed = on_failed
        self._crash_hook = crash_hook
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="tianlu-wal-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def write(
        self,
        number: int,
        hard_state: HardState | None,
        entries: tuple[Entry, ...],
        *,
        after: tuple[Index, Term] | None = None,
    ) -> None:
        """Have a Ready's records made durable; `on_persisted` will say so.

        Args:
            after: the position of a raft_snapshot that is durable: the log begins anew after it.
        """
        self._jobs.put(_Write(number, hard_state, entries, after))

    def release(self, up_to: Index) -> None:
        """Have old segments removed, between two syncs."""
        self._jobs.put(_Release(up_to))

    def stop(self) -> None:
        """Finish what is queued, end the thread and close the WAL. Blocks for at most one sync
        per batch; call it off the event loop."""
        self._jobs.put(None)
        if self._thread.ident is not None:
            self._thread.join()
        self._wal.close()

    def _run(self) -> None:
        try:
            while self._serve(self._gather()):
                pass
        except Broken as error:
            self._report(self._on_failed, error)
        except Exception as error:  # noqa: BLE001 - the thread's supervisor: any error ends the node
            failure = StorageFailed(f"{StorageFailed.text}: writing the log: {error}")
            failure.__cause__ = error
            self._report(self._on_failed, failure)

    def _gather(self) -> list[_Job]:
        jobs = [self._jobs.get()]
        try:
            while True:
                jobs.append(self._jobs.get_nowait())
        except Empty:
            return jobs

    def _serve(self, jobs: list[_Job]) -> bool:
        """Do a batch of jobs; False when the stop was among them."""
        writes = [job for job in jobs if isinstance(job, _Write)]
        if writes:
            self._persist(writes)
        releases = [job for job in jobs if isinstance(job, _Release)]
        if releases:
            self._at("before_wal_release")
            self._wal.release(releases[-1].up_to)
            self._at("after_wal_release")
        return None not in jobs

    def _persist(self, writes: list[_Write]) -> None:
        self._at("before_wal_append")
        for write in writes:
            if write.after is not None:
                self._wal.sync()  # what stands before it in the queue comes before it in the log
                self._wal.restart_after(*write.after, write.hard_state)
            self._wal.append(write.hard_state, write.entries)
        self._at("before_wal_sync")
        started = time.perf_counter()
        self._wal.sync()
        self.sync_seconds.add(time.perf_counter() - started)
        self._at("after_wal_sync")
        self._report(self._on_persisted, writes[-1].number)

    def _at(self, point: str) -> None:
        if self._crash_hook is not None:
            self._crash_hook(point)

    def _report(self, callback: Callable[[_T], None], value: _T) -> None:
        # A closed loop raises RuntimeError: nobody is left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, value)
