"""One run: a cluster drawn from a seed, made to suffer, healed, and asked to work.

Phase 1 is about safety: whatever happens, the checkers find nothing. Phase 2 ends all faults and
starts everybody; within a bounded time there must be a leader, what is written must be applied
everywhere, reads must be answered, leases that nobody renews must end and watchers must have seen
everything.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tianlu._proto.etcd.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseRevokeRequest,
    PutRequest,
)
from tianlu_registry.errors import Broken
from tianlu_registry.node import command
from tianlu_registry.node.command import CommandKind
from tianlu_registry.raft import ConfState, Entry, InstallSnapshot, MemberId, Message
from tianlu_registry.simulation.administrator import Administrator
from tianlu_registry.simulation.backend import Saved
from tianlu_registry.simulation.checker import Checker
from tianlu_registry.simulation.clients import TTL_TICKS, Clients
from tianlu_registry.simulation.clock import TICK_UNITS, Clock
from tianlu_registry.simulation.history import History
from tianlu_registry.simulation.lease_checker import LeaseChecker
from tianlu_registry.simulation.machine import Outcome
from tianlu_registry.simulation.member import SimulatedMember
from tianlu_registry.simulation.network import Network
from tianlu_registry.simulation.plan import Plan, Scenario, Step
from tianlu_registry.simulation.violation import Violation
from tianlu_registry.storage import wal

TRACE_LINES = 120
HEAL_TIMEOUTS_MAX = 60
SNAPSHOT_UNITS_MAX = 60

Action = Callable[[random.Random], object]


class Cluster:
    """A run.

    Args:
        scenario: what is run; of a number, all that this seed draws. The same makes the same run.

    Attributes:
        faulty: whether the first phase still lasts.
        seen: how often what happened.
        steps: what was done to the cluster, in order.
        trace_lines: the last events; with `trace_all` all of them, with each message and Ready.
    """

    def __init__(self, scenario: Scenario | int, *, trace_all: bool = False) -> None:
        self.scenario = Scenario(scenario) if isinstance(scenario, int) else scenario
        self.plan: Plan = self.scenario.drawn_plan()
        self.clock = Clock()
        self.network = Network(self.clock, self.scenario.chance("network"), self._deliver)
        self._chance = self.scenario.chance("snapshots")
        self.trace_lines: deque[str] = deque(maxlen=None if trace_all else TRACE_LINES)
        self._trace_all = trace_all
        voters, learners = self.plan.voters, self.plan.learners
        ids = [MemberId(i) for i in range(1, voters + learners + 1)]
        conf_state = ConfState(tuple(ids[:voters]), tuple(ids[voters:]))
        self.checker = Checker(conf_state)
        self.seen: Counter[str] = self.checker.seen
        self.history = History(self.seen)
        self.leases = LeaseChecker(
            self.clock,
            self.seen,
            tick_seconds=self.plan.tick_seconds,
            rate_max=1 + self.plan.skew,
        )
        self.steps: list[Step] = []
        self.members: list[SimulatedMember] = []
        self.clients = Clients(self)
        self._administrator = Administrator(self)
        self.faulty = True
        self._numbers = 0

    def trace(self, line: str) -> None:
        self.trace_lines.append(f"{self.clock.now:6} {line}")

    def trace_detail(self, line: Callable[[], str]) -> None:
        """Note what is only of interest when a seed is run again."""
        if self._trace_all:
            self.trace(line())

    def next_number(self) -> int:
        """Return a number that no proposal and no read has had."""
        self._numbers += 1
        return self._numbers

    def add_member(self, conf_state: ConfState) -> SimulatedMember:
        """Start a member that nobody has seen before."""
        member = SimulatedMember(self, MemberId(len(self.members) + 1), conf_state)
        self.members.append(member)
        self.checker.watch(member)
        member.start()
        self._tick_for_ever(member)
        return member

    def run(self) -> None:
        """Make the run.

        Raises:
            Violation: a guarantee is broken.
        """
        conf_state = self.checker.conf_state
        with _seeded_nonces(self.scenario.chance("nonces")), _broken_is_violation():
            for _ in (*conf_state.voters, *conf_state.learners):
                self.add_member(conf_state)
            self._suffer()
            self._heal()
            self._check_liveness()

    def running(self) -> list[SimulatedMember]:
        return [member for member in self.members if member.running]

    # What members do

    def on_apply(self, member: SimulatedMember, entry: Entry, outcome: Outcome) -> None:
        """See an entry applied, and judge it."""
        self.checker.on_apply(member, entry)
        if not self.history.on_apply(member, entry, outcome):
            return
        self.trace(f"{member.id} is the first to apply {entry.term}/{entry.index}{outcome}")
        for watcher in self.clients.watchers:
            watcher.judge()
        if outcome.error is not None:
            return
        if isinstance(outcome.request, LeaseRevokeRequest):
            self.leases.on_revoked(outcome.request.ID, command.proposal_id_of(entry.data))
        elif isinstance(outcome.request, LeaseGrantRequest):
            response: LeaseGrantResponse = outcome.response
            self.leases.on_granted(response.ID, response.TTL)

    def _deliver(self, message: Message) -> None:
        member = self.members[message.to - 1]
        if member.running:
            member.awake(lambda: member.receive(message))
            return
        sender = self.members[message.sender - 1]
        if sender.running and self._chance.random() < 0.5:
            sender.awake(lambda: sender.report_unreachable(message.to))

    def carry_snapshot(
        self, sender: SimulatedMember, message: InstallSnapshot, state: Saved
    ) -> None:
        """Move a raft_snapshot, slowly, and tell the sender how it went."""
        receiver = self.members[message.to - 1]

        def arrive() -> None:
            fails = self.faulty and self._chance.random() < 0.2
            passes = self.network.passes(sender.id, receiver.id)
            installed = receiver.running and passes and not fails
            self.seen["snapshots sent" if installed else "snapshots lost"] += 1
            if installed:
                receiver.awake(lambda: receiver.receive_snapshot(message, state))
            sender.later(self._chance.randint(1, 20), lambda: report(installed))

        def report(installed: bool) -> None:
            sender.call(lambda node: node.report_snapshot(message.to, installed=installed))

        self.clock.after(self._chance.randint(1, SNAPSHOT_UNITS_MAX), arrive)

    def _tick_for_ever(self, member: SimulatedMember) -> None:
        def tick() -> None:
            member.tick()
            self.clock.after(member.clock.tick_units, tick)

        self.clock.after(member.chance.randint(1, TICK_UNITS), tick)

    # Phase 1

    def _suffer(self) -> None:
        plan = self.plan
        self.network.loss = plan.loss
        self.network.duplication = plan.duplication
        self.network.delay_units_max = plan.delay_units_max
        self._repeat("write", plan.request_units, self.clients.write)
        self._repeat("read", 3 * plan.request_units, self.clients.look_up)
        self._repeat("watch", 2 * plan.request_units, self.clients.watch)
        self._repeat("renew", plan.lease_units, self.clients.renew)
        self._repeat("save", plan.save_ticks * TICK_UNITS, self._save_somewhere)
        self._repeat("change", plan.change_ticks * TICK_UNITS, self._administrator.act)
        self._repeat("fault", plan.fault_ticks * TICK_UNITS, self._fault)
        self.clock.run_until(plan.duration_ticks * TICK_UNITS)

    def _repeat(self, name: str, units: int, action: Action) -> None:
        """Do something about every so many units of time, until the faults end; 0: never."""
        if not units:
            return
        chance = self.scenario.chance(name)
        left_out = self.scenario.left_out

        def again(number: int) -> None:
            if not self.faulty:
                return
            step = (name, number)
            if step not in left_out:
                self.steps.append(step)
                action(self.scenario.chance(name, number))
            self.clock.after(chance.randint(1, 2 * units), lambda: again(number + 1))

        self.clock.after(chance.randint(1, 2 * units), lambda: again(0))

    def _save_somewhere(self, chance: random.Random) -> None:
        if running := self.running():
            member = chance.choice(running)
            member.awake(lambda: member.save(self.plan.keep_entries))

    def _fault(self, chance: random.Random) -> None:
        action = chance.choice(
            [
                self._crash,
                self._crash,
                self._partition,
                self._partition,
                self._mend,
                self._mend,
                self._clock_skew,
                self._pause,
                self._disk,
            ]
        )
        action(chance)

    def _crash(self, chance: random.Random) -> None:
        """Crash one member, or all of them: the power of a whole room."""
        victims = self.running()
        if victims and chance.random() < 0.9:
            victims = [chance.choice(victims)]
        for member in victims:
            if chance.random() < 0.2:
                member.storage.fail_next_sync()
            else:
                member.crash()
            self._restart_later(member, chance)

    def _restart_later(self, member: SimulatedMember, chance: random.Random) -> None:
        def restart() -> None:
            if not member.running:
                member.start()
                self.trace(f"{member.id} starts")

        self.clock.after(chance.randint(1, 40 * TICK_UNITS), restart)

    def _partition(self, chance: random.Random) -> None:
        self.network.partition([member.id for member in self.members], chance)
        self.trace(f"cut {sorted(self.network.cut)}")
        self.seen["partitions"] += 1

    def _mend(self, _: random.Random) -> None:
        self.network.cut.clear()
        self.trace("mended")

    def _clock_skew(self, chance: random.Random) -> None:
        member = chance.choice(self.members)
        member.clock.run_at(1 + chance.uniform(-self.plan.skew, self.plan.skew))
        self.trace(f"{member.id}'s clock runs at {member.clock.rate:.2f}")

    def _pause(self, chance: random.Random) -> None:
        if not self.plan.pause_ticks_max:
            return
        member = chance.choice(self.members)
        ticks = chance.randint(1, self.plan.pause_ticks_max)
        member.paused_until = self.clock.now + ticks * TICK_UNITS
        self.trace(f"{member.id} stands still until {member.paused_until}")
        self.seen["pauses"] += 1

    def _disk(self, chance: random.Random) -> None:
        member = chance.choice(self.members)
        slow = chance.random() < self.plan.slow_disk
        member.disk_units_max = self.plan.disk_units_max * (20 if slow else 1)
        self.seen["slow disks"] += slow

    # Phase 2

    def _heal(self) -> None:
        self.trace("healing")
        self.faulty = False
        self.network.cut.clear()
        self.network.loss = self.network.duplication = 0.0
        self.network.delay_units_max = 2
        for member in self.members:
            member.clock.run_at(1.0)
            member.paused_until = self.clock.now
            member.disk_units_max = 2
            member.storage.mend()
            if not member.running:
                member.start()

    def _check_liveness(self) -> None:
        """Wait, for a bounded time, until everything works."""
        asked_term = 0
        writes_before = reads_before = 0
        for _ in range(self._heal_ticks_max()):
            self.clock.run_until(self.clock.now + TICK_UNITS)
            leader = self._leader()
            if leader is None:
                continue
            self._administrator.finish(leader)
            term = leader.node._raft.term
            if term != asked_term:
                asked_term = term
                writes_before = self.seen["writes acknowledged"]
                reads_before = self.seen["reads served"]
                self.clients.propose(leader, CommandKind.PUT, PutRequest(key=b"last"))
            if not self._all_agree(leader) or leader.node._raft.tracker.conf_state.voters_outgoing:
                continue
            self._reconnect_watchers()
            self.clients.read(leader, b"last")
            if (
                self.seen["writes acknowledged"] > writes_before
                and self.seen["reads served"] > reads_before
                and not self.leases.alive
                and all(watcher.is_complete for watcher in self.clients.watchers)
            ):
                self._check_all()
                return
        raise Violation(f"liveness: {self._why_not_alive()}")

    def _heal_ticks_max(self) -> int:
        """Return how long healing may take: elections, the backlog, and the longest lease, which a
        new leader may extend after it has begun to count."""
        backlog = max(member.node._raft.log.last_index for member in self.members)
        lease_ticks = 2 * TTL_TICKS[1] + 2 / self.plan.tick_seconds if self.leases.alive else 0
        return (
            HEAL_TIMEOUTS_MAX * self.plan.election_timeout_ticks + 3 * backlog + round(lease_ticks)
        )

    def _leader(self) -> SimulatedMember | None:
        leaders = [member for member in self.members if member.is_leader]
        return max(leaders, key=lambda member: member.node._raft.term, default=None)

    def _members_in_force(self, leader: SimulatedMember) -> list[SimulatedMember]:
        conf_state = leader.node._raft.tracker.conf_state
        return [self.members[member - 1] for member in (*conf_state.voters, *conf_state.learners)]

    def _all_agree(self, leader: SimulatedMember) -> bool:
        """Whether every member of the leader's configuration has applied the leader's whole log."""
        end = leader.node._raft.log.last_index
        own_term = leader.node._raft.committed_in_term
        return own_term and all(
            member.machine.index == end for member in self._members_in_force(leader)
        )

    def _reconnect_watchers(self) -> None:
        """Bring watchers away from members that are gone, and from those that were removed."""
        leader = self._leader()
        in_force = self._members_in_force(leader) if leader else []
        for watcher in self.clients.watchers:
            if not watcher.is_connected or watcher.member not in in_force:
                watcher.connect(self._chance.choice(in_force))

    def _check_all(self) -> None:
        leader = self._leader()
        for member in self._members_in_force(leader) if leader else []:
            self.history.check_digest(member, member.machine)

    def _why_not_alive(self) -> str:
        leader = self._leader()
        if leader is None:
            return f"no leader in a healed cluster of {self.checker.conf_state}"
        if self.leases.alive:
            return f"leases {sorted(self.leases.alive)} do not end"
        waiting = [watcher for watcher in self.clients.watchers if not watcher.is_complete]
        if waiting:
            return f"{len(waiting)} watchers are not told of all events"
        return f"a healed cluster does not come to agree: {leader.node.status()}"


@contextmanager
def _seeded_nonces(chance: random.Random) -> Iterator[None]:
    """Let WALs draw their nonces from the seed too: a run must repeat to the last byte."""

    class Seeded:
        @staticmethod
        def token_bytes(size: int) -> bytes:
            return chance.randbytes(size)

    secret, wal.secrets = wal.secrets, Seeded  # type: ignore[assignment, attr-defined]
    try:
        yield
    finally:
        wal.secrets = secret  # type: ignore[attr-defined]


@contextmanager
def _broken_is_violation() -> Iterator[None]:
    """The product's own checks are watchers too."""
    try:
        yield
    except Broken as error:
        raise Violation(f"own check: {error}") from error
