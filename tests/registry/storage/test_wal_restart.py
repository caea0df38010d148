"""A log that begins after a raft_snapshot: made so, restarted there, and what crashes leave."""

from __future__ import annotations

import contextlib
import errno
import random
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry.storage.simulated_disk import SimulatedCrash, SimulatedDisk
from registry.storage.test_wal_faults import DIRECTORY, SEGMENT_BYTES, entries

from tianlu_registry.errors import Corrupt, InvariantBroken, StorageFailed
from tianlu_registry.raft import Entry, HardState, Index, MemberId, Term
from tianlu_registry.storage.wal import Wal
from tianlu_registry.storage.wal_recovery import RecoveredLog

STATE = HardState(Term(3), MemberId(2), Index(40))


def disk_of(seed: int = 1, **options: int) -> SimulatedDisk:
    return SimulatedDisk(random.Random(seed), **options)


def make(
    disk: SimulatedDisk, after: int = 0, after_term: int = 0, hard_state: HardState | None = None
) -> Wal:
    return Wal.create(
        DIRECTORY,
        b"m",
        after=Index(after),
        after_term=Term(after_term),
        hard_state=hard_state,
        files=disk,
        segment_bytes=SEGMENT_BYTES,
    )


def reopen(
    disk: SimulatedDisk, after: int, term: int | None = None, *, is_snapshot: bool = False
) -> tuple[Wal, RecoveredLog]:
    return Wal.open(
        DIRECTORY,
        Index(after),
        after_term=None if term is None else Term(term),
        is_snapshot=is_snapshot,
        files=disk,
        segment_bytes=SEGMENT_BYTES,
    )


def write(wal: Wal, first: int, last: int, term: int = 1, state: HardState | None = None) -> None:
    for index in range(first, last + 1):
        wal.append(state if index == last else None, entries(index, index, term))
        wal.sync()


def segments(disk: SimulatedDisk) -> list[str]:
    return disk.names(DIRECTORY)


# Beginning after a position


def test_a_log_may_be_made_to_begin_after_a_position() -> None:
    disk = disk_of()
    wal = make(disk, after=500, after_term=3, hard_state=STATE)
    assert wal.synced_index == 500
    write(wal, 501, 560, term=3)
    _, log = reopen(disk, 500, 3)
    assert (log.after, log.after_term, log.hard_state) == (500, 3, STATE)
    assert log.entries == entries(501, 560, term=3)
    assert not log.restarted
    _, log = reopen(disk, 530, 3)
    assert log.entries == entries(531, 560, term=3)


def test_a_log_without_entries_after_its_base_reopens() -> None:
    disk = disk_of()
    make(disk, after=1, after_term=1).close()
    wal, log = reopen(disk, 1, 1)
    assert (log.after_term, log.entries) == (1, [])
    write(wal, 2, 3)
    assert reopen(disk, 1, 1)[1].entries == entries(2, 3)


def test_restart_forgets_what_was_before_and_goes_on() -> None:
    disk = disk_of()
    wal = make(disk)
    write(wal, 1, 100, state=STATE)
    assert len(segments(disk)) > 2
    wal.restart_after(Index(500), Term(3), None)
    assert len(segments(disk)) == 1
    assert wal.synced_index == 500
    _, log = reopen(disk, 500, 3)
    assert (log.hard_state, log.entries) == (STATE, [])
    write(wal, 501, 600, term=3)
    newer = HardState(Term(4), MemberId(1), Index(600))
    wal.append(newer, [])
    wal.sync()
    _, log = reopen(disk, 500, 3)
    assert (log.hard_state, log.entries) == (newer, entries(501, 600, term=3))
    assert log.metadata == b"m"


def test_a_log_may_be_restarted_again_and_released() -> None:
    disk = disk_of()
    wal = make(disk)
    for base in (10, 200, 300):
        wal.restart_after(Index(base), Term(base), None)
        write(wal, base + 1, base + 60, term=base)
        assert reopen(disk, base, base)[1].entries == entries(base + 1, base + 60, term=base)
    assert wal.release(Index(300)) == 0
    assert wal.release(Index(355)) > 0
    assert reopen(disk, 355, 300)[1].entries == entries(356, 360, term=300)


def test_a_given_hard_state_replaces_the_newest() -> None:
    disk = disk_of()
    wal = make(disk)
    write(wal, 1, 3, state=STATE)
    newer = HardState(Term(9), MemberId(0), Index(50))
    wal.restart_after(Index(50), Term(8), newer)
    assert reopen(disk, 50, 8)[1].hard_state == newer


