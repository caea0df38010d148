"""Leaving the others: for a while, by handing leadership over; for ever, when removed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from tianlu_registry.errors import MemberRemoved, RegistryError
from tianlu_registry.node.role import RoleTracker
from tianlu_registry.raft import MemberId, Status

_log = logging.getLogger(__name__)

REMOVED_ELECTIONS: Final = 3
"""A removed member goes on voting for so many election timeouts: the others may still need its
vote to learn of the removal (raft/DESIGN.md, duty 17)."""


async def hand_over(
    status: Status,
    transfer: Callable[[MemberId], None],
    role: RoleTracker,
    *,
    seconds_max: float,
) -> None:
    """Let the member that has come furthest lead, so that nobody waits for an election. Returns
    when this member leads no more, or could not hand over in time."""
    candidates = [
        peer for peer, state in status.peers.items() if state.recent_active and not state.is_learner
    ]
    if not candidates:
        return
    best = max(candidates, key=lambda peer: status.peers[peer].match)
    try:
        transfer(best)
        async with asyncio.timeout(seconds_max):
            await role.wait_follower()
    except (TimeoutError, RegistryError) as error:
        _log.info("node.not_handed_over to=%x reason=%r", best, error)


class Removal:
    """Stops a member some time after it has learned that it is removed.

    Args:
        loop: for its timer.
        seconds: how long it still votes.
        fail: stops the node.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        fail: Callable[[Exception], None],
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._fail = fail
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Note that this member is removed. May be called again."""
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._fail, MemberRemoved())

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
