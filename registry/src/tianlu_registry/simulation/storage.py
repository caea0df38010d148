"""What survives a crash of one simulated member: the production WAL on a disk that forgets and
tears what was not synced, and the state machine's last saved copy.

A second, trivial account is kept of what was synced. At a restart the WAL must give back exactly
that, or that and the whole of the write that was under way.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tianlu_registry.errors import Broken
from tianlu_registry.raft import (
    ConfState,
    Entry,
    HardState,
    Index,
    Ready,
    SnapshotMeta,
    Term,
)
from tianlu_registry.simulation.disk import SimulatedCrash, SimulatedDisk
from tianlu_registry.simulation.violation import Violation, require
from tianlu_registry.storage.log import MemoryLog
from tianlu_registry.storage.wal import Wal

DIRECTORY = Path("/wal")


@dataclass(frozen=True)
class MachineState:
    """The state machine at one log position.

    Attributes:
        digest: of all entries up to `index`, in order.
    """

    index: Index
    term: Term
    digest: int
    conf_state: ConfState

    @property
    def meta(self) -> SnapshotMeta:
        return SnapshotMeta(self.index, self.term, self.conf_state)


@dataclass
class Account:
    """What a WAL must hold: entries after `before`, and the hard state."""

    before: int
    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)

    def with_writes(self, readies: Sequence[Ready]) -> Account:
        account = Account(self.before, self.hard_state, list(self.entries))
        for ready in readies:
            account.hard_state = ready.hard_state or account.hard_state
            if ready.entries:
                del account.entries[ready.entries[0].index - account.before - 1 :]
                account.entries += ready.entries
        return account

    def after(self, index: int) -> tuple[HardState, list[Entry]]:
        return self.hard_state, self.entries[index - self.before :]

    def term(self, index: int) -> int | None:
        """Return the term of the entry at `index`, or None if there is none."""
        place = index - self.before - 1
        return self.entries[place].term if 0 <= place < len(self.entries) else None


class MemberStorage:
    """One member's disk.

    Attributes:
        saved: the state machine as last saved.
        synced: the account of what is durable.
        torn_tails: how many torn writes were cut off at restarts.
    """

    def __init__(self, chance: random.Random, conf_state: ConfState, *, segment_bytes: int) -> None:
        self._chance = chance
        self._segment_bytes = segment_bytes
        self.saved = MachineState(Index(0), Term(0), 0, conf_state)
        self.torn_tails = 0
        self._disk, self._wal = self._new_wal()
        self.synced = Account(0)
        self._possible = [self.synced]  # what a restart may find

    def open(self) -> MemoryLog:
        """Start from what is there.

        Raises:
            Violation: it is not what was synced.
        """
        after = self.saved.index
        try:
            self._wal, found = Wal.open(
                DIRECTORY, after, files=self._disk, segment_bytes=self._segment_bytes
            )
        except Broken as error:
            raise Violation(f"durability: the WAL does not open: {error}") from error
        recovered = (found.hard_state, found.entries)
        matching = [one for one in self._possible if one.after(after) == recovered]
        require(bool(matching), "durability: the WAL does not hold what was synced")
        require(found.after_term == self.saved.term, "durability: another log than the state's")
        self.torn_tails += bool(found.torn_bytes)
        self.synced = matching[0]
        return MemoryLog(
            self.saved.conf_state,
            hard_state=found.hard_state,
            compacted_index=found.after,
            compacted_term=found.after_term,
            entries=found.entries,
        )

    def write(self, readies: Sequence[Ready]) -> None:
        """Make hard states and entries durable.

        Raises:
            StorageFailed: the disk failed. The member must stop; only `crash` may follow.
        """
        self._possible = [self.synced, self.synced.with_writes(readies)]
        for ready in readies:
            self._wal.append(ready.hard_state, ready.entries)
        self._wal.sync()
        self.synced = self._possible.pop()

    def install(self, state: MachineState, ready: Ready) -> None:
        """Replace log and state machine (raft/DESIGN.md, duty 15): a new WAL is prepared beside
        the old one, and the state that is saved says which one counts."""
        disk, wal = self._new_wal()
        hard_state = ready.hard_state or self.synced.hard_state
        # The WAL's records begin at entry 1. What the snapshot replaces is padded.
        padding = [Entry(state.term, Index(index)) for index in range(1, state.index + 1)]
        wal.append(hard_state, [*padding, *ready.entries])
        wal.sync()
        self._disk, self._wal, self.saved = disk, wal, state
        self.synced = Account(0, hard_state, [*padding, *ready.entries])

    def save(self, state: MachineState) -> None:
        """Save the state machine; what it holds is no longer needed of the log."""
        self.saved = state
        self._wal.release(state.index)

    def fail_next_sync(self) -> None:
        self._disk.failures["sync_data"] = OSError(errno.EIO, "Input/output error")

    def mend(self) -> None:
        """Let nothing fail any more."""
        self._disk.failures.clear()

    def crash(self, writing: Sequence[Ready]) -> None:
        """Lose the power, perhaps in the midst of a write. A raft_snapshot is not among it."""
        self._possible = [self.synced]
        self.mend()
        if writing and self._chance.random() < 0.8:
            self._disk.crash_at = self._disk.operations + self._chance.randint(1, 4)
            try:
                self.write(writing)
                self._possible = [self.synced]
            except SimulatedCrash:
                pass
        self._disk.crash()

    def stop_broken(self) -> None:
        """Stop after a failed write, and lose the power before the restart."""
        self._disk.crash()

    def holds(self, index: int, term: int) -> bool:
        """Whether an entry is durable here."""
        return index <= self.saved.index or self.synced.term(index) == term

    def _new_wal(self) -> tuple[SimulatedDisk, Wal]:
        disk = SimulatedDisk(self._chance)
        return disk, Wal.create(DIRECTORY, b"", files=disk, segment_bytes=self._segment_bytes)
