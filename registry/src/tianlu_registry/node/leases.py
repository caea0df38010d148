"""The leader's care for leases: ending those that have run out, and noting how far the long ones
are.

Which leases exist is replicated; when they run out is known to the leader alone, who counts from
the last keep-alive it heard and proposes the revocation. Keep-alives therefore cost no log entry.
A new leader, and a node that restarts, gives every lease its time again, so nobody loses a lease
to an election. Source: etcd server/lease/lessor.go, "primary" lessor.

A leader that was stopped for a while, and deposed meanwhile, finds all leases run out when it goes
on, because it heard no keep-alive: others did. What it then proposes in its old term is in no log;
it must not be proposed again in the new one, where the leases live. So its revocations are taken
back when it follows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tianlu._proto.etcd.rpc_pb2 import (
    LeaseCheckpoint,
    LeaseCheckpointRequest,
    LeaseRevokeRequest,
)
from tianlu_registry.errors import Unavailable
from tianlu_registry.lease import Lessor
from tianlu_registry.node.command import CommandKind, Request

_log = logging.getLogger(__name__)

REVOCATIONS_IN_FLIGHT_MAX: Final = 256
"""Revocations proposed and not applied. More expired leases wait until some of them are."""

REVOCATIONS_PER_TURN_MAX: Final = 32
"""Revocations proposed at once: what a write may find before it in the log, some milliseconds."""

REST_SECONDS: Final = 0.02
"""Between two such turns. So leases that expire together go at up to 1,600 a second (etcd: 1,000),
and writes have most of the time."""

CHECKPOINTS_PER_TICK_MAX: Final = 1_000

Propose = Callable[[CommandKind, Request], "asyncio.Future[Any]"]


class LeaseKeeper:
    """Runs the lessor's clock on a leader.

    Args:
        lessor: the leases of the state machine.
        propose: puts a command into the log; raises `Unavailable` when it cannot now.
    """

    def __init__(self, lessor: Lessor, propose: Propose) -> None:
        self._lessor = lessor
        self._propose = propose
        self._leads = False
        self._revoking: dict[int, asyncio.Future[Any]] = {}

    @property
    def leads(self) -> bool:
        """Whether this member is the one that expires leases."""
        return self._leads

    def become_leader(self, now: float, extend_seconds: float) -> None:
        """Start counting: every lease has all of its time from now, and a little more."""
        self._leads = True
        self._lessor.promote(now, extend_seconds)

    def become_follower(self) -> None:
        """Stop counting: somebody else does, and may have heard what this member has not."""
        self._leads = False
        # A proposal that nobody waits for is not made again.
        for answered in self._revoking.values():
            answered.cancel()
        self._revoking.clear()
        self._lessor.demote()

    def tick(self, now: float) -> bool:
        """Propose what is due. Never waits; what finds no room is due again at the next tick.

        Returns:
            Whether more leases have expired than one turn may revoke: `revoke` has to do after
            a rest.
        """
        if not self._leads:
            return False
        try:
            self._checkpoint(now)
        except Unavailable as error:
            _log.info("lease.checkpoint_postponed reason=%s", error)
        return self.revoke(now)

    def revoke(self, now: float) -> bool:
        """Propose to revoke some of the leases that have expired; see `tick`."""
        if not self._leads:
            return False
        room = REVOCATIONS_IN_FLIGHT_MAX - len(self._revoking)
        limit = min(room, REVOCATIONS_PER_TURN_MAX)
        expired = self._lessor.expired(now, limit)
        try:
            self._revoke(expired)
        except Unavailable as error:
            _log.info("lease.revocation_postponed reason=%s", error)
            return False
        # A full turn, or none for want of room: there may be more.
        return len(expired) == limit

    def _revoke(self, expired: list[int]) -> None:
        for lease_id in expired:
            if lease_id in self._revoking:
                continue
            answered = self._propose(CommandKind.LEASE_REVOKE, LeaseRevokeRequest(ID=lease_id))
            self._revoking[lease_id] = answered
            answered.add_done_callback(partial(self._revoked, lease_id))

    def _revoked(self, lease_id: int, answered: asyncio.Future[Any]) -> None:
        if self._revoking.get(lease_id) is answered:
            del self._revoking[lease_id]
        _ignore(answered)

    def _checkpoint(self, now: float) -> None:
        due = self._lessor.checkpoints_due(now, CHECKPOINTS_PER_TICK_MAX)
        if not due:
            return
        request = LeaseCheckpointRequest(
            checkpoints=[
                LeaseCheckpoint(ID=lease_id, remaining_TTL=remaining) for lease_id, remaining in due
            ]
        )
        answered = self._propose(CommandKind.LEASE_CHECKPOINT, request)
        answered.add_done_callback(_ignore)


def _ignore(answered: asyncio.Future[Any]) -> None:
    """Take a failure as seen: what was proposed is still due at a later tick."""
    if not answered.cancelled():
        answered.exception()
