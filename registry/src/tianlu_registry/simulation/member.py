"""A member: the production core and WAL in a shell that does what raft/DESIGN.md numbers, as late,
as bundled and as interrupted as that allows."""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import takewhile
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
from tianlu_registry.simulation.checker import digest_after
from tianlu_registry.simulation.describe import message_text, ready_text
from tianlu_registry.simulation.storage import MachineState, MemberStorage

if TYPE_CHECKING:
    from tianlu_registry.simulation.cluster import Cluster


class SimulatedMember:
    """One member of the cluster, running or not.

    Attributes:
        state: the state machine in memory.
        incoming: raft_snapshots whose data has arrived, by index and term.
        clock_rate: ticks of this member's clock in the time of one right tick.
    """

    def __init__(self, cluster: Cluster, member_id: MemberId, conf_state: ConfState) -> None:
        self.id = member_id
        self._cluster = cluster
        self._chance = cluster.chance
        self.storage = MemberStorage(
            cluster.chance, conf_state, segment_bytes=cluster.plan.segment_bytes
        )
        self.running = False
        self.incarnation = 0
        self.clock_rate = 1.0
        self.disk_units_max = cluster.plan.disk_units_max

    # Starting and stopping

    def start(self) -> None:
        plan = self._cluster.plan
        torn_tails = self.storage.torn_tails
        self.log = self.storage.open()
        self._cluster.seen["torn tails"] += self.storage.torn_tails - torn_tails
        self.state = self.storage.saved
        self.incoming: dict[tuple[int, int], MachineState] = {}
        self._queue: list[Ready] = []  # to be written, or being written
        self._writing = 0  # how many of them are being written
        self._readable: set[int] = set()  # numbers of those whose entries are in the log already
        self._to_apply: deque[Entry] = deque()
        config = Config(
            id=self.id,
            random=random.Random(self._chance.getrandbits(32)),
            applied=self.state.index,
            election_timeout_ticks=plan.election_timeout_ticks,
            append_bytes_max=plan.append_bytes_max,
            append_messages_in_flight_max=plan.append_messages_in_flight_max,
            append_bytes_in_flight_max=max(plan.append_bytes_max, 1000),
            applying_bytes_max=plan.applying_bytes_max,
        )
        self.node = RawNode(config, self.log)
        self.running = True
        self.incarnation += 1
        self._cluster.seen["starts"] += 1

    def crash(self) -> None:
        self._stop("crashes")
        writing = self._queue[: self._writing]
        if writing and writing[0].snapshot is not None and self._chance.random() < 0.5:
            self._install(writing.pop(0))  # it had just been done
        self.storage.crash(list(takewhile(lambda ready: ready.snapshot is None, writing)))

    def _stop(self, why: str) -> None:
        self.running = False
        self._cluster.trace(f"{self.id} stops: {why}")
        self._cluster.seen[why] += 1

    @property
    def is_leader(self) -> bool:
        return self.running and self.node._raft.role is Role.LEADER

    def later(self, delay: int, action: Callable[[], None]) -> None:
        """Do something after a delay, if this incarnation still runs."""
        incarnation = self.incarnation

        def run() -> None:
            if self.running and self.incarnation == incarnation:
                action()

        self._cluster.clock.after(delay, run)

    # Events

    def call(self, event: Callable[[RawNode], None]) -> bool:
        """Tell the core of an event, then do the work that follows. Returns whether the core took
        it."""
        taken = False
        with contextlib.suppress(Unavailable, InputError):
            event(self.node)
            taken = True
        self._cluster.checker.observe(self)
        self.work()
        return taken

    def receive(self, message: Message) -> None:
        self._cluster.trace_detail(lambda: f"{self.id} receives {message_text(message)}")
        self.call(lambda node: node.step(message))

    def receive_snapshot(self, message: InstallSnapshot, state: MachineState) -> None:
        """The data of a raft_snapshot has arrived (duty 14)."""
        self.incoming[state.index, state.term] = state
        self.receive(message)

    def work(self) -> None:
        """Take Readies until there are none (duty 2)."""
        while self.running and self.node.has_ready():
            self._do(self.node.ready())
            self._cluster.checker.observe(self)

    def _do(self, ready: Ready) -> None:
        self._cluster.trace_detail(lambda: f"{self.id}: {ready_text(ready)}")
        self._cluster.checker.on_append(self, ready.entries)
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
            self._cluster.checker.on_read(self, read.context, read.index)

    def _lag(self) -> int:
        lag_units_max = self._cluster.plan.apply_units_max if self._cluster.faulty else 1
        return self._chance.randint(0, lag_units_max)

    def _send(self, message: Message) -> None:
        self._cluster.trace_detail(lambda: f"{self.id} sends {message_text(message)}")
        self._cluster.checker.on_send(self, message)
        if isinstance(message, InstallSnapshot):
            self._send_snapshot(message)
        else:
            self._cluster.network.send(message)

    def _send_snapshot(self, message: InstallSnapshot) -> None:
        """Send the state as it is, or as it was saved if the log goes on from there (duty 13)."""
        states = [self.state]
        if self.storage.saved.index >= self.log.first_index - 1 and self.storage.saved.index:
            states.append(self.storage.saved)
        state = self._chance.choice(states)
        self._cluster.checker.check_state(self, state)
        self._cluster.carry_snapshot(self, replace(message, snapshot=state.meta), state)

    # Writing

    def _enqueue(self, ready: Ready) -> None:
        may_read = self._cluster.plan.early_log and ready.snapshot is None
        if may_read and all(queued.number in self._readable for queued in self._queue):
            self.log.append(ready.entries)
            self._readable.add(ready.number)
        self._queue.append(ready)
        if not self._writing:
            self._begin_write()

    def _begin_write(self) -> None:
        if self._queue:
            self._writing = self._chance.randint(1, len(self._queue))
            self.later(self._chance.randint(1, self.disk_units_max), self._finish_write)

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
        """Write several Readies with one sync, but a raft_snapshot by itself."""
        together: list[Ready] = []
        for ready in batch:
            if ready.snapshot is None:
                together.append(ready)
                continue
            self._sync(together)
            together = []
            self._install(ready)
        self._sync(together)

    def _sync(self, readies: list[Ready]) -> None:
        if not readies:
            return
        self.storage.write(readies)
        for ready in readies:
            if ready.number not in self._readable:
                self.log.append(ready.entries)

    def _install(self, ready: Ready) -> None:
        meta = ready.snapshot
        assert meta is not None
        self.state = self.incoming.pop((meta.index, meta.term))
        self._cluster.checker.check_state(self, self.state)
        self.storage.install(self.state, ready)
        self.log.restore(meta)
        self.log.append(ready.entries)
        self._cluster.trace(f"{self.id} installs raft_snapshot {meta.term}/{meta.index}")
        self._cluster.seen["snapshots installed"] += 1

    # Applying

    def _apply(self) -> None:
        """Apply some of what waits (duties 8 and 16)."""
        for _ in range(self._chance.randint(1, 8)):
            if not self._to_apply or not self.running:
                break
            entry = self._to_apply.popleft()
            conf_state = self._conf_state_after(entry)
            digest = digest_after(self.state.digest, entry)
            self.state = MachineState(entry.index, entry.term, digest, conf_state)
            self._cluster.checker.on_apply(self, entry, self.state)
        index = self.state.index
        self.call(lambda node: node.on_applied(index))
        if self._to_apply:
            self.later(self._lag(), self._apply)

    def _conf_state_after(self, entry: Entry) -> ConfState:
        if entry.type is not EntryType.CONF_CHANGE:
            return self.state.conf_state
        change = ConfChange.decode(entry.data)
        led = self.is_leader
        conf_state = self.node.apply_conf_change(entry.index, change)
        self._cluster.seen["leaders removed"] += led and not self.is_leader
        self._cluster.trace(f"{self.id} applies {change.transition.name} {conf_state}")
        self._cluster.checker.observe(self)
        return conf_state

    def save(self, keep_entries: int) -> None:
        """Save the state machine and let the log forget what it holds, but for some entries."""
        if self.state.index > self.storage.saved.index:
            self.storage.save(self.state)
        self.log.compact(Index(max(0, self.storage.saved.index - keep_entries)))
