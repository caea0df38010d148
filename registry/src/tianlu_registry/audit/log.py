"""Lines on their way to the disk: a bounded queue, and a thread that empties it.

The event loop never waits for the disk. What happens when the disk is slower than the writes, full
or broken depends on what was asked for:

- By default writes go on. A line that finds the queue full, or that could not be written, is lost;
  lost lines are counted, and a line says how many there were as soon as one can be written again.
- Strict: a write whose line would be lost is not begun, and one is answered only after its line is
  synced. It fails with `AuditLogUnavailable` otherwise: before it began, or, if the disk failed in
  between, with its outcome unknown, as after a timeout.

What was written is synced within a second; in strict mode at once, for all that wait together.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tianlu_registry.audit.files import Sink
from tianlu_registry.errors import Unavailable

_log = logging.getLogger(__name__)

QUEUE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Lines that wait for the thread: some 30,000 puts, or half a second of a busy node."""

SYNC_SECONDS: Final = 1.0
WAIT_SECONDS: Final = 7.0
"""A strict write whose line is not synced after so long fails. As long as a proposal may take."""

CLOSE_SECONDS: Final = 2.0
"""Longest wait for a disk that hangs when the node stops."""


class AuditLogUnavailable(Unavailable):
    """A line cannot be written, and without it nothing may be."""

    text = "tianlu: the audit log cannot be written"


@dataclass(frozen=True, slots=True)
class AuditCounts:
    """What has become of the lines, and how many bytes of them wait."""

    written: int
    dropped: int
    failures: int
    queue_bytes: int


class AuditLog:
    """Implements what the module describes. All but the thread's part is for the event loop.

    Args:
        sink: closed by this.
        lost_line: makes the line that says how many were lost.
        strict: see above.
        queue_bytes_max: at least a line.
    """

    def __init__(
        self,
        sink: Sink,
        lost_line: Callable[[int], bytes],
        *,
        strict: bool = False,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        self._sink = sink
        self._lost_line = lost_line
        self.strict: Final = strict
        self._queue_bytes_max = queue_bytes_max
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        # Under `_changed`:
        self._queue: deque[tuple[bytes, asyncio.Future[None] | None]] = deque()
        self._queue_bytes = 0
        self._closing = False
        self._lost = 0  # not yet said
        self._dropped = 0
        self._written = 0
        self._failures = 0
        # The thread's own:
        self._unsynced_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="audit-log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def counts(self) -> AuditCounts:
        with self._changed:
            return AuditCounts(self._written, self._dropped, self._failures, self._queue_bytes)

    def admit(self) -> None:
        """Ask before a write that needs a line begins.

        Raises:
            AuditLogUnavailable: it would be lost, and that may not be.
        """
        if self.strict:
            with self._changed:
                if self._lost or self._queue_bytes >= self._queue_bytes_max:
                    raise AuditLogUnavailable

    def write(self, line: bytes) -> None:
        """Put a line on its way, or count it as lost."""
        self._put(line, None)

    async def write_synced(self, line: bytes) -> None:
        """Put a line on its way and return when it is on the disk.

        Raises:
            AuditLogUnavailable: it is not, or not in time.
        """
        synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._put(line, synced):
            raise AuditLogUnavailable
        try:
            async with asyncio.timeout(self._wait_seconds):
                await synced
        except TimeoutError:
            raise AuditLogUnavailable from None

    def close(self) -> None:
        """Write what waits, and stop; give up on a disk that hangs."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            _log.error("audit_log.hangs lines_lost=%d", len(self._queue))

    def _put(self, line: bytes, synced: asyncio.Future[None] | None) -> bool:
        with self._changed:
            if self._queue_bytes + len(line) > self._queue_bytes_max:
                self._lose(1)
                return False
            self._queue.append((line, synced))
            self._queue_bytes += len(line)
            self._changed.notify()
            return True

    def _lose(self, count: int) -> None:
        self._lost += count
        self._dropped += count

    # The thread

    def _run(self) -> None:
        failed = False
        while True:
            batch, lost, closing = self._wait(failed)
            try:
                self._store(batch, lost)
                if failed:
                    _log.warning("audit_log.works_again lines_lost=%d", lost)
                failed = False
            except OSError as error:
                if not failed:
                    _log.error("audit_log.failed reason=%r", error.strerror or str(error))
                failed = True
            if closing:
                break
        self._end()

    def _wait(
        self, failed: bool
    ) -> tuple[list[tuple[bytes, asyncio.Future[None] | None]], int, bool]:
        """Return what there is to do: lines, how many to report as lost, and whether to end."""
        with self._changed:
            if not self._queue and not self._closing:
                # A disk that failed is tried once a second; what is not synced waits no longer.
                waits = failed or self._lost or self._unsynced_since is not None
                self._changed.wait(SYNC_SECONDS if waits else None)
            batch = list(self._queue)
            self._queue.clear()
            return batch, self._lost, self._closing

    def _store(self, batch: list[tuple[bytes, asyncio.Future[None] | None]], lost: int) -> None:
        """Write a batch, and sync if it is time. The batch is out of the queue either way.

        Raises:
            OSError: the lines count as lost.
        """
        content = b"".join(line for line, _ in batch)
        waiting = [synced for _, synced in batch if synced is not None]
        try:
            if lost:
                self._sink.append(self._lost_line(lost))
            if content:
                self._sink.append(content)
            if lost or content:
                self._unsynced_since = self._unsynced_since or time.monotonic()
            self._sync(at_once=bool(waiting))
        except OSError:
            self._settle(waiting, AuditLogUnavailable())
            with self._changed:
                self._failures += 1
                self._queue_bytes -= len(content)
                self._lose(len(batch))
            raise
        with self._changed:
            self._written += len(batch)
            self._queue_bytes -= len(content)
            self._lost -= lost
        self._settle(waiting, None)

    def _sync(self, *, at_once: bool) -> None:
        since = self._unsynced_since
        if since is not None and (at_once or time.monotonic() - since >= SYNC_SECONDS):
            self._unsynced_since = None
            self._sink.sync()

    def _end(self) -> None:
        try:
            self._sink.sync()
            self._sink.close()
        except OSError as error:
            _log.error("audit_log.failed reason=%r", error.strerror or str(error))

    @staticmethod
    def _settle(waiting: list[asyncio.Future[None]], error: Exception | None) -> None:
        for loop in {synced.get_loop() for synced in waiting}:
            loop.call_soon_threadsafe(_settle_all, waiting, error)


def _settle_all(waiting: list[asyncio.Future[None]], error: Exception | None) -> None:
    for synced in waiting:
        if synced.done():
            continue
        if error is None:
            synced.set_result(None)
        else:
            synced.set_exception(error)
