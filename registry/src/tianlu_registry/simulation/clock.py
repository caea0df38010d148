"""Simulated time: what will happen when, in an order that a seed repeats exactly."""

from __future__ import annotations

import heapq
from collections.abc import Callable

TICK_UNITS = 10
"""Units of time in one tick of a member whose clock is right."""


class Clock:
    """Runs actions at their time. Two at the same time run in the order in which they were made."""

    def __init__(self) -> None:
        self.now = 0
        self._made = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []

    def after(self, delay: int, action: Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._queue, (self.now + delay, self._made, action))

    def run_until(self, time: int) -> None:
        while self._queue and self._queue[0][0] <= time:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = time


class LocalClock:
    """One member's monotonic clock: it has a rate and a beginning of its own, and never jumps
    while the member runs.

    Args:
        clock: the true time.
        tick_seconds: what one right tick is to the members.

    Attributes:
        rate: seconds of this clock in a true second.
    """

    def __init__(self, clock: Clock, tick_seconds: float) -> None:
        self._clock = clock
        self._unit_seconds = tick_seconds / TICK_UNITS
        self._since = 0
        self._seconds = 0.0
        self.rate = 1.0

    @property
    def tick_units(self) -> int:
        """How long this clock takes for a tick."""
        return max(1, round(TICK_UNITS / self.rate))

    def seconds(self) -> float:
        return self._seconds + (self._clock.now - self._since) * self._unit_seconds * self.rate

    def run_at(self, rate: float) -> None:
        """Go on at another rate."""
        self._seconds = self.seconds()
        self._since = self._clock.now
        self.rate = rate

    def begin_at(self, seconds: float) -> None:
        """Begin anywhere, as a monotonic clock does after a restart."""
        self._seconds = seconds
        self._since = self._clock.now
