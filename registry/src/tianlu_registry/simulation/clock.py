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