def test_a_restart_is_refused_while_something_waits_for_a_sync() -> None:
    wal = make(disk_of())
    wal.append(None, entries(1, 1))
    with pytest.raises(InvariantBroken, match="synced"):
        wal.restart_after(Index(5), Term(1), None)


def test_a_restart_at_the_very_beginning_is_refused() -> None:
    with pytest.raises(InvariantBroken):
        make(disk_of()).restart_after(Index(0), Term(0), None)


@pytest.mark.parametrize(
    "operation", ["create", "allocate", "write", "sync_data", "rename", "sync_directory", "remove"]
)
def test_a_restart_that_fails_poisons_the_log(operation: str) -> None:
    disk = disk_of()
    wal = make(disk)
    write(wal, 1, 3)
    disk.failures[operation] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StorageFailed, match="No space left"):
        wal.restart_after(Index(500), Term(3), None)
    for call in (
        lambda: wal.restart_after(Index(500), Term(3), None),
        lambda: wal.append(None, entries(4, 4)),
        wal.sync,
    ):
        with pytest.raises(StorageFailed, match="failed before"):
            call()
    _, log = reopen(disk, 500, 3, is_snapshot=True)
    assert (log.after, log.after_term, log.entries) == (500, 3, [])


# A state that the log does not hold


def test_a_log_that_ends_before_a_snapshot_is_begun_anew_there() -> None:
    disk = disk_of()
    wal = make(disk)
    write(wal, 1, 40, state=STATE)
    _, log = reopen(disk, 500, 7, is_snapshot=True)
    assert log.restarted
    assert (log.after, log.after_term, log.entries) == (500, 7, [])
    assert log.metadata == b"m"
    # It has voted in no term that it was not in.
    assert log.hard_state == HardState(Term(7), MemberId(0), STATE.commit)
    wal, log = reopen(disk, 500, 7, is_snapshot=True)
    assert not log.restarted
    assert log.hard_state.term == 7
    write(wal, 501, 503, term=7)
    assert reopen(disk, 500, 7)[1].entries == entries(501, 503, term=7)


def test_a_vote_of_the_snapshots_term_is_kept() -> None:
    disk = disk_of()
    write(make(disk), 1, 4, state=replace(STATE, term=Term(7)))
    assert reopen(disk, 500, 7, is_snapshot=True)[1].hard_state == replace(STATE, term=Term(7))


def test_a_log_with_another_entry_at_the_snapshot_is_begun_anew_there() -> None:
    disk = disk_of()
    write(make(disk), 1, 100)
    _, log = reopen(disk, 50, 3, is_snapshot=True)
    assert (log.restarted, log.entries) == (True, [])
    assert reopen(disk, 50, 3)[1].entries == []


def test_a_log_that_holds_the_snapshot_is_left_alone() -> None:
    disk = disk_of()
    write(make(disk), 1, 100)
    _, log = reopen(disk, 50, 1, is_snapshot=True)
    assert (log.restarted, log.entries) == (False, entries(51, 100))


@pytest.mark.parametrize("after", [50, 500])
def test_without_a_snapshot_a_log_that_lacks_the_state_is_refused(after: int) -> None:
    disk = disk_of()
    write(make(disk), 1, 100)
    before = segments(disk)
    with pytest.raises(Corrupt, match="do not belong together"):
        reopen(disk, after, 3)
    assert segments(disk) == before


def test_a_log_that_begins_after_the_state_is_refused_snapshot_or_not() -> None:
    disk = disk_of()
    write(make(disk, after=500, after_term=3), 501, 510, term=3)
    for is_snapshot in (False, True):
        with pytest.raises(Corrupt, match="begins at entry 500"):
            reopen(disk, 120, 1, is_snapshot=is_snapshot)


def test_a_restarted_log_whose_older_segments_are_left_is_refused_to_older_state() -> None:
    disk = disk_of()
    wal = make(disk)
    write(wal, 1, 100)
    disk.failures["remove"] = OSError(errno.EIO, "Input/output error")
    with pytest.raises(StorageFailed):
        wal.restart_after(Index(500), Term(3), None)
    with pytest.raises(Corrupt, match="begins after entry 500"):
        reopen(disk, 20, 1)
    wal, log = reopen(disk, 500, 3)
    assert log.entries == []
    assert not log.restarted
    assert len(segments(disk)) == 1
    write(wal, 501, 600, term=3)
    assert Wal.first_index(DIRECTORY, files=disk) == 500
    assert reopen(disk, 500, 3)[1].entries == entries(501, 600, term=3)


# Losing power


