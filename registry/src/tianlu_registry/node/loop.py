"""The Ready loop: the shell around the consensus core, in the order that the core's contract asks.

    propose / read / tick / persisted
          │
          v
    RawNode ── Ready ──> messages            ──> other members
                    ├──> raft_snapshot       ──> replaces state and log
                    ├──> entries, hard state ──> log in memory, writer thread ──> persisted
                    ├──> committed entries   ──> applier, in slices ──> answers, watchers
                    └──> read states         ──> waiting reads

Everything here runs on one event loop and never blocks. Whatever is proposed within one turn of
the loop becomes one Ready and, with what the disk was too busy for, one sync.
The numbered duties are those of raft/DESIGN.md.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from tianlu_registry.errors import (
    Broken,
    InvariantBroken,
    NoLeader,
    Stopped,
    Unavailable,
    check,
)
from tianlu_registry.node.applier import Applier
from tianlu_registry.node.background import Pump
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.committer import Committer
from tianlu_registry.node.proposals import Proposal, ProposalTable
from tianlu_registry.node.reads import ReadQueue
from tianlu_registry.node.writer import WriterThread
from tianlu_registry.raft import (
    NO_MEMBER,
    ConfChange,
    ConfState,
    HardState,
    Index,
    MemberId,
    Message,
    RawNode,
    Ready,
    SnapshotMeta,
    SoftState,
)
from tianlu_registry.storage.log import MemoryLog


class ReadyLoop:
    """Drives one RawNode.

    Args:
        loop: the event loop that owns all of it.
        raft: the consensus core.
        log: its stable log, which this loop appends to.
        proposals, applier: the node's; their other ends are the store's.
        request_timeout_seconds: how long a linearizable read waits.
        on_soft_state: called when the leader or this member's role has changed.
        on_hard_state: called when the term, the vote or the stored commit index has changed.
        on_applied: called after each slice of applied entries.
        send: takes messages for other members; never waits.
        install: replaces the state machine by the raft_snapshot that was given to `step`, durably.
        on_failed: called once, with the error that stops the node.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        raft: RawNode,
        log: MemoryLog,
        proposals: ProposalTable,
        applier: Applier,
        *,
        request_timeout_seconds: float,
        on_soft_state: Callable[[SoftState], None],
        on_hard_state: Callable[[HardState], None],
        on_applied: Callable[[], None],
        send: Callable[[Sequence[Message]], None],
        install: Callable[[SnapshotMeta], None],
        on_failed: Callable[[Broken], None],
    ) -> None:
        self._loop = loop
        self._raft = raft
        self._log = log
        self._proposals = proposals
        self._applier = applier
        self._on_soft_state = on_soft_state
        self._on_hard_state = on_hard_state
        self._on_applied = on_applied
        self._send = send
        self._install = install
        self._on_failed = on_failed
        self._reads = ReadQueue(
            loop,
            request=self._read_index,
            timeout_seconds=request_timeout_seconds,
            first_context=1 + random.SystemRandom().getrandbits(48),
        )
        self._reads.on_applied(applier.applied_index)
        self._apply_pump = Pump(loop, self._apply, on_failed=self.fail)
        self._drive_due = False
        self._stopped = False
        self._writer: WriterThread | None = None
        self._committer: Committer | None = None

    def attach(self, writer: WriterThread, committer: Committer) -> None:
        """Join the threads, whose callbacks are this object's. Before anything else is called."""
        self._writer = writer
        self._committer = committer

    def propose(
        self, kind: CommandKind, request: Request, payload: bytes, *, is_bound: bool = False
    ) -> asyncio.Future[Any]:
        """Put a command into the log.

        Args:
            kind: what it does.
            request: the parsed message; it must not be changed any more.
            payload: the same, serialized.
            is_bound: this member has decided it because it leads. It is proposed here and in this
                term, or not at all: what the leader of one term finds of leases is not true any
                more in the next.

        Returns:
            A future of the answer. It fails with what the command meets when it is applied, with
            `RequestTimeout`, or with `Stopped`. Cancelling it does not take the command back.
            While no leader is known it waits for one.

        Raises:
            Unavailable: the command is not in the log and will not be.
        """
        if self._stopped:
            raise Stopped
        if is_bound and not self._raft.leads:
            raise NoLeader
        proposal = self._proposals.open(kind, request, payload)
        proposal.is_bound = is_bound
        try:
            self._enter(proposal)
        except Unavailable as error:
            if isinstance(error, NoLeader) and not is_bound:
                return proposal.answered  # `_propose_waiting` tries again
            self._proposals.withdraw(proposal)
            raise
        except Broken as error:
            self.fail(error)
            return proposal.answered
        self._drive_soon()
        return proposal.answered

    def propose_conf_change(self, change: ConfChange) -> None:
        """Put a membership change into the log; whoever applies it knows it by its context.

        Raises:
            Unavailable, Conflict: it is not in the log and will not be.
        """
        self._raft.propose_conf_change(change)
        self._drive_soon()

    def apply_conf_change(self, index: Index, change: ConfChange) -> ConfState:
        """Put a committed change into force; from within the applier's callback."""
        return self._raft.apply_conf_change(index, change)

    def transfer_leadership(self, to: MemberId) -> None:
        """Let another member lead; see `RawNode.transfer_leadership`."""
        self._raft.transfer_leadership(to)
        self._drive_soon()

    def step(self, messages: Sequence[Message]) -> None:
        """Take what other members have sent."""

        def step() -> None:
            for message in messages:
                self._raft.step(message)

        self._guarded(step)

    def report_unreachable(self, member: MemberId) -> None:
        """Take note that messages to a member were dropped."""
        self._guarded(lambda: self._raft.report_unreachable(member))

    def report_snapshot(self, member: MemberId, *, installed: bool) -> None:
        """Take note of how the sending of a raft_snapshot ended."""
        self._guarded(lambda: self._raft.report_snapshot(member, installed=installed))

    def read(self) -> asyncio.Future[None]:
        """Return a future that is done when a read that arrives now is linearizable.

        Raises:
            Unavailable: too many wait, or the node has stopped.
        """
        if self._stopped:
            raise Stopped
        return self._reads.wait()

    def campaign(self) -> None:
        """Seek to lead: a single voter's start."""
        self._guarded(self._raft.campaign)

    def tick(self, now: float) -> None:
        """Let one tick pass, fail who has waited too long, and try again for those who wait for a
        leader."""
        self._guarded(self._raft.tick)
        self._proposals.expire(now)
        self._reads.expire(now)
        self._reads.retry(now)
        self._propose_waiting()

    def on_persisted(self, number: int) -> None:
        """The writer thread's report: everything of the Readies up to `number` is durable."""
        self._guarded(lambda: self._raft.on_persisted(number))

    def on_committed(self) -> None:
        """The committer's report: what was too much for the disk may now be less."""
        if self._applier.waiting_count:
            self._apply_pump.poke()

    def fail(self, error: Exception) -> None:
        """Stop for good: something broke. The first error counts; an unforeseen one is a bug."""
        if not self._stopped:
            self.stop()
            self._on_failed(error if isinstance(error, Broken) else _as_invariant_broken(error))

    def stop(self) -> None:
        """Refuse everything from now on and fail who waits, with `Stopped`."""
        self._stopped = True
        self._apply_pump.stop()
        self._proposals.fail_all(Stopped)
        self._reads.fail_all(Stopped)

    def _enter(self, proposal: Proposal) -> None:
        """Give a proposal to the core."""
        raft = self._raft
        raft.propose(proposal.data)
        proposal.term = raft.term
        proposal.is_forwarded = not raft.leads

    def _propose_waiting(self) -> None:
        if self._stopped:
            return
        for proposal in self._proposals.waiting():
            try:
                self._enter(proposal)
            except Unavailable:
                return  # no leader yet, or no room: the next tick tries again
            except Broken as error:
                self.fail(error)
                return
            self._drive_soon()

    def _drive_soon(self) -> None:
        if not self._drive_due:
            self._drive_due = True
            self._loop.call_soon(self._drive_turn)

    def _on_new_soft_state(self, soft_state: SoftState) -> None:
        self._on_soft_state(soft_state)
        if soft_state.leader_id != NO_MEMBER:
            # Not from within the core's work: a turn later.
            self._loop.call_soon(self._on_leader)

    def _on_leader(self) -> None:
        if not self._stopped:
            self._propose_waiting()
            self._reads.retry(self._loop.time(), leader_changed=True)

    def _read_index(self, context: int) -> None:
        self._guarded(lambda: self._raft.read_index(context))

    def _drive_turn(self) -> None:
        self._drive_due = False
        self._guarded(lambda: None)

    def _guarded(self, event: Callable[[], None]) -> None:
        """Tell the core of an event, then do all work that follows.

        Raises:
            Unavailable: what the core says to a request. Any other error stops the node.
        """
        if self._stopped:
            return
        try:
            event()
            self._drive()
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the loop's supervisor
            self.fail(error)

    def _drive(self) -> None:
        self._take_readies()
        if self._applier.waiting_count and not self._apply_pump.is_running and self._apply():
            self._apply_pump.poke()

    def _take_readies(self) -> None:
        while self._raft.has_ready():
            self._do(self._raft.ready())

    def _do(self, ready: Ready) -> None:
        check(self._writer is not None, "the Ready loop runs before its writer is attached")
        if ready.soft_state is not None:
            self._on_new_soft_state(ready.soft_state)
        if ready.hard_state is not None:
            self._on_hard_state(ready.hard_state)
        if ready.messages:
            self._send(ready.messages)  # duty 7: at any time, so before the disk
        snapshot = ready.snapshot
        if snapshot is not None:
            self._replace_state(snapshot)
        if ready.must_sync and self._writer is not None:
            # Duty 4 allows the entries to be readable before they are durable.
            self._log.append(ready.entries)
            self._writer.write(
                ready.number,
                ready.hard_state,
                ready.entries,
                after=(snapshot.index, snapshot.term) if snapshot is not None else None,
            )
        if ready.read_states:
            self._reads.on_read_states(ready.read_states)
        self._applier.submit(ready.committed_entries)

    def _replace_state(self, snapshot: SnapshotMeta) -> None:
        """Duty 15. The state machine is durable when this returns; the log begins anew with the
        Ready's write, which is the writer's next."""
        self._install(snapshot)
        self._log.restore(snapshot)
        self._applier.restart_at(snapshot.index, snapshot.term)
        self._reads.on_applied(snapshot.index)

    def _apply(self) -> bool:
        """Apply a slice; True when another may follow in the next turn."""
        committer = self._committer
        if committer is None or committer.is_behind:
            return False  # `on_committed` resumes
        applier = self._applier
        applier.apply_slice()
        self._raft.on_applied(applier.applied_index)
        self._reads.on_applied(applier.applied_index)
        committer.on_applied(applier.applied_index, applier.applied_term)
        self._on_applied()
        self._take_readies()  # the core may have held entries back until these were applied
        return applier.waiting_count > 0


def _as_invariant_broken(error: Exception) -> Broken:
    failure = InvariantBroken(f"{InvariantBroken.text}: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
