"""A member: the production core and WAL in a shell that does what raft/DESIGN.md numbers, as late,
as bundled and as interrupted as that allows."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

from tianlu_registry.errors import InputError, StorageFailed, Unavailable
from tianlu_registry.raft import (
    ConfChange,
    Config,
    ConfState,
    Entry,
    EntryType,
    Index,
    InstallSnapshot,
    MemberId,
    Message,
    RawNode,
    Ready,
    Role,
)
from tianlu_registry.simulation.backend import Saved
from tianlu_registry.simulation.clock import LocalClock
from tianlu_registry.simulation.describe import message_text, ready_text
from tianlu_registry.simulation.machine import Machine
from tianlu_registry.simulation.service import Service
from tianlu_registry.simulation.storage import MemberStorage, position_of

if TYPE_CHECKING:
    from tianlu_registry.simulation.cluster import Cluster


class SimulatedMember:
    """One member of the cluster, running or not.

    Attributes:
        machine: the state machine in memory.
        service: what it does for clients.
        incoming: raft_snapshots whose data has arrived, by index and term.
        clock: its own monotonic clock.
        paused_until: the true time until which it stands still.
    """

    def __init__(self, cluster: Cluster, member_id: MemberId, conf_state: ConfState) -> None:
        self.id = member_id
        self.cluster = cluster
        self.chance = cluster.scenario.chance("member", member_id)
        self.storage = MemberStorage(
            self.chance, conf_state, segment_bytes=cluster.plan.segment_bytes
        )
        self.running = False
        self.incarnation = 0
        self.clock = LocalClock(cluster.clock, cluster.plan.tick_seconds)
        self.paused_until = 0
        self.disk_units_max = cluster.plan.disk_units_max

    # Starting and stopping

    def start(self) -> None:
        torn_tails, restarted = self.storage.torn_tails, self.storage.restarted_logs
        self.log = self.storage.open()
        self.cluster.seen["torn tails"] += self.storage.torn_tails - torn_tails
        self.cluster.seen["logs begun anew"] += self.storage.restarted_logs - restarted
        self.incoming: dict[tuple[int, int], Saved] = {}
        self._queue: list[Ready] = []  # to be written, or being written
        self._writing = 0  # how many of them are being written
        self._readable: set[int] = set()  # numbers of those whose entries are in the log already
        self._to_apply: deque[Entry] = deque()
        self.running = True
        self.incarnation += 1
        self.clock.begin_at(self.chance.uniform(0, 10_000))
        self.machine = self._restored(self.storage.saved)
        self.service = Service(self)
        self.node = RawNode(self._config(), self.log)
        self.cluster.history.check_restored(self)
        self.cluster.seen["starts"] += 1

    def _restored(self, saved: Saved) -> Machine:
        plan = self.cluster.plan
        return Machine(
            saved,
            self.id,
            self.clock.seconds,
            lease_ttl_seconds_min=ceil(1.5 * plan.election_timeout_ticks * plan.tick_seconds),
            on_lagging=lambda: self.service.on_lagging(),  # noqa: PLW0108 - there is none yet
        )

    def _config(self) -> Config:
        plan = self.cluster.plan
        return Config(
            id=self.id,
            random=random.Random(self.chance.getrandbits(32)),
            applied=self.machine.index,
            election_timeout_ticks=plan.election_timeout_ticks,
            append_bytes_max=plan.append_bytes_max,
            append_messages_in_flight_max=plan.append_messages_in_flight_max,
            append_bytes_in_flight_max=max(plan.append_bytes_max, 1000),
            applying_bytes_max=plan.applying_bytes_max,
        )

    def crash(self) -> None:
        self._stop("crashes")
        self.storage.crash(self._queue[: self._writing], self.incoming)

    def _stop(self, why: str) -> None:
        self.running = False
        self.cluster.trace(f"{self.id} stops: {why}")
        self.cluster.seen[why] += 1

    @property
    def is_leader(self) -> bool:
        return self.running and self.node._raft.role is Role.LEADER

    def later(self, delay: int, action: Callable[[], None]) -> None:
        """Do something after a delay, if this incarnation still runs; when a pause is over."""
        incarnation = self.incarnation

        def run() -> None:
            if self.running and self.incarnation == incarnation:
                self.awake(action)

        self.cluster.clock.after(delay, run)

    def awake(self, action: Callable[[], None]) -> None:
        """Do something now, or when a pause is over."""
        pause = self.paused_until - self.cluster.clock.now
        if pause > 0:
            self.later(pause, action)
        else:
            action()

    def tick(self) -> None:
        """Let a tick pass. All that a pause would have had count as one (duty 12)."""
        if self.running and self.paused_until <= self.cluster.clock.now:
            self.call(lambda node: node.tick())
            if self.running:
                self.service.tick()

    # Events

    def call(self, event: Callable[[RawNode], None]) -> bool:
        """Tell the core of an event, then do the work that follows. Returns whether the core took
        it."""
        taken = False
        with contextlib.suppress(Unavailable, InputError):
            event(self.node)
            taken = True
        self.cluster.checker.observe(self)
        self.work()
        return taken

    def receive(self, message: Message) -> None:
        self.cluster.trace_detail(lambda: f"{self.id} receives {message_text(message)}")
        self.call(lambda node: node.step(message))

    def report_unreachable(self, member: MemberId) -> None:
        self.call(lambda node: node.report_unreachable(member))

    def receive_snapshot(self, message: InstallSnapshot, state: Saved) -> None:
        """The data of a raft_snapshot has arrived (duty 14)."""
        self.incoming[state.index, state.term] = state
        self.receive(message)

    def work(self) -> None:
        """Take Readies until there are none (duty 2)."""
        while self.running and self.node.has_ready():
            self._do(self.node.ready())
            self.cluster.checker.observe(self)

    def _do(self, ready: Ready) -> None:
        self.cluster.trace_detail(lambda: f"{self.id}: {ready_text(ready)}")
        self.cluster.checker.on_append(self, ready.entries)
        if ready.soft_state is not None:
            self.service.on_soft_state(ready.soft_state)
        if ready.snapshot is not None:
            self._to_apply.clear()
        if ready.must_sync:
            self._enqueue(ready)
        for message in ready.messages:
            self._send(message)
        if ready.committed_entries:
            self._to_apply += ready.committed_entries
            self.later(self._lag(), self._apply)
        for read in ready.read_states:
            self.service.on_read_state(read)

    def _lag(self) -> int:
        lag_units_max = self.cluster.plan.apply_units_max if self.cluster.faulty else 1
        return self.chance.randint(0, lag_units_max)

    def _send(self, message: Message) -> None:
        self.cluster.trace_detail(lambda: f"{self.id} sends {message_text(message)}")
        self.cluster.checker.on_send(self, message)
        if isinstance(message, InstallSnapshot):
            self._send_snapshot(message)
        else:
            self.cluster.network.send(message)

    def _send_snapshot(self, message: InstallSnapshot) -> None:
        """Send the state as it is, or as it was saved if the log goes on from there (duty 13)."""
        states = [self.machine.freeze()]
        if self.storage.saved.index >= self.log.first_index - 1 and self.storage.saved.index:
            states.append(self.storage.saved)
        state = self.chance.choice(states)
        self.cluster.checker.check_position(self, state.index, state.conf_state)
        self.cluster.carry_snapshot(self, replace(message, snapshot=state.snapshot), state)

    # Writing

    def _enqueue(self, ready: Ready) -> None:
        may_read = self.cluster.plan.early_log and ready.snapshot is None
        if may_read and all(queued.number in self._readable for queued in self._queue):
            self.log.append(ready.entries)
            self._readable.add(ready.number)
        self._queue.append(ready)
        if not self._writing:
            self._begin_write()

    def _begin_write(self) -> None:
        if self._queue:
            self._writing = self.chance.randint(1, len(self._queue))
            self.later(self.chance.randint(1, self.disk_units_max), self._finish_write)

    def _finish_write(self) -> None:
        batch = self._queue[: self._writing]
        try:
            self._write(batch)
        except StorageFailed:
            self._stop("failed writes")
            self.storage.stop_broken()
            return
        del self._queue[: self._writing]
        self._writing = 0
        self.call(lambda node: node.on_persisted(batch[-1].number))
        if not self._writing:
            self._begin_write()

    def _write(self, batch: list[Ready]) -> None:
        """Write what is due, and put it in force."""
        self.storage.write_all(batch, self.incoming)
        for ready in batch:
            if ready.snapshot is not None:
                self._install(self.incoming.pop(position_of(ready)))
            if ready.number not in self._readable:
                self.log.append(ready.entries)

    def _install(self, state: Saved) -> None:
        """Go on with the state of a raft_snapshot, which is durable (duty 15)."""
        meta = state.snapshot
        self.log.restore(meta)
        self.machine.replace(state)
        self.service.on_installed()
        self.cluster.checker.check_position(self, state.index, state.conf_state)
        self.cluster.history.check_restored(self)
        self.cluster.trace(f"{self.id} installs raft_snapshot {meta.term}/{meta.index}")
        self.cluster.seen["snapshots installed"] += 1

    # Applying

    def _apply(self) -> None:
        """Apply some of what waits (duties 8, 9 and 16)."""
        for _ in range(self.chance.randint(1, 8)):
            if not self._to_apply or not self.running:
                break
            self._apply_entry(self._to_apply.popleft())
        index = self.machine.index
        self.call(lambda node: node.on_applied(index))
        self.service.on_applied()
        if self._to_apply:
            self.later(self._lag(), self._apply)

    def _apply_entry(self, entry: Entry) -> None:
        outcome = self.machine.apply(entry, self._conf_state_after(entry))
        self.cluster.on_apply(self, entry, outcome)
        self.service.on_outcome(entry, outcome)

    def _conf_state_after(self, entry: Entry) -> ConfState:
        if entry.type is not EntryType.CONF_CHANGE:
            return self.machine.conf_state
        change = ConfChange.decode(entry.data)
        led = self.is_leader
        conf_state = self.node.apply_conf_change(entry.index, change)
        self.cluster.seen["leaders removed"] += led and not self.is_leader
        self.cluster.trace(f"{self.id} applies {change.transition.name} {conf_state}")
        self.cluster.checker.observe(self)
        return conf_state

    def save(self, keep_entries: int) -> None:
        """Save the state machine, and let the log forget what it holds, but for some entries."""
        if self.storage.saving is not None or self.machine.index <= self.storage.saved.index:
            return
        state = self.machine.freeze()
        self.cluster.history.check_digest(self, self.machine)
        self.storage.begin_save(state)
        self.later(
            self.chance.randint(1, self.disk_units_max), partial(self._saved, state, keep_entries)
        )

    def _saved(self, state: Saved, keep_entries: int) -> None:
        if self.storage.saving is not state:
            return  # a raft_snapshot came in between
        self.storage.end_save()
        self.log.compact(Index(max(0, state.index - keep_entries)))
        self.cluster.seen["saves"] += 1