@pytest.mark.parametrize("length", [3, 100])
@pytest.mark.parametrize("base", [2, 50, 500])
def test_a_restart_interrupted_anywhere_leaves_the_old_log_or_the_new(
    length: int, base: int
) -> None:
    outcomes = set()
    for crash_at in range(1, 16):
        for seed in range(8):
            disk = disk_of(seed)
            wal = make(disk)
            write(wal, 1, length, state=STATE)
            disk.crash_at = disk.operations + crash_at
            with contextlib.suppress(SimulatedCrash):
                wal.restart_after(Index(base), Term(3), None)
            disk.crash()
            _, log = reopen(disk, base, 3, is_snapshot=True)
            outcomes.add(log.restarted)
            assert (log.after, log.after_term, log.entries) == (base, 3, [])
            assert log.hard_state == STATE
            assert not reopen(disk, base, 3)[1].restarted
    assert outcomes == {True, False}


@pytest.mark.parametrize("crash_at", range(1, 7))
def test_a_creation_after_a_position_interrupted_anywhere_may_be_repeated(crash_at: int) -> None:
    for seed in range(10):
        disk = disk_of(seed)
        disk.crash_at = crash_at
        try:
            make(disk, 500, 3, STATE)
        except SimulatedCrash:
            disk.crash()
        if not Wal.exists(DIRECTORY, files=disk):
            make(disk, 500, 3, STATE)
        _, log = reopen(disk, 500, 3)
        assert (log.hard_state, log.entries) == (STATE, [])


@dataclass
class Model:
    """A base, the entries after it, and a hard state."""

    base: int = 0
    base_term: int = 0
    entries: list[Entry] = field(default_factory=list)
    hard_state: HardState = field(default_factory=HardState)

    @property
    def last_index(self) -> int:
        return self.base + len(self.entries)

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else self.base_term

    def with_batch(self, state: HardState, batch: list[Entry]) -> Model:
        kept = self.entries[: batch[0].index - self.base - 1]
        return Model(self.base, self.base_term, kept + batch, state)

    def restarted(self, index: int, term: int, state: HardState) -> Model:
        return Model(index, term, [], state)


class Member:
    """A log and what stands beside it: the position of the state machine, which is durable first.

    Attributes:
        possible: what the disk may hold.
        snapshot: where the state machine stands.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.disk = SimulatedDisk(chance)
        self.wal = make(self.disk)
        self.model = Model()
        self.possible = [self.model]
        self.snapshot = (0, 0)

    def work(self) -> None:
        """Write and restart at random, for ever; only a crash ends it."""
        while True:
            if self.chance.random() < 0.25:
                self.restart()
            else:
                self.write()

    def write(self) -> None:
        model, chance = self.model, self.chance
        first, term = model.last_index + 1, max(model.last_term, 1)
        if model.entries and chance.random() < 0.2:
            first, term = chance.randint(model.base + 1, model.last_index), term + 1
        size = chance.choice([0, 30, 300, 3000])
        batch = entries(first, first + chance.randint(0, 4), term, size)
        state = HardState(Term(term), MemberId(1), Index(model.base))
        wanted = model.with_batch(state, batch)
        self.possible = [model, wanted]
        self.wal.append(state, batch)
        self.wal.sync()
        self.model, self.possible = wanted, [wanted]

    def restart(self) -> None:
        model, chance = self.model, self.chance
        index, term = model.base + chance.randint(1, 60), model.last_term + 1
        self.snapshot = (index, term)  # durable before the log is touched
        state = HardState(Term(term), MemberId(0), Index(index))
        given = state if chance.random() < 0.7 else None
        kept = given or model.hard_state
        wanted = model.restarted(index, term, kept)
        # Interrupted, the log is restarted at the next start, with a hard state of its own.
        lifted = kept if kept.term >= term else HardState(Term(term), commit=kept.commit)
        old = model.hard_state
        lifted_old = old if old.term >= term else HardState(Term(term), commit=old.commit)
        self.possible = [wanted, replace(wanted, hard_state=lifted)]
        self.possible.append(replace(wanted, hard_state=lifted_old))
        self.wal.restart_after(Index(index), Term(term), given)
        self.model, self.possible = wanted, [wanted]

    def recover(self) -> None:
        self.disk.crash()
        index, term = self.snapshot
        self.wal, log = reopen(self.disk, index, term, is_snapshot=True)
        found = Model(log.after, log.after_term, log.entries, log.hard_state)
        assert found in self.possible
        self.model, self.possible = found, [found]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), st.lists(st.integers(1, 80), min_size=1, max_size=6))
def test_base_and_entries_survive_any_series_of_crashes(seed: int, crash_points: list[int]) -> None:
    member = Member(random.Random(seed))
    for crash_point in crash_points:
        member.disk.crash_at = member.disk.operations + crash_point
        with pytest.raises(SimulatedCrash):
            member.work()
        member.recover()
