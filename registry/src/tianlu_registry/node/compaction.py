"""Removing compacted history from the database, a little in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from tianlu_registry.errors import Stopped
from tianlu_registry.mvcc import MvccStore
from tianlu_registry.node.background import Pump
from tianlu_registry.node.committer import Committer

STEP_ITEMS: Final = 256
"""Keys looked at and revisions removed in one turn, together: about half a millisecond."""


REST_SECONDS: Final = 0.005
"""Between two steps: of the loop's time a tenth is the compaction's, and some 50,000 revisions go a
second."""


class PhysicalCompaction:
    """Drives `MvccStore.compaction_step`.

    It stops while the next commit has its fill: what is removed waits in memory for the disk, and a
    compaction may remove more than memory should hold. Nor does it make writes wait: they may add
    several times as much before they are stopped.

    Args:
        loop, mvcc, committer: the node's.
        on_failed: told what a step raised; nothing is removed any more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        mvcc: MvccStore,
        committer: Committer,
        *,
        on_failed: Callable[[Exception], None],
    ) -> None:
        self._loop = loop
        self._mvcc = mvcc
        self._committer = committer
        self._pump = Pump(loop, self._step, on_failed=on_failed, rest_seconds=REST_SECONDS)
        self._waiters: list[asyncio.Future[None]] = []
        self._paused = False
        self._stopped = False

    def start(self) -> None:
        """Take note that there may be something to remove."""
        self._pump.poke()

    def finished(self) -> asyncio.Future[None]:
        """Return a future that is done when nothing is left to remove; `Stopped` by `stop`."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        if self._stopped:
            # The compaction was answered in the last turn before the stop.
            waiter.set_exception(Stopped())
            return waiter
        self._waiters.append(waiter)
        self._pump.poke()
        return waiter

    def on_committed(self) -> None:
        """Take note that less waits for the disk now."""
        if self._paused:
            self._pump.poke()

    def stop(self) -> None:
        """Remove nothing more; a restart resumes."""
        self._stopped = True
        self._pump.stop()
        for waiter in self._take_waiters():
            waiter.set_exception(Stopped())

    def _step(self) -> bool:
        self._paused = self._committer.is_filled
        if self._paused:
            return False
        is_done = self._mvcc.compaction_step(STEP_ITEMS)
        self._committer.on_changed()
        if is_done:
            for waiter in self._take_waiters():
                waiter.set_result(None)
        return not is_done

    def _take_waiters(self) -> list[asyncio.Future[None]]:
        waiters, self._waiters = self._waiters, []
        return [waiter for waiter in waiters if not waiter.done()]
