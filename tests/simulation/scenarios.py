"""Runs that a test conducts step by step: a calm cluster of three, and what is done to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from tianlu._proto.etcd.rpc_pb2 import LeaseGrantRequest
from tianlu_registry.node.command import CommandKind
from tianlu_registry.raft import ConfState, MemberId
from tianlu_registry.simulation.clock import TICK_UNITS
from tianlu_registry.simulation.cluster import Cluster
from tianlu_registry.simulation.member import SimulatedMember
from tianlu_registry.simulation.plan import Scenario, draw_plan

ELECTION_TICKS = 4
WAIT_TICKS_MAX = 300


class Calm:
    """A cluster of three that nothing happens to by itself.

    Args:
        tick_seconds: see `plan.Plan`.
        retries: whether lost proposals are made again.
    """

    def __init__(self, *, tick_seconds: float, retries: bool = False) -> None:
        plan = replace(
            draw_plan(Scenario(0).chance("plan")),
            voters=3,
            learners=0,
            tick_seconds=tick_seconds,
            loss=0.0,
            duplication=0.0,
            delay_units_max=1,
            disk_units_max=1,
            apply_units_max=0,
            election_timeout_ticks=ELECTION_TICKS,
            retries=retries,
            watchers=0,
            skew=0.0,
            leases=1,
            lease_units=10,
        )
        self.cluster = Cluster(Scenario(0, plan=plan))
        self.network = self.cluster.network
        conf_state = ConfState(tuple(MemberId(i) for i in (1, 2, 3)))
        for _ in range(3):
            self.cluster.add_member(conf_state)
        self.pass_until(lambda: self.counting is not None)

    @property
    def counting(self) -> SimulatedMember | None:
        """The newest leader, if it counts leases."""
        leader = self.cluster._leader()
        return leader if leader is not None and leader.machine.lessor.is_leader else None

    @property
    def leader(self) -> SimulatedMember:
        leader = self.cluster._leader()
        assert leader is not None
        return leader

    def followers(self) -> list[SimulatedMember]:
        return [member for member in self.cluster.members if member is not self.leader]

    def pass_ticks(self, ticks: int) -> None:
        self.cluster.clock.run_until(self.cluster.clock.now + ticks * TICK_UNITS)

    def pass_until(self, condition: Callable[[], bool]) -> None:
        for _ in range(WAIT_TICKS_MAX):
            if condition():
                return
            self.pass_ticks(1)
        raise AssertionError("it never came to that")

    def isolate(self, member: SimulatedMember) -> None:
        others = [other for other in self.cluster.members if other is not member]
        self.network.cut = {pair for o in others for pair in ((member.id, o.id), (o.id, member.id))}

    def mend(self) -> None:
        self.network.cut.clear()

    def grant(self, lease_id: int, ttl_seconds: int) -> None:
        """Grant a lease, known to all members when this returns."""
        request = LeaseGrantRequest(ID=lease_id, TTL=ttl_seconds)
        self.cluster.clients.propose(self.leader, CommandKind.LEASE_GRANT, request)
        self.pass_until(lambda: all(m.machine.lessor.has(lease_id) for m in self.cluster.members))

    def keep_alive(self, lease_id: int) -> None:
        """Renew at the leader; the client has been told when this returns."""
        told: list[int] = []
        arrived_at = self.cluster.clock.now
        self.leader.service.keep_alive(lease_id, told.append)
        self.pass_until(lambda: bool(told))
        assert told[0] > 0
        self.cluster.leases.on_kept_alive(lease_id, arrived_at)

    def is_alive(self, lease_id: int) -> bool:
        return lease_id in self.cluster.leases.alive


@contextmanager
def applying_slowly(member: SimulatedMember, ticks: int) -> Iterator[None]:
    """Let a member take so long for what it has to apply."""
    member._lag = lambda: ticks * TICK_UNITS  # type: ignore[method-assign]
    try:
        yield
    finally:
        del member._lag  # type: ignore[method-assign]
