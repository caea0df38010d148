"""The WAL's reader: damaged segments, and segments with right checksums and wrong contents."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fuzz.target import Target, damage

from tianlu_registry.errors import Corrupt
from tianlu_registry.raft import Entry, EntryType, HardState, Index, MemberId, Term
from tianlu_registry.simulation.disk import SimulatedDisk
from tianlu_registry.storage.wal import Wal
from tianlu_registry.storage.wal_format import (
    MAGIC,
    SegmentHeader,
    encode_frame,
    encode_segment_header,
    frame_seed,
)
from tianlu_registry.storage.wal_recovery import RecoveredLog
from tianlu_registry.storage.wal_segment import SegmentName

DIRECTORY = Path("/wal")
SEGMENT_BYTES = 8192


@dataclass
class Written:
    """What a log held after each of its syncs, the last one last."""

    base: int
    base_term: int
    states: list[tuple[HardState, list[Entry]]]

    def after(self, index: int) -> list[tuple[HardState, list[Entry]]]:
        return [(state, entries[index - self.base :]) for state, entries in self.states]


def damaged_log(chance: random.Random) -> str:
    """A log is written, then damaged. What is read must be what some sync wrote: nobody can tell
    that the last ones never were, where the disk has lost every trace of them."""
    disk = SimulatedDisk(chance)
    written = _write(disk, chance)
    name = chance.choice(disk.names(DIRECTORY))
    damage(disk.content(name), chance)
    last = written.base + len(written.states[-1][1])
    after = chance.choice([written.base, written.base, chance.randint(written.base, last)])
    try:
        log = _open(disk, after, written.base_term if after == written.base else None, chance)
    except Corrupt:
        return "refused"
    possible = written.after(after)
    found = (log.hard_state, log.entries)
    if log.restarted:
        raise AssertionError(f"{name}: a log that was damaged was begun anew")
    if found not in possible:
        raise AssertionError(f"{name}: what was read was never written")
    return "read" if found == possible[-1] else "cut"


def hostile_log(chance: random.Random) -> str:
    """Frames whose checksums are right, with any contents."""
    disk = SimulatedDisk(chance)
    nonce, crc, first_index = chance.randbytes(8), 0, 1
    for sequence in range(chance.randint(1, 3)):
        if chance.random() < 0.1:
            first_index = chance.choice([0, 5, 2**64 - 1])
        name = SegmentName(sequence, Index(first_index))
        header = encode_segment_header(SegmentHeader(sequence, name.first_index, nonce, b"m"))
        if chance.random() < 0.02:
            header = chance.randbytes(chance.randint(0, 40))
        payloads = [header, *_payloads(first_index, chance)]
        content, crc = _segment(sequence, nonce, crc, payloads, chance)
        file = disk.create(DIRECTORY / str(name))
        file.allocate(len(content) + chance.choice([0, 100, 4096]))
        file.write(0, content)
    after = chance.choice([0, 0, 0, 1, 4, 5, 1000, 2**64 - 1])
    try:
        log = _open(disk, after, chance.choice([None, 1, 7]), chance)
    except Corrupt:
        return "refused"
    indexes = [entry.index for entry in log.entries]
    if indexes != list(range(log.after + 1, log.after + 1 + len(indexes))):
        raise AssertionError(f"a log with gaps was read: {indexes[:20]} after {log.after}")
    return f"read {min(len(indexes), 1)}"


def _write(disk: SimulatedDisk, chance: random.Random) -> Written:
    base, term = chance.choice([(0, 0), (0, 0), (1, 1), (50, 1)])
    wal = Wal.create(
        DIRECTORY,
        chance.randbytes(chance.choice([0, 20, 700])),
        after=Index(base),
        after_term=Term(term),
        files=disk,
        segment_bytes=SEGMENT_BYTES,
    )
    state, entries = HardState(), list[Entry]()
    written = Written(base, term, [(state, [])])
    for _ in range(chance.randint(0, 30)):
        if chance.random() < 0.03:
            base, term, entries = base + len(entries) + 9, term + 1, []
            wal.restart_after(Index(base), Term(term), None)
            written = Written(base, term, [(state, [])])
        first = base + len(entries) + 1
        if entries and chance.random() < 0.1:
            first, term = chance.randint(base + 1, first - 1), term + 1
        size = chance.choice([0, 10, 100, 100, 3000])
        batch = [
            Entry(Term(term), Index(index), chance.randbytes(size))
            for index in range(first, first + chance.randint(1, 5))
        ]
        state = HardState(Term(term), MemberId(1), Index(base))
        wal.append(state, batch)
        wal.sync()
        entries = [*entries[: first - base - 1], *batch]
        written.states.append((state, entries))
    wal.close()
    return written


def _open(
    disk: SimulatedDisk, after: int, after_term: int | None, chance: random.Random
) -> RecoveredLog:
    wal, log = Wal.open(
        DIRECTORY,
        Index(after),
        after_term=None if after_term is None else Term(after_term),
        is_snapshot=chance.random() < 0.2,
        files=disk,
        segment_bytes=SEGMENT_BYTES,
    )
    if wal.synced_index > 2**63:
        wal.close()
        return log
    # A log that was read can be written to, and read again.
    entry = Entry(max(log.after_term, Term(1)), Index(wal.synced_index + 1), b"more")
    wal.append(None, [entry])
    wal.sync()
    wal.close()
    again = Wal.open(DIRECTORY, log.after, files=disk, segment_bytes=SEGMENT_BYTES)[1]
    if again.entries != [*log.entries, entry] or again.torn_bytes:
        raise AssertionError("a log that was opened and written to is not read back")
    return log


def _segment(
    sequence: int, nonce: bytes, crc: int, payloads: Sequence[bytes], chance: random.Random
) -> tuple[bytes, int]:
    content = MAGIC
    for place, payload in enumerate(payloads):
        seed = frame_seed(nonce if place else b"", sequence, len(content))
        frame, crc = encode_frame(payload, crc, seed)
        if chance.random() < 0.01:
            crc ^= 1
        content += frame
    return content, crc


def _payloads(first_index: int, chance: random.Random) -> list[bytes]:
    """Return payloads that mostly make sense together."""
    payloads, next_index = [], first_index
    for _ in range(chance.randint(0, 6)):
        records = []
        for _ in range(chance.randint(1, 4)):
            record, next_index = _record(next_index, chance)
            records.append(record)
        payloads.append(b"".join(records))
    return payloads


def _record(next_index: int, chance: random.Random) -> tuple[bytes, int]:
    """Return a record, and the index that may follow it."""
    wild = chance.choice([0, 1, 2, 3, next_index + 1, 2**32, 2**63, 2**64 - 1])
    wild = min(wild, 2**64 - 1)
    number = wild if chance.random() < 0.05 else min(next_index, 2**64 - 1)
    kind = chance.choices(["hard state", "entries", "base", "garbage"], [20, 70, 5, 1])[0]
    if kind == "hard state":
        return struct.pack("<BQQQ", 1, wild, number, wild), next_index
    if kind == "base":
        return struct.pack("<BQQ", 3, number, 1), number + 1
    if kind == "garbage":
        return chance.randbytes(chance.randint(1, 50)), next_index
    if chance.random() < 0.1:
        number = chance.randint(max(number - 4, 0), number)
    count = chance.choice([1, 2, 3]) if chance.random() < 0.95 else chance.choice(_COUNTS)
    data = [chance.randbytes(chance.randint(0, 9)) for _ in range(min(count, 3))]
    lengths = [2**32 - 1 if chance.random() < 0.02 else len(piece) for piece in data]
    entry_type = 77 if chance.random() < 0.02 else chance.choice([*EntryType])
    record = struct.pack("<BQQBI", 2, number, 1, entry_type, count)
    record += struct.pack(f"<{len(lengths)}I", *lengths) + b"".join(data)
    return record, number + count


_COUNTS = [0, 4, 1000, 2**31, 2**32 - 1]

TARGETS = (Target("wal", damaged_log), Target("wal-hostile", hostile_log))
