"""Linearizable reads by ReadIndex: the reads that arrive while one request is under way share the
next.

A read may be served once the state machine holds everything that was committed when the read
arrived. The consensus core confirms such an index for a batch; this module keeps who waits for it.
One request at a time is under way: alone it is answered at once, and among several members a
batch then grows with the time that a round between them takes. A request that gets no answer (no
leader, a change of leader, a lost message) is made again until the reads' time is up.
Source: Raft dissertation, section 6.4; etcd server/etcdserver/v3_server.go `linearizableReadLoop`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tianlu_registry.errors import (
    NoLeader,
    RegistryError,
    RequestTimeout,
    TooManyRequests,
    Unavailable,
)
from tianlu_registry.raft.types import Index, ReadState

READS_WAITING_MAX = 100_000
"""Reads that may wait at once; more are refused with `TooManyRequests`."""

RETRY_SECONDS = 0.5
"""A request without an answer is made again after so long. Source: etcd
server/etcdserver/v3_server.go `readIndexRetryTime`."""


@dataclass(slots=True)
class _Batch:
    """Reads that share one request.

    Attributes:
        deadline: of the first of them.
        first_context, context: the numbers of the first and the newest asking.
        asked_at: when the core was last asked; None while they only gather.
        index: None until the core has confirmed one.
    """

    deadline: float
    first_context: int = 0
    context: int = 0
    asked_at: float | None = None
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    index: Index | None = None


class ReadQueue:
    """Who waits for which read index.

    Args:
        loop: where the waiters run; everything here runs on it.
        request: ask the core to confirm a read with this context, and do the work that follows.
            It raises what the core raises. The answer may come within the call.
        timeout_seconds: after this long a waiting read fails with `RequestTimeout`.
        first_context: where numbering starts, above 0: a random number, so that an answer meant
            for this member's life before a restart is nobody's.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        request: Callable[[int], None],
        timeout_seconds: float,
        first_context: int = 1,
    ) -> None:
        self._loop = loop
        self._request = request
        self._timeout_seconds = timeout_seconds
        self._next_context = first_context
        self._gathering: _Batch | None = None
        self._flush_due = False
        self._asked: _Batch | None = None
        self._waiting_count = 0
        # Confirmed and waiting for the state machine, by rising index.
        self._confirmed: deque[_Batch] = deque()
        self._applied = Index(0)

    def wait(self) -> asyncio.Future[None]:
        """Return a future that is done when a read that arrives now may be served.

        Raises:
            TooManyRequests: the most reads that may wait are waiting.
        """
        if self._waiting_count >= READS_WAITING_MAX:
            raise TooManyRequests
        if self._gathering is None:
            self._gathering = _Batch(self._loop.time() + self._timeout_seconds)
            self._flush_soon()
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._gathering.waiters.append(waiter)
        self._waiting_count += 1
        return waiter

    def on_read_states(self, read_states: tuple[ReadState, ...]) -> None:
        """Take the core's confirmations."""
        asked = self._asked
        if asked is None:
            return
        for state in read_states:
            # An answer to an earlier asking is as good: it came after the reads did.
            if asked.first_context <= state.context <= asked.context:
                asked.index = state.index
                self._asked = None
                self._confirmed.append(asked)
                self._flush_soon()
                break
        self._serve()

    def on_applied(self, applied: Index) -> None:
        """Note how far the state machine is, and let go who waited for that."""
        self._applied = applied
        if self._confirmed:
            self._serve()

    def retry(self, now: float, *, leader_changed: bool = False) -> None:
        """Ask again for what has had no answer for too long, or was asked of an earlier leader."""
        asked = self._asked
        if asked is None or asked.asked_at is None:
            return
        if leader_changed or now - asked.asked_at >= RETRY_SECONDS:
            self._ask(asked, now)

    def expire(self, now: float) -> None:
        """Fail the batches whose time is up."""
        while self._confirmed and self._confirmed[0].deadline <= now:
            self._fail(self._confirmed.popleft(), RequestTimeout)
        if self._asked is not None and self._asked.deadline <= now:
            expired, self._asked = self._asked, None
            self._fail(expired, RequestTimeout)
            self._flush_soon()
        if self._gathering is not None and self._gathering.deadline <= now:
            expired, self._gathering = self._gathering, None
            self._fail(expired, RequestTimeout)

    def fail_all(self, make_error: type[RegistryError]) -> None:
        """Fail every waiting read: the node stops."""
        batches = [*self._confirmed, self._asked, self._gathering]
        self._confirmed.clear()
        self._asked = self._gathering = None
        for batch in batches:
            if batch is not None:
                self._fail(batch, make_error)

    def _flush_soon(self) -> None:
        if not self._flush_due and self._gathering is not None:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._asked is not None or self._gathering is None:
            return
        self._asked, self._gathering = self._gathering, None
        self._ask(self._asked, self._loop.time())

    def _ask(self, batch: _Batch, now: float) -> None:
        batch.context = self._next_context
        batch.first_context = batch.first_context or batch.context
        batch.asked_at = now
        self._next_context += 1
        try:
            self._request(batch.context)
        except NoLeader:
            return  # `retry` asks again
        except Unavailable as error:
            if self._asked is batch:
                self._asked = None
                self._fail(batch, type(error))
                self._flush_soon()

    def _serve(self) -> None:
        while self._confirmed:
            batch = self._confirmed[0]
            if batch.index is None or batch.index > self._applied:
                return
            self._confirmed.popleft()
            self._waiting_count -= len(batch.waiters)
            for waiter in batch.waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _fail(self, batch: _Batch, make_error: type[RegistryError]) -> None:
        self._waiting_count -= len(batch.waiters)
        for waiter in batch.waiters:
            if not waiter.done():
                waiter.set_exception(make_error())
