"""Calls over many connections, as fast as they are answered or at a rate; one process's share.

Latency in an open loop (at a rate) counts from the moment at which the call was due, not from when
it could be sent: a server that stalls is charged with all that had to wait ("coordinated
omission").
"""

from __future__ import annotations

import select
import selectors
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Final

from tianlu._cli.bench.connection import BROKEN, Connection
from tianlu._cli.bench.histogram import Histogram
from tianlu._cli.bench.http2 import Outcome
from tianlu._cli.bench.operations import Call
from tianlu._cli.bench.target import Target

_WAIT_SECONDS: Final = 0.1
_HELD_BACK_SECONDS: Final = 0.001
_ERRORS_MAX: Final = 100
NANOSECONDS: Final = 1_000_000_000


class Tally:
    """What has become of calls.

    Attributes:
        latencies: of those that succeeded, by name, nanoseconds.
        errors: how many failed, by what was said; at most 100 texts.
        done: how many succeeded.
        failed: how many did not.
        last: when the last answer came, time.monotonic_ns.
    """

    def __init__(self) -> None:
        self.latencies: dict[str, Histogram] = {}
        self.errors: Counter[str] = Counter()
        self.done = self.failed = self.last = 0

    def histogram(self, name: str) -> Histogram:
        found = self.latencies.get(name)
        if found is None:
            found = self.latencies[name] = Histogram()
        return found

    def fail(self, outcome: Outcome) -> None:
        self.failed += 1
        text = str(outcome)
        if text in self.errors or len(self.errors) < _ERRORS_MAX:
            self.errors[text] += 1

    def merge(self, other: Tally) -> None:
        for name, histogram in other.latencies.items():
            self.histogram(name).merge(histogram)
        self.errors.update(other.errors)
        self.done += other.done
        self.failed += other.failed
        self.last = max(self.last, other.last)


class LoadConnection(Connection):
    """A connection whose calls are counted.

    Attributes:
        ended: how many calls ended since this was last set to 0.
    """

    def __init__(self, target: Target, tally: Tally) -> None:
        self.ended = 0
        self._open_calls: dict[int, tuple[int, Histogram]] = {}
        self._tally = tally
        super().__init__(target)

    @property
    def open_calls(self) -> int:
        return len(self._open_calls)

    def begin(self, call: Call, since: int) -> None:
        """Begin a call whose latency counts from `since`."""
        path, message, name = call
        stream = self.open_stream(path, message, end=True)
        self._open_calls[stream] = (since, self._tally.histogram(name))

    def on_end(self, stream: int, outcome: Outcome) -> None:
        found = self._open_calls.pop(stream, None)
        if found is None:
            return  # a server may reset a stream that it has ended
        self.ended += 1
        tally = self._tally
        if outcome.status == 0:
            tally.done += 1
            found[1].record(self.now - found[0])
        else:
            tally.fail(outcome)
        tally.last = self.now

    def on_lost(self) -> None:
        for _ in self._open_calls:
            self._tally.fail(BROKEN)
        self.ended += len(self._open_calls)
        self._open_calls.clear()


