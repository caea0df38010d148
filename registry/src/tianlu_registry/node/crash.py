"""Named points around every durable effect, where a test may stop the process.

In production each is one comparison with None. The point's name says what has just happened or is
about to:

    before_wal_append, before_wal_sync, after_wal_sync     the log (writer thread)
    before_apply, after_apply                              a slice of committed entries
    before_backend_commit, after_backend_commit            the database file (commit thread)
    before_wal_release, after_wal_release                  removing old log segments

`TIANLU_CRASH_POINT=name:count` in the environment kills the process (SIGKILL, so nothing is
flushed or cleaned up) at the count-th passage of that point. Source of the idea: etcd's gofail
points, server/etcdserver/raft.go.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

ENVIRONMENT_VARIABLE: Final = "TIANLU_CRASH_POINT"

POINTS: Final = (
    "before_wal_append",
    "before_wal_sync",
    "after_wal_sync",
    "before_apply",
    "after_apply",
    "before_backend_commit",
    "after_backend_commit",
    "before_wal_release",
    "after_wal_release",
)

CrashHook = Callable[[str], None]
"""Called with a point's name, on whichever thread passes it."""


def kill_self(_name: str) -> None:
    """Die as a power cut would have it, as far as a process can."""
    os.kill(os.getpid(), signal.SIGKILL)


def hook_from_environment(environment: Mapping[str, str]) -> CrashHook | None:
    """Return the hook that `TIANLU_CRASH_POINT` asks for; None when it is not set.

    Raises:
        ValueError: it names no known point or no count: a test with a typing error must not pass.
    """
    wanted = environment.get(ENVIRONMENT_VARIABLE)
    if not wanted:
        return None
    name, _, count = wanted.partition(":")
    if name not in POINTS:
        raise ValueError(f"{ENVIRONMENT_VARIABLE}: no point {name!r}; one of {', '.join(POINTS)}")
    return at_passage(name, int(count or 1), kill_self)


def at_passage(name: str, count: int, action: CrashHook) -> CrashHook:
    """Return a hook that calls `action` at the count-th passage of point `name`."""
    passages = 0

    def hook(point: str) -> None:
        nonlocal passages
        if point == name:
            passages += 1
            if passages == count:
                action(point)

    return hook
