"""The WAL on a disk that fails and on machines that lose power."""

from __future__ import annotations

import errno
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry.storage.simulated_disk import SimulatedCrash, SimulatedDisk

from tianlu_registry.errors import StorageFailed
from tianlu_registry.raft import Entry, HardState, Index, MemberId, Term
from tianlu_registry.storage.wal import Wal

DIRECTORY = Path("/wal")
SEGMENT_BYTES = 4096


def entries(first: int, last: int, term: int = 1, size: int = 100) -> list[Entry]:
    return [
        Entry(Term(term), Index(i), random.Random(i * 1000 + term).randbytes(size))
        for i in range(first, last + 1)
    ]


def make(disk: SimulatedDisk) -> Wal:
    return Wal.create(DIRECTORY, b"m", files=disk, segment_bytes=SEGMENT_BYTES)


def reopen(disk: SimulatedDisk, after: int = 0) -> tuple[Wal, list[Entry], HardState]:
    wal, log = Wal.open(DIRECTORY, Index(after), files=disk, segment_bytes=SEGMENT_BYTES)
    return wal, log.entries, log.hard_state


# A failing disk


@pytest.mark.parametrize("operation", ["write", "sync_data"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_failed_write_or_sync_poisons_the_log_for_ever(operation: str, number: int):
    disk = SimulatedDisk(random.Random(1))
    wal = make(disk)
    wal.append(None, entries(1, 3))
    wal.sync()
    wal.append(None, entries(4, 6))
    disk.failures[operation] = OSError(number, "the disk's own words")
    with pytest.raises(StorageFailed, match="the disk's own words"):
        wal.sync()
    for call in (
        wal.sync,
        wal.sync,
        lambda: wal.append(None, entries(7, 7)),
        lambda: wal.release(Index(3)),
    ):
        with pytest.raises(StorageFailed, match=r"failed before.*the disk's own words"):
            call()
    wal.close()
    _, recovered, _ = reopen(disk)
    assert recovered in (entries(1, 3), entries(1, 6))


@pytest.mark.parametrize(
    "operation", ["create", "allocate", "write", "sync_data", "rename", "sync_directory"]
)
def test_a_segment_that_cannot_be_begun_poisons_the_log(operation: str):
    disk = SimulatedDisk(random.Random(1))
    wal = make(disk)
    wal.append(None, entries(1, 3))
    wal.sync()
    disk.failures[operation] = OSError(errno.ENOSPC, "No space left on device")
    wal.append(None, entries(4, 4, size=SEGMENT_BYTES))  # needs a segment of its own
    with pytest.raises(StorageFailed, match="No space left on device"):
        wal.sync()
    with pytest.raises(StorageFailed):
        wal.sync()
    _, recovered, _ = reopen(disk)
    assert recovered == entries(1, 3)


def test_a_full_disk_stops_the_log_and_loses_nothing():
    disk = SimulatedDisk(random.Random(1), capacity_bytes=3 * SEGMENT_BYTES)
    wal = make(disk)
    with pytest.raises(StorageFailed, match="No space left on device"):
        write_one_by_one(wal)
    assert wal.synced_index > 50
    _, recovered, _ = reopen(disk)
    assert recovered == entries(1, wal.synced_index)


def write_one_by_one(wal: Wal) -> None:
    for index in range(1, 1000):
        wal.append(None, entries(index, index))
        wal.sync()


def test_releasing_makes_room_for_more():
    disk = SimulatedDisk(random.Random(1), capacity_bytes=3 * SEGMENT_BYTES)
    wal = make(disk)
    for first in range(1, 1000):
        wal.append(None, entries(first, first))
        wal.sync()
        wal.release(Index(first))
    _, recovered, _ = reopen(disk, after=990)
    assert recovered == entries(991, 999)


def test_a_release_that_fails_poisons_the_log():
    disk = SimulatedDisk(random.Random(1))
    wal = make(disk)
    for first in range(1, 100):
        wal.append(None, entries(first, first))
        wal.sync()
    disk.failures["remove"] = OSError(errno.EROFS, "Read-only file system")
    with pytest.raises(StorageFailed, match="Read-only"):
        wal.release(Index(99))
    with pytest.raises(StorageFailed):
        wal.sync()


def test_a_log_that_cannot_be_opened_says_why():
    disk = SimulatedDisk(random.Random(1))
    make(disk).close()
    disk.open = lambda path: (_ for _ in ()).throw(PermissionError(errno.EACCES, "Denied"))
    with pytest.raises(StorageFailed, match="Denied"):
        reopen(disk)


# Losing power


@dataclass
class Model:
    """What a log must hold: after each sync, and after the one that was under way."""

    synced: list[Entry] = field(default_factory=list)
    synced_state: HardState = field(default_factory=HardState)
    pending: list[Entry] = field(default_factory=list)
    pending_state: HardState = field(default_factory=HardState)
    released: int = 0

    def append(self, state: HardState | None, batch: list[Entry]) -> None:
        if batch:
            self.pending = self.pending[: batch[0].index - 1] + batch
        self.pending_state = state or self.pending_state

    def sync(self) -> None:
        self.synced, self.synced_state = self.pending, self.pending_state

    def accepts(self, found: list[Entry], state: HardState) -> bool:
        if (found, state) not in (
            (self.synced[self.released :], self.synced_state),
            (self.pending[self.released :], self.pending_state),
        ):
            return False
        self.synced = self.pending = self.synced[: self.released] + found
        self.synced_state = self.pending_state = state
        return True


def work(wal: Wal, model: Model, chance: random.Random) -> None:
    """Append, sync and release at random, for ever; only a crash ends it."""
    while True:
        for _ in range(chance.randint(1, 3)):
            last = len(model.pending)
            term = model.pending_state.term
            first = last + 1
            if last > model.released and chance.random() < 0.2:  # a new leader's conflicting end
                first = chance.randint(model.released + 1, last)
                term = Term(term + 1)
            size = chance.choice([0, 1, 30, 300, 3000])
            batch = entries(first, first + chance.randint(0, 4), max(term, 1), size)
            state = HardState(Term(max(term, 1)), MemberId(1), Index(model.released))
            wal.append(state, batch)
            model.append(state, batch)
        wal.sync()
        model.sync()
        if chance.random() < 0.3:
            released = chance.randint(model.released, len(model.synced))
            model.released = max(model.released, released)
            wal.release(Index(model.released))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32), st.lists(st.integers(1, 120), min_size=1, max_size=6))
