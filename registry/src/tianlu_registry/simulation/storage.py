"""What survives a crash of one simulated member: the production WAL on a disk that forgets and
tears what was not synced, and the state machine's database as it was last saved.

A second, trivial account is kept of what was synced. At a restart the WAL must give back exactly
that, or that and the whole of the write that was under way.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from tianlu_registry.errors import Broken, check
from tianlu_registry.raft import (
    ConfState,
    Entry,
    HardState,
    Ready,
)
from tianlu_registry.simulation.backend import Saved
from tianlu_registry.simulation.disk import SimulatedCrash, SimulatedDisk
from tianlu_registry.simulation.violation import Violation, require
from tianlu_registry.storage.log import MemoryLog
from tianlu_registry.storage.wal import Wal

DIRECTORY = Path("/wal")

CHANCE_SAVED = 0.3
"""That a copy of the state machine had just become durable when the power went."""


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

    def holds(self, state: Saved) -> bool:
        """Whether the log goes on from a state."""
        return self.before == state.index or self.term(state.index) == state.term

    def begun_anew(self, state: Saved) -> Account:
        """Return the account of the log after it was begun anew at a raft_snapshot."""
        known = self.hard_state
        fresh = known if known.term >= state.term else HardState(state.term, commit=known.commit)
        return Account(state.index, fresh)

    def term(self, index: int) -> int | None:
        """Return the term of the entry at `index`, or None if there is none."""
        place = index - self.before - 1
        return self.entries[place].term if 0 <= place < len(self.entries) else None


class MemberStorage:
    """One member's disk.

    Attributes:
        saved: the state machine as last saved.
        saving: a copy that is being written; a crash leaves it or the one before.
        synced: the account of what is durable.
        torn_tails: how many torn writes were cut off at restarts.
        restarted_logs: how many restarts began the log anew at a raft_snapshot.
    """

    def __init__(self, chance: random.Random, conf_state: ConfState, *, segment_bytes: int) -> None:
        self._chance = chance
        self._segment_bytes = segment_bytes
        self.saved = Saved(conf_state)
        self.saving: Saved | None = None
        self.torn_tails = 0
        self.restarted_logs = 0
        self._installed: Saved | None = None
        self._disk = SimulatedDisk(chance)
        self._wal = Wal.create(DIRECTORY, b"", files=self._disk, segment_bytes=segment_bytes)
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
                DIRECTORY,
                after,
                after_term=self.saved.term,
                is_snapshot=self.saved is self._installed,
                files=self._disk,
                segment_bytes=self._segment_bytes,
            )
        except Broken as error:
            raise Violation(f"durability: the WAL does not open: {error}") from error
        if found.restarted:
            self.restarted_logs += 1
            ended = [one for one in self._possible if not one.holds(self.saved)]
            self._possible = [one.begun_anew(self.saved) for one in ended]
        recovered = (found.hard_state, found.entries)
        matching = [one for one in self._possible if one.after(after) == recovered]
        require(bool(matching), "durability: the WAL does not hold what was synced")
        require(found.after_term == self.saved.term, "durability: another log than the state's")
        self.torn_tails += bool(found.torn_bytes)
        self.synced = matching[0]
        self._possible = [self.synced]
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
        self._possible = [self.synced]

    def install(self, state: Saved, ready: Ready) -> None:
        """Replace state machine and log, in an order that a crash at any point does no harm to
        (raft/DESIGN.md, duty 15): the database first, then the log begins anew after it, then
        what the Ready has to write.

        Raises:
            StorageFailed: as by `write`.
        """
        self.saved = self._installed = state
        self.saving = None
        before = self.synced
        begun = Account(state.index, ready.hard_state or before.hard_state)
        done = begun.with_writes([ready])
        self._possible = [before, begun, done]
        self._wal.restart_after(state.index, state.term, ready.hard_state)
        self._wal.append(ready.hard_state, ready.entries)
        self._wal.sync()
        self.synced = done
        self._possible = [done]

    def begin_save(self, state: Saved) -> None:
        """Begin to write a copy of the state machine; `end_save` when it is durable."""
        self.saving = state

    def end_save(self) -> None:
        """What is saved is no longer needed of the log."""
        if self.saving is not None:
            self.saved, self.saving = self.saving, None
            self._wal.release(self.saved.index)

    def fail_next_sync(self) -> None:
        self._disk.failures["sync_data"] = OSError(errno.EIO, "Input/output error")

    def mend(self) -> None:
        """Let nothing fail any more."""
        self._disk.failures.clear()

    def crash(self, writing: Sequence[Ready], incoming: Mapping[tuple[int, int], Saved]) -> None:
        """Lose the power, perhaps in the midst of a write.

        Args:
            incoming: the data of raft_snapshots among it.
        """
        self._possible = [self.synced]
        self.mend()
        if self.saving is not None and self._chance.random() < CHANCE_SAVED:
            self.saved = self.saving
        self.saving = None
        if writing and self._chance.random() < 0.8:
            self._disk.crash_at = self._disk.operations + self._chance.randint(1, 12)
            with suppress(SimulatedCrash):
                self.write_all(writing, incoming)
        self._disk.crash()

    def write_all(
        self, readies: Sequence[Ready], incoming: Mapping[tuple[int, int], Saved]
    ) -> None:
        """Write several Readies with one sync, but a raft_snapshot by itself."""
        for is_snapshot, group in groupby(readies, lambda ready: ready.snapshot is not None):
            if not is_snapshot:
                self.write(list(group))
                continue
            for ready in group:
                self.install(incoming[position_of(ready)], ready)

    def stop_broken(self) -> None:
        """Stop after a failed write, and lose the power before the restart."""
        self.saving = None
        self._disk.crash()

    def holds(self, index: int, term: int) -> bool:
        """Whether an entry is durable here."""
        return index <= self.saved.index or self.synced.term(index) == term


def position_of(ready: Ready) -> tuple[int, int]:
    """Return index and term of a Ready's raft_snapshot."""
    check(ready.snapshot is not None, "a Ready without a raft_snapshot")
    assert ready.snapshot is not None
    return ready.snapshot.index, ready.snapshot.term
