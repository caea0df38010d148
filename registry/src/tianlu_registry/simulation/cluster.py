"""One run: a cluster drawn from a seed, made to suffer, healed, and asked to work.

Phase 1 is about safety: whatever happens, the checker finds nothing. Phase 2 ends all faults and
starts everybody; within a bounded time there must be a leader, what is proposed must be applied
everywhere, and reads must be answered.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

from tianlu_registry.errors import Broken
from tianlu_registry.raft import ConfState, InstallSnapshot, MemberId, Message
from tianlu_registry.simulation.administrator import Administrator
from tianlu_registry.simulation.checker import Checker
from tianlu_registry.simulation.clock import TICK_UNITS, Clock
from tianlu_registry.simulation.member import SimulatedMember
from tianlu_registry.simulation.network import Network
from tianlu_registry.simulation.plan import Plan, draw_plan
from tianlu_registry.simulation.storage import MachineState
from tianlu_registry.simulation.violation import Violation

TRACE_LINES = 60
HEAL_TIMEOUTS_MAX = 60
SNAPSHOT_UNITS_MAX = 60


class Cluster:
    """A run.

    Args:
        seed: of everything drawn. The same seed makes the same run.

    Attributes:
        faulty: whether the first phase still lasts.
        seen: how often what happened.
        trace_lines: the last events; with `trace_all` all of them, with each message and Ready.
    """

    def __init__(self, seed: int, *, trace_all: bool = False) -> None:
        self.chance = random.Random(seed)
        self.plan: Plan = draw_plan(self.chance)
        self.clock = Clock()
        self.network = Network(self.clock, self.chance, self._deliver)
        self.trace_lines: deque[str] = deque(maxlen=None if trace_all else TRACE_LINES)
        self._trace_all = trace_all
        voters, learners = self.plan.voters, self.plan.learners
        ids = [MemberId(i) for i in range(1, voters + learners + 1)]
        conf_state = ConfState(tuple(ids[:voters]), tuple(ids[voters:]))
        self.checker = Checker(conf_state)
        self.seen: Counter[str] = self.checker.seen
        self.members: list[SimulatedMember] = []
        self._administrator = Administrator(self)
        self.faulty = True
        self._proposals = 0
        self._contexts = 0

    def trace(self, line: str) -> None:
        self.trace_lines.append(f"{self.clock.now:6} {line}")

    def trace_detail(self, line: Callable[[], str]) -> None:
        """Note what is only of interest when a seed is run again."""
        if self._trace_all:
            self.trace(line())

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
        with _seeded_nonces(self.chance), _broken_is_violation():
            for _ in (*conf_state.voters, *conf_state.learners):
                self.add_member(conf_state)
            self._suffer()
            self._heal()
            self._check_liveness()

    # Phase 1

    def _suffer(self) -> None:
        plan = self.plan
        self.network.loss = plan.loss
        self.network.duplication = plan.duplication
        self.network.delay_units_max = plan.delay_units_max
        self._repeat(plan.propose_units, self._propose_somewhere)
        self._repeat(3 * plan.propose_units, self._read_somewhere)
        self._repeat(plan.save_ticks * TICK_UNITS, self._save_somewhere)
        if plan.change_ticks:
            self._repeat(plan.change_ticks * TICK_UNITS, self._administrator.act)
        if plan.fault_ticks:
            self._repeat(plan.fault_ticks * TICK_UNITS, self._fault)
        self.clock.run_until(plan.duration_ticks * TICK_UNITS)

    def _repeat(self, units: int, action: Callable[[], object]) -> None:
        """Do something about every so many units of time, until the faults end."""

        def again() -> None:
            if self.faulty:
                action()
                self.clock.after(self.chance.randint(1, 2 * units), again)

        self.clock.after(self.chance.randint(1, 2 * units), again)

    def _tick_for_ever(self, member: SimulatedMember) -> None:
        def tick() -> None:
            if member.running:
                member.call(lambda node: node.tick())
            self.clock.after(max(1, round(TICK_UNITS / member.clock_rate)), tick)

        self.clock.after(self.chance.randint(1, TICK_UNITS), tick)

    def _deliver(self, message: Message) -> None:
        member = self.members[message.to - 1]
        if member.running:
            member.receive(message)
            return
        sender = self.members[message.sender - 1]
        if sender.running and self.chance.random() < 0.5:
            sender.call(lambda node: node.report_unreachable(message.to))

    def carry_snapshot(
        self, sender: SimulatedMember, message: InstallSnapshot, state: MachineState
    ) -> None:
        """Move a raft_snapshot, slowly, and tell the sender how it went."""
        receiver = self.members[message.to - 1]

        def arrive() -> None:
            fails = self.faulty and self.chance.random() < 0.2
            passes = self.network.passes(sender.id, receiver.id)
            installed = receiver.running and passes and not fails
            self.seen["snapshots sent" if installed else "snapshots lost"] += 1
            if installed:
                receiver.receive_snapshot(message, state)
            sender.later(self.chance.randint(1, 20), lambda: report(installed))

        def report(installed: bool) -> None:
            sender.call(lambda node: node.report_snapshot(message.to, installed=installed))

        self.clock.after(self.chance.randint(1, SNAPSHOT_UNITS_MAX), arrive)

    def running(self) -> list[SimulatedMember]:
        return [member for member in self.members if member.running]

    def _propose_somewhere(self) -> None:
        if running := self.running():
            self._proposals += 1
            padding = b"x" * self.chance.randint(0, self.plan.value_bytes_max)
            self.propose(self.chance.choice(running), b"%d." % self._proposals + padding)

    def propose(self, member: SimulatedMember, data: bytes) -> None:
        taken = member.call(lambda node: node.propose(data))
        self.seen["proposals taken"] += taken

    def _read_somewhere(self) -> None:
        if running := self.running():
            self.read(self.chance.choice(running))

    def read(self, member: SimulatedMember) -> None:
        self._contexts += 1
        context = self._contexts
        self.checker.on_ask(context)
        member.call(lambda node: node.read_index(context))

    def _save_somewhere(self) -> None:
        if running := self.running():
            self.chance.choice(running).save(self.plan.keep_entries)

    def _fault(self) -> None:
        action = self.chance.choice(
            [self._crash, self._crash, self._partition, self._mend, self._clock_skew, self._disk]
        )
        action()

    def _crash(self) -> None:
        """Crash one member, or all of them: the power of a whole room."""
        victims = self.running()
        if victims and self.chance.random() < 0.9:
            victims = [self.chance.choice(victims)]
        for member in victims:
            if self.chance.random() < 0.2:
                member.storage.fail_next_sync()
            else:
                member.crash()
            self._restart_later(member)

    def _restart_later(self, member: SimulatedMember) -> None:
        def restart() -> None:
            if not member.running:
                member.start()
                self.trace(f"{member.id} starts")

        self.clock.after(self.chance.randint(1, 40 * TICK_UNITS), restart)

    def _partition(self) -> None:
        self.network.partition([member.id for member in self.members])
        self.trace(f"cut {sorted(self.network.cut)}")
        self.seen["partitions"] += 1

    def _mend(self) -> None:
        self.network.cut.clear()
        self.trace("mended")

    def _clock_skew(self) -> None:
        member = self.chance.choice(self.members)
        member.clock_rate = 1 + self.chance.uniform(-self.plan.skew, self.plan.skew)

    def _disk(self) -> None:
        member = self.chance.choice(self.members)
        slow = self.chance.random() < self.plan.slow_disk
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
            member.clock_rate = 1.0
            member.disk_units_max = 2
            member.storage.mend()
            if not member.running:
                member.start()

    def _check_liveness(self) -> None:
        last = b"last"
        proposed_term = 0
        reads_before = 0
        backlog = max(member.node._raft.log.last_index for member in self.members)
        ticks_max = HEAL_TIMEOUTS_MAX * self.plan.election_timeout_ticks + 3 * backlog
        for _ in range(ticks_max):
            self.clock.run_until(self.clock.now + TICK_UNITS)
            leader = self._leader()
            if leader is None:
                continue
            self._administrator.finish(leader)
            term = leader.node._raft.term
            if term != proposed_term:
                proposed_term = term
                reads_before = self.seen["reads answered"]
                self.propose(leader, last)
            if self._all_agree(leader) and not leader.node._raft.tracker.conf_state.voters_outgoing:
                self.read(leader)
                if self.seen["reads answered"] > reads_before:
                    return
        raise Violation(f"liveness: {self._why_not_alive()}")

    def _leader(self) -> SimulatedMember | None:
        leaders = [member for member in self.members if member.is_leader]
        return max(leaders, key=lambda member: member.node._raft.term, default=None)

    def _all_agree(self, leader: SimulatedMember) -> bool:
        """Whether every member of the leader's configuration has applied the leader's whole log."""
        end = leader.node._raft.log.last_index
        conf_state = leader.node._raft.tracker.conf_state
        own_term = leader.node._raft.committed_in_term
        return own_term and all(
            self.members[member - 1].state.index == end
            for member in (*conf_state.voters, *conf_state.learners)
        )

    def _why_not_alive(self) -> str:
        leader = self._leader()
        if leader is None:
            return f"no leader in a healed cluster of {self.checker.conf_state}"
        return f"a healed cluster does not come to agree: {leader.node.status()}"


@contextmanager
def _seeded_nonces(chance: random.Random) -> Iterator[None]:
    """Let WALs draw their nonces from the seed too: a run must repeat to the last byte."""

    class Seeded:
        @staticmethod
        def token_bytes(size: int) -> bytes:
            return chance.randbytes(size)

    with mock.patch("tianlu_registry.storage.wal.secrets", Seeded):
        yield


@contextmanager
def _broken_is_violation() -> Iterator[None]:
    """The product's own checks are watchers too."""
    try:
        yield
    except Broken as error:
        raise Violation(f"own check: {error}") from error