def test_what_was_synced_survives_any_series_of_crashes(seed: int, crash_points: list[int]):
    chance = random.Random(seed)
    disk = SimulatedDisk(chance)
    wal = make(disk)
    model = Model()
    for crash_point in crash_points:
        disk.crash_at = disk.operations + crash_point
        try:
            work(wal, model, chance)
        except SimulatedCrash:
            disk.crash()
        wal, found, state = reopen(disk, after=model.released)
        assert model.accepts(found, state)


@pytest.mark.parametrize("crash_at", range(1, 7))
def test_a_creation_interrupted_anywhere_may_be_repeated(crash_at: int):
    for seed in range(10):
        disk = SimulatedDisk(random.Random(seed))
        disk.crash_at = crash_at
        try:
            make(disk)
        except SimulatedCrash:
            disk.crash()
        wal = Wal.open(DIRECTORY, Index(0), files=disk)[0] if exists(disk) else make(disk)
        wal.append(None, entries(1, 1))
        wal.sync()
        assert reopen(disk)[1] == entries(1, 1)


def exists(disk: SimulatedDisk) -> bool:
    return Wal.exists(DIRECTORY, files=disk)


def test_a_repair_interrupted_anywhere_may_be_repeated():
    for crash_at in range(1, 6):
        for seed in range(20):
            disk = SimulatedDisk(random.Random(seed))
            wal = make(disk)
            wal.append(None, entries(1, 3))
            wal.sync()
            wal.append(None, entries(4, 6, size=1000))
            disk.crash_at = disk.operations + 2  # written, not synced
            with pytest.raises(SimulatedCrash):
                wal.sync()
            disk.crash()
            disk.crash_at = disk.operations + crash_at
            try:
                reopen(disk)
            except SimulatedCrash:
                disk.crash()
            _, recovered, _ = reopen(disk)
            assert recovered in (entries(1, 3), entries(1, 3) + entries(4, 6, size=1000))
