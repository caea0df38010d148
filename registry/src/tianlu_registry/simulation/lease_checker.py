"""Lease safety: nobody loses a lease too early, and nobody is told of time that is not there.

    never early       a lease that runs out was granted, and last confirmed, at least its TTL ago by
                      the fastest clock that any member may have
    never for nothing who is told that a lease goes on is not told so of one that had ended when
                      the question came to the leader

A keep-alive counts from when it came to the member that answered it: that is what a member may
promise that needs a majority's word to know that it still leads.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tianlu_registry.simulation.clock import TICK_UNITS, Clock
from tianlu_registry.simulation.violation import require


@dataclass
class _Life:
    """One lease from its grant to its end. Times are true ones."""

    granted_at: int
    ttl_seconds: int
    confirmed_at: int


class LeaseChecker:
    """Watches grants, keep-alives and ends.

    Args:
        clock: the true time.
        tick_seconds: what a right tick is to the members.
        rate_max: the fastest clock's rate.
    """

    def __init__(
        self, clock: Clock, seen: Counter[str], *, tick_seconds: float, rate_max: float
    ) -> None:
        self._clock = clock
        self._seen = seen
        self._units_per_second = TICK_UNITS / tick_seconds
        self._rate_max = rate_max
        self._lives: dict[int, _Life] = {}
        self._ended_at: dict[int, int] = {}
        self._decided: dict[int, int] = {}  # when, by proposal of an expiry

    @property
    def alive(self) -> set[int]:
        return set(self._lives)

    def on_expired(self, proposal: int) -> None:
        """See a leader propose the end of a lease that it holds for expired."""
        self._decided[proposal] = self._clock.now

    def on_granted(self, lease_id: int, ttl_seconds: int) -> None:
        now = self._clock.now
        self._lives[lease_id] = _Life(now, ttl_seconds, now)

    def on_revoked(self, lease_id: int, proposal: int) -> None:
        """See a lease end, for whatever reason."""
        life = self._lives.pop(lease_id)
        self._ended_at[lease_id] = self._clock.now
        decided_at = self._decided.get(proposal)
        if decided_at is None:
            return
        if decided_at < life.granted_at:
            # The id had been in use before, and the decision was about that lease. A revocation
            # names an id only, as etcd's does: see lease/DESIGN.md, limits.
            self._seen["leases ended in the place of an older one"] += 1
            return
        self._seen["leases expired"] += 1
        least = life.ttl_seconds * self._units_per_second / self._rate_max
        since = decided_at - life.confirmed_at
        require(
            since + 1 >= least,
            f"lease safety: lease {lease_id} of {life.ttl_seconds} s, confirmed at "
            f"{life.confirmed_at}, expires {since} later; at least {least:.0f} were promised",
        )

    def on_kept_alive(self, lease_id: int, arrived_at: int) -> None:
        """See a client told that its lease goes on."""
        self._seen["leases kept alive"] += 1
        life = self._lives.get(lease_id)
        if life is not None:
            life.confirmed_at = max(life.confirmed_at, arrived_at)
            return
        ended_at = self._ended_at.get(lease_id, arrived_at)
        require(
            ended_at >= arrived_at,
            f"lease safety: lease {lease_id}, which ended at {ended_at}, is said to go on to who "
            f"asks at {arrived_at}",
        )
