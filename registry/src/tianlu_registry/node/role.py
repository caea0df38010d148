"""Who leads, as this member knows it, and who waits for that to change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tianlu_registry.raft import NO_MEMBER, MemberId, Role, SoftState


class RoleTracker:
    """This member's role and leader.

    Attributes:
        leader_id: NO_MEMBER while none is known.
        changes: how often another leader was seen.
    """

    def __init__(self) -> None:
        self.leader_id = NO_MEMBER
        self.changes = 0
        self._role = Role.FOLLOWER
        self._last_leader = NO_MEMBER
        self._changed = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether this member leads, as far as it knows."""
        return self._role is Role.LEADER

    def update(self, soft_state: SoftState) -> None:
        """Take what the consensus core says."""
        self.leader_id, self._role = soft_state.leader_id, soft_state.role
        if self.leader_id not in (NO_MEMBER, self._last_leader):
            self._last_leader = self.leader_id
            self.changes += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_leader(self, member: MemberId) -> None:
        """Wait until a member leads."""
        await self._wait(lambda: self.leader_id == member)

    async def wait_follower(self) -> None:
        """Wait until this member does not lead."""
        await self._wait(lambda: not self.leads)

    async def _wait(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()
