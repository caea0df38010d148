"""The wall clock, for times that people read. Deadlines use the monotonic clock."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000
