"""Applies committed entries in order, a bounded slice at a time.

A slice ends after so many entries or so many milliseconds, so that however long the backlog (a
replay of 10,000 entries, a burst of large transactions), other calls wait no longer than one slice
and the longest single command. What is handed in is bounded by raft's `applying_bytes_max`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from tianlu_registry.errors import InputError, InvariantBroken
from tianlu_registry.node import command
from tianlu_registry.node.crash import CrashHook
from tianlu_registry.node.machine import StateMachine
from tianlu_registry.node.proposals import ProposalTable
from tianlu_registry.node.state_hash import LEDGER_STRIDE
from tianlu_registry.raft.types import Entry, EntryType, Index, Term

_CLOCK_EVERY = 8
"""Entries applied between two looks at the clock."""

_STRIDE_MASK = LEDGER_STRIDE - 1


class Applier:
    """The state machine's position in the log, and the committed entries after it.

    Args:
        machine: what the commands change.
        proposals: who on this member waits for an entry's answer.
        on_conf_change: called with an entry that changes the membership, in its place.
        applied_index, applied_term: the position that the restored state machine holds.
        entries_max, seconds_max: what ends a slice, whichever comes first.
        on_stride: called after the entry at every multiple of `LEDGER_STRIDE`; see
            `StateHash.mark`.
        crash_hook: see `node.crash`.
        clock: monotonic seconds, for `seconds_max` only.
    """

    def __init__(
        self,
        machine: StateMachine,
        proposals: ProposalTable,
        *,
        on_conf_change: Callable[[Entry], None],
        applied_index: Index,
        applied_term: Term,
        entries_max: int,
        seconds_max: float,
        on_stride: Callable[[Index], None] | None = None,
        crash_hook: CrashHook | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.applied_index = applied_index
        self.applied_term = applied_term
        self._machine = machine
        self._proposals = proposals
        self._on_conf_change = on_conf_change
        self._entries_max = entries_max
        self._seconds_max = seconds_max
        self._on_stride = on_stride
        self._crash_hook = crash_hook
        self._clock = clock
        self._waiting: deque[Entry] = deque()

    @property
    def waiting_count(self) -> int:
        """Committed entries not yet applied."""
        return len(self._waiting)

    def submit(self, entries: Sequence[Entry]) -> None:
        """Take committed entries; they follow those taken before."""
        self._waiting.extend(entries)

    def restart_at(self, index: Index, term: Term) -> None:
        """Go on from a raft_snapshot that has replaced the state: what waited is part of it."""
        self._waiting.clear()
        self.applied_index = index
        self.applied_term = term
        self._proposals.replaced(term)

    def apply_slice(self) -> None:
        """Apply some of what waits. While `waiting_count` is not 0, call again in the next turn.

        Raises:
            Broken: an entry cannot be applied; the node must stop. Corrupt: it is no command.
        """
        waiting = self._waiting
        if not waiting:
            return
        self._at("before_apply")
        self._machine.gather()
        ends = self._clock() + self._seconds_max
        for count in range(1, min(self._entries_max, len(waiting)) + 1):
            self._apply(waiting.popleft())
            if count % _CLOCK_EVERY == 0 and self._clock() >= ends:
                break
        self._machine.deliver()
        self._at("after_apply")

    def _apply(self, entry: Entry) -> None:
        # Not `check`: its message would be made for every entry.
        if entry.index != self.applied_index + 1:
            raise InvariantBroken(f"entry {entry.index} to be applied after {self.applied_index}")
        # Empty data marks a new leader's first entry: it commits what earlier leaders left.
        if entry.data:
            if entry.type is EntryType.NORMAL:
                self._apply_command(entry.data)
            else:
                self._on_conf_change(entry)
        self._move_to(entry.index, entry.term)
        if not entry.index & _STRIDE_MASK and self._on_stride is not None:
            self._on_stride(entry.index)

    def _move_to(self, index: Index, term: Term) -> None:
        self.applied_index = index
        if term != self.applied_term:
            self.applied_term = term
            self._proposals.overtaken(term)

    def _apply_command(self, data: bytes) -> None:
        proposal = self._proposals.claim(data)
        if proposal is None:
            kind, request = command.decode(data)
        else:
            kind, request = proposal.kind, proposal.request
        try:
            response = self._machine.apply(kind, request)
        except InputError as error:
            if proposal is not None:
                proposal.fail(error)
            return
        if proposal is not None:
            proposal.succeed(response)

    def _at(self, point: str) -> None:
        if self._crash_hook is not None:
            self._crash_hook(point)
