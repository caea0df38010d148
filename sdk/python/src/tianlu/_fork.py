"""What becomes of clients when the process forks.

A child inherits a client's memory but not its loop, threads or right to the connection: gRPC's
state does not survive a fork, and two processes must not renew one session. So in the child every
inherited client refuses all calls with ClientClosed; the parent's goes on undisturbed. Nor can the
child make a client of its own once the parent has used one: grpc.aio would wait for ever for a
thread that only the parent has, so that is refused too. Servers that fork workers make the first
client in the worker: docs/sdk.md shows where.

gRPC's core has fork handlers of its own, on unless the environment variable
GRPC_ENABLE_FORK_SUPPORT is 0, although gRPC for Python leaves its half of them off. While
grpc.aio is in use they leave the child in a state in which one in five crashes when it starts a
thread (grpcio 1.85). Nobody can use gRPC in the child anyhow, so they are turned off, unless the
application has set the variable or imported grpc before.
"""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol

from tianlu._errors import ClientClosed

# Read when grpc is imported, which is when the first call is made.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

_unusable = False
_used = False
"""Whether gRPC was in use in this process, and whether it was in the one that it was forked from:
facts of the process, like gRPC's own state, and so module-level."""

_NEW_WHY: Final = (
    "this process was forked from one that had used a client: make the first client in the child, "
    "or start workers by spawning"
)
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


def check_usable() -> None:
    """Note that gRPC is about to be used.

    Raises:
        ClientClosed: it cannot be used in this process.
    """
    global _used  # noqa: PLW0603
    if _unusable:
        raise ClientClosed(_NEW_WHY)
    _used = True


def _in_child() -> None:
    global _unusable  # noqa: PLW0603
    _unusable = _unusable or _used
    for one in list(_living):
        one.abandon(_WHY)


os.register_at_fork(after_in_child=_in_child)
