"""Linearizable reads by ReadIndex: all reads of one turn of the loop share one request.

A read may be served once the state machine holds everything that was committed when the read
arrived. The consensus core confirms such an index for a batch; this module keeps who waits for it.
Source: Raft dissertation, section 6.4; etcd server/etcdserver/v3_server.go `linearizableReadLoop`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tianlu_registry.errors import RegistryError, RequestTimeout, TooManyRequests, Unavailable
from tianlu_registry.raft.types import Index, ReadState

READS_WAITING_MAX = 100_000
"""Reads that may wait at once; more are refused with `TooManyRequests`."""


@dataclass(slots=True)
class _Batch:
    """Reads that share one request.

    `index` is None until the core has confirmed one.
    """

    context: int
    deadline: float
    waiters: list[asyncio.Future[None]]
    index: Index | None = None


class ReadQueue:
    """Who waits for which read index.

    Args:
        loop: where the waiters run; everything here runs on it.
        request: ask the core to confirm a read with this context, and do the work that follows.
            It raises what the core raises.
        timeout_seconds: after this long a waiting read fails with `RequestTimeout`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        request: Callable[[int], None],
        timeout_seconds: float,
    ) -> None:
        self._loop = loop
        self._request = request
        self._timeout_seconds = timeout_seconds
        self._next_context = 1
        self._gathering: list[asyncio.Future[None]] = []
        self._waiting_count = 0
        # In the order of their contexts, so confirmed indexes never fall from left to right.
        self._batches: deque[_Batch] = deque()
        self._applied = Index(0)

    def wait(self) -> asyncio.Future[None]:
        """Return a future that is done when a read that arrives now may be served.

        Raises:
            TooManyRequests: the most reads that may wait are waiting.
        """
        if self._waiting_count >= READS_WAITING_MAX:
            raise TooManyRequests
        if not self._gathering:
            self._loop.call_soon(self._flush)
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._gathering.append(waiter)
        self._waiting_count += 1
        return waiter

    def on_read_states(self, read_states: tuple[ReadState, ...]) -> None:
        """Take the core's confirmations."""
        indexes = {state.context: state.index for state in read_states}
        for batch in self._batches:
            if batch.index is None:
                batch.index = indexes.get(batch.context)
        self._serve()

    def on_applied(self, applied: Index) -> None:
        """Note how far the state machine is, and let go who waited for that."""
        self._applied = applied
        if self._batches:
            self._serve()

    def expire(self, now: float) -> None:
        """Fail the batches whose time is up: their request may have been lost."""
        while self._batches and self._batches[0].deadline <= now:
            self._fail(self._batches.popleft().waiters, RequestTimeout)

    def fail_all(self, make_error: type[RegistryError]) -> None:
        """Fail every waiting read: the node stops."""
        for batch in self._batches:
            self._fail(batch.waiters, make_error)
        self._batches.clear()
        self._fail(self._gathering, make_error)
        self._gathering = []

    def _flush(self) -> None:
        waiters, self._gathering = self._gathering, []
        if not waiters:
            return
        context = self._next_context
        self._next_context += 1
        deadline = self._loop.time() + self._timeout_seconds
        batch = _Batch(context, deadline, waiters)
        self._batches.append(batch)
        try:
            self._request(context)
        except Unavailable as error:
            self._batches.remove(batch)
            self._fail(waiters, type(error))

    def _serve(self) -> None:
        # A batch whose confirmation was lost may stand before one that was confirmed.
        while self._batches:
            batch = next((b for b in self._batches if b.index is not None), None)
            if batch is None or batch.index is None or batch.index > self._applied:
                return
            self._batches.remove(batch)
            self._waiting_count -= len(batch.waiters)
            for waiter in batch.waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _fail(self, waiters: list[asyncio.Future[None]], make_error: type[RegistryError]) -> None:
        self._waiting_count -= len(waiters)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(make_error())
