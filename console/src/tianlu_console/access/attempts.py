"""Limits on failed sign-ins, held in memory: a restart forgives."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from tianlu_console.clock import Clock

KEYS_MAX: Final = 10_000
"""How many names and addresses are remembered; at the limit the one that failed longest ago is
forgotten.
"""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many failures within so much time."""

    failures_max: int
    window_seconds: int


# One person's typing mistakes; one machine trying many names; many machines trying one name.
PER_NAME_AND_ADDRESS: Final = Limit(5, 300)
PER_ADDRESS: Final = Limit(30, 300)
PER_NAME: Final = Limit(100, 300)


class AttemptLimiter:
    """Counts failures by name, by address and by both. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Key -> times of failures, oldest first, never more than the key's limit. Least recent key
        # first.
        self._failures: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()

    def wait_seconds(self, name: str, address: str) -> int:
        """Return how long this name from this address has to wait; 0: it may try now."""
        with self._lock:
            return max(self._key_wait(key, limit) for key, limit in _keys(name, address))

    def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        with self._lock:
            for key, limit in _keys(name, address):
                times = self._failures.setdefault(key, deque(maxlen=limit.failures_max))
                times.append(self._clock())
                self._failures.move_to_end(key)
            while len(self._failures) > KEYS_MAX:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget this person's mistakes at this address; what others tried still counts."""
        with self._lock:
            self._failures.pop((name, address), None)

    def _key_wait(self, key: tuple[str, str], limit: Limit) -> int:
        times = self._failures.get(key)
        if times is None or len(times) < limit.failures_max:
            return 0
        left_ms = times[0] + limit.window_seconds * 1000 - self._clock()
        return max(0, -(-left_ms // 1000))


def _keys(name: str, address: str) -> tuple[tuple[tuple[str, str], Limit], ...]:
    return (
        ((name, address), PER_NAME_AND_ADDRESS),
        (("", address), PER_ADDRESS),
        ((name, ""), PER_NAME),
    )
