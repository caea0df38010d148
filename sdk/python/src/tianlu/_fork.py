"""What becomes of clients when the process forks.

A child inherits a client's memory but not its loop, threads or right to the connection: gRPC's
state does not survive a fork, and two processes must not renew one session. So in the child every
inherited client refuses all calls with ClientClosed; the parent's goes on undisturbed. Servers that
fork workers make the client in the worker: docs/sdk.md shows where.
"""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol

_WHY: Final = "the client was made before this process was forked: make one in the child"


class Abandonable(Protocol):
    """What a child gives up."""

    def abandon(self, why: str) -> None:
        """Refuse every later call. Runs in the child right after the fork; must not block."""
        ...


_living: Final[weakref.WeakSet[Abandonable]] = weakref.WeakSet()


def remember(one: Abandonable) -> None:
    """Have `one` abandoned in children."""
    _living.add(one)


def _in_child() -> None:
    for one in list(_living):
        one.abandon(_WHY)


os.register_at_fork(after_in_child=_in_child)