class Load:
    """Drives connections until there is nothing more to do.

    Args:
        connections: open ones; `run` closes none.
        calls: what to ask; the load ends with them.
        streams: calls at once on each connection.
        rate: calls a second; 0 for as many as are answered.
        may_begin: whether another call may begin now; asked often.
    """

    def __init__(
        self,
        connections: list[LoadConnection],
        calls: Iterator[Call],
        *,
        streams: int,
        rate: float = 0.0,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._connections = connections
        self._calls = calls
        self._rate = rate
        self._may_begin = may_begin
        self._idle = deque(connections * streams)  # each as often as it has room for a call
        self._began = 0
        self._due = 0  # calls at a rate that have begun
        self._finish_by: int | None = None  # set when no other call begins
        self._selector = selectors.DefaultSelector()
        self._congested: set[LoadConnection] = set()
        for connection in connections:
            self._selector.register(connection, selectors.EVENT_READ, connection)

    def run(
        self,
        *,
        until: int,
        grace_seconds: float,
        stopped: Callable[[], bool] = lambda: False,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        """Send and count until the time or the calls are over and the answers are there.

        Args:
            until: no call begins after this, time.monotonic_ns.
            grace_seconds: how long the last answers are waited for.
            stopped: whether to end early; asked ten times a second or more.
            progress: called about as often, for whoever looks at the tally.
        """
        self._began = now = time.monotonic_ns()
        grace = int(grace_seconds * NANOSECONDS)
        while True:
            if self._finish_by is None and (now >= until or stopped()):
                self._end_begun()
            if self._finish_by is None:
                self._begin(now)
            elif self._finish_by == 0:
                self._finish_by = now + grace
            progress()
            if self._is_over(now):
                break
            for key, events in self._select(min(until, self._next_due()) - now):
                self._serve(key.data, events)
            now = time.monotonic_ns()
        self._selector.close()

    def _end_begun(self) -> None:
        if self._finish_by is None:
            self._finish_by = 0

    def _is_over(self, now: int) -> bool:
        if all(connection.lost for connection in self._connections):
            return True
        if self._finish_by is None:
            return False
        if not any(connection.open_calls for connection in self._connections):
            return True
        if now < self._finish_by or self._finish_by == 0:
            return False
        for connection in self._connections:
            if connection.open_calls:
                connection.lose("the last answers did not come in time")
        return True

    # Time

    def _next_due(self) -> int:
        """When the next call at a rate is due; far away if there is none or no room for it."""
        if not self._rate or not self._idle or self._finish_by is not None:
            return 1 << 62
        return self._began + int(self._due * NANOSECONDS / self._rate)

    def _select(self, nanoseconds: int) -> list[tuple[selectors.SelectorKey, int]]:
        held_back = self._idle and not self._rate and self._finish_by is None
        longest = _HELD_BACK_SECONDS if held_back else _WAIT_SECONDS
        seconds = min(max(0.0, nanoseconds / NANOSECONDS), longest)
        if self._rate and seconds > 0.0:
            # epoll waits for whole milliseconds; the next call may be due before.
            select.select([self._selector], [], [], seconds)
            seconds = 0.0
        return self._selector.select(seconds)

    # Calls

    def _serve(self, connection: LoadConnection, events: int) -> None:
        if events & selectors.EVENT_READ:
            connection.receive()
        ended, connection.ended = connection.ended, 0
        if connection.lost is not None:
            self._selector.unregister(connection)
            return
        if ended and self._finish_by is None:
            if self._rate or not self._may_begin():
                self._idle.extend([connection] * ended)
            else:
                self._refill(connection, ended)
        self._flush(connection)

    def _refill(self, connection: LoadConnection, count: int) -> None:
        """Begin as many calls as ended."""
        since = time.monotonic_ns()
        for _ in range(count):
            call = next(self._calls, None)
            if call is None:
                self._end_begun()
                return
            connection.begin(call, since)

    def _begin(self, now: int) -> None:
        """Begin what there is room for and, at a rate, what is due."""
        touched = set()
        while self._idle and self._may_begin():
            since = now
            if self._rate:
                since = self._began + int(self._due * NANOSECONDS / self._rate)
                if since > now:
                    break
            connection = self._idle.popleft()
            if connection.lost is not None:
                continue
            call = next(self._calls, None)
            if call is None:
                self._end_begun()
                break
            self._due += 1
            connection.begin(call, since)
            touched.add(connection)
        for connection in touched:
            self._flush(connection)

    def _flush(self, connection: LoadConnection) -> None:
        """Send, and ask to be woken for the rest if the kernel does not take all."""
        congested = not connection.flush()
        if congested != (connection in self._congested):
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if congested else 0)
            self._selector.modify(connection, events, connection)
            (self._congested.add if congested else self._congested.discard)(connection)
