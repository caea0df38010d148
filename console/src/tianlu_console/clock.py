"""The console's clock: one function, given to whoever needs the time, so that tests can set it."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns milliseconds since 1970, UTC."""


def system_clock() -> int:
    """Return the wall clock's time."""
    return time.time_ns() // 1_000_000
