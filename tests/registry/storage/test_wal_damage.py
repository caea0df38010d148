"""What the WAL makes of bytes that are not as it wrote them: torn tails are cut, damage refused."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest
from registry.storage.simulated_disk import SimulatedDisk

from tianlu_registry.errors import Corrupt
from tianlu_registry.raft import Entry, HardState, Index, MemberId, Term
from tianlu_registry.storage.wal import Wal
from tianlu_registry.storage.wal_format import MAGIC, encode_entries
from tianlu_registry.storage.wal_recovery import RecoveredLog

DIRECTORY = Path("/wal")
SEGMENT_BYTES = 8 * 1024
FIRST_SEGMENT = "0000000000000000-0000000000000001.wal"


def entries(first: int, last: int, size: int = 20) -> list[Entry]:
    return [
        Entry(Term(1), Index(i), random.Random(i).randbytes(size)) for i in range(first, last + 1)
    ]


class Log:
    """A WAL on a simulated disk, and where each of its syncs ended."""

    def __init__(self) -> None:
        self.disk = SimulatedDisk(random.Random(1))
        self.wal = Wal.create(DIRECTORY, b"m", files=self.disk, segment_bytes=SEGMENT_BYTES)
        self.ends = [self.end()]

    def write(self, batch: list[Entry], state: HardState | None = None) -> None:
        self.wal.append(state, batch)
        self.wal.sync()
        self.ends.append(self.end())

    def end(self) -> int:
        return len(self.content().rstrip(b"\0"))

    def content(self, name: str = FIRST_SEGMENT) -> bytearray:
        return self.disk.content(name)

    def reopen(self, after: int = 0) -> RecoveredLog:
        wal, recovered = Wal.open(
            DIRECTORY, Index(after), files=self.disk, segment_bytes=SEGMENT_BYTES
        )
        self.wal = wal
        return recovered


@pytest.fixture
def log() -> Log:
    log = Log()
    log.write(entries(1, 5), HardState(Term(1), MemberId(1), Index(0)))
    log.write(entries(6, 8), HardState(Term(1), MemberId(1), Index(5)))
    log.write(entries(9, 10, size=700))
    return log


def last_frame(log: Log) -> range:
    return range(log.ends[-2], log.ends[-1])


def test_a_tail_cut_at_any_byte_is_repaired(log: Log, caplog: pytest.LogCaptureFixture):
    written = bytes(log.content())
    for cut in last_frame(log):
        content = log.content()
        content[:] = written
        content[cut:] = bytes(len(written) - cut)  # what was never written reads as zeros
        recovered = log.reopen()
        assert recovered.entries == entries(1, 8)
        assert recovered.hard_state == HardState(Term(1), MemberId(1), Index(5))
        left = len(written[:cut].rstrip(b"\0")) - log.ends[-2]
        assert recovered.torn_bytes == max(left, 0)
        assert log.reopen().torn_bytes == 0  # repaired once
        assert len(log.content()) == SEGMENT_BYTES
    assert "wal_torn_tail_cut" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_file_that_ends_at_any_byte_of_the_tail_is_repaired(log: Log):
    written = bytes(log.content())
    for cut in last_frame(log):
        log.content()[:] = written[:cut]
        assert log.reopen().entries == entries(1, 8)


def test_writing_goes_on_after_a_repair(log: Log):
    log.content()[log.ends[-1] - 100 :] = bytes(SEGMENT_BYTES - log.ends[-1] + 100)
    log.reopen()
    log.write(entries(9, 30))
    assert log.reopen().entries == entries(1, 8) + entries(9, 30)


def test_a_tail_that_lost_any_one_sector_is_repaired(log: Log):
    log.write(entries(11, 12, size=2000))
    written = bytes(log.content())
    assert log.ends[-1] - log.ends[-2] > 4000
    for start in range(log.ends[-2] // 512 * 512, log.ends[-1], 512):
        content = log.content()
        content[:] = written
        lost = max(start, log.ends[-2])  # what an earlier sync wrote is not lost
        content[lost : start + 512] = bytes(start + 512 - lost)
        recovered = log.reopen()
        assert recovered.entries == entries(1, 8) + entries(9, 10, size=700)
        assert recovered.torn_bytes > 0


def test_a_flipped_bit_anywhere_before_the_last_frame_is_refused(log: Log):
    content = log.content()
    for offset in range(log.ends[-2]):
        content[offset] ^= 1 << offset % 8
        with pytest.raises(Corrupt) as caught:
            log.reopen()
        assert str(DIRECTORY / FIRST_SEGMENT) in str(caught.value)
        content[offset] ^= 1 << offset % 8
    assert log.reopen().entries == entries(1, 8) + entries(9, 10, size=700)


def test_a_flipped_bit_in_the_last_frame_is_refused_and_not_taken_for_a_torn_tail(log: Log):
    content = log.content()
    for offset in last_frame(log):
        content[offset] ^= 1 << offset % 8
        with pytest.raises(Corrupt):
            log.reopen()
        content[offset] ^= 1 << offset % 8
    assert log.reopen().entries == entries(1, 8) + entries(9, 10, size=700)


def test_a_lost_sector_before_the_last_frame_is_refused_though_it_looks_torn(log: Log):
    log.write(entries(11, 11))
    start = (log.ends[-3] // 512 + 1) * 512  # within the frame of entries 9 and 10
    assert start + 512 < log.ends[-2]
    log.content()[start : start + 512] = bytes(512)
    with pytest.raises(Corrupt, match=f"but the one at {log.ends[-2]} is"):
        log.reopen()


def test_a_frame_that_comes_back_from_before_a_repair_is_refused(log: Log):
    log.write(entries(11, 12))
    stale = bytes(log.content()[log.ends[-2] : log.ends[-1]])
    start = log.ends[-3]
    log.content()[start:] = bytes(SEGMENT_BYTES - start)
    log.reopen()
    log.write([Entry(Term(2), Index(i), bytes(700)) for i in (9, 10)])
    assert log.end() == log.ends[-3]
    log.content()[log.end() : log.end() + len(stale)] = stale
    with pytest.raises(Corrupt, match="does not follow the one before it"):
        log.reopen()


def test_a_log_with_a_gap_is_refused(log: Log):
    # Nothing writes one; were a bug to, it must not be read as if nothing were missing.
    log.wal._records.append(encode_entries(entries(12, 13)))
    log.wal.sync()
    with pytest.raises(Corrupt, match="entry 12 follows entry 10"):
        log.reopen()


def test_refusing_names_the_offset_and_changes_nothing(log: Log):
    content = log.content()
    content[log.ends[1] + 30] ^= 4
    damaged = bytes(content)
    with pytest.raises(Corrupt, match=f"{FIRST_SEGMENT}: damaged at byte {log.ends[1]}: "):
        log.reopen()
    assert bytes(log.content()) == damaged


def test_a_frame_moved_elsewhere_is_not_valid(log: Log):
    content = log.content()
    frame = bytes(content[log.ends[1] : log.ends[2]])
    content[log.ends[-1] : log.ends[-1] + len(frame)] = frame
    with pytest.raises(Corrupt):
        log.reopen()


def test_a_stored_value_that_looks_like_a_frame_does_not_prevent_a_repair(log: Log):
    copy = bytes(log.content()[log.ends[0] : log.ends[1]])
    # One of these puts the copied frame where a frame may begin.
    log.write([Entry(Term(1), Index(11 + shift), bytes(shift) + copy) for shift in range(8)])
    log.content()[log.ends[-1] - 1] = 0
    recovered = log.reopen()
    assert recovered.torn_bytes > 0
    assert recovered.entries == entries(1, 8) + entries(9, 10, size=700)


def many_segments() -> Log:
    log = Log()
    for first in range(1, 1000, 50):
        log.write(entries(first, first + 49), HardState(Term(1), MemberId(1), Index(first)))
    return log


def segment_names(log: Log) -> list[str]:
    return log.disk.names(DIRECTORY)


def test_damage_in_an_earlier_segment_is_refused():
    log = many_segments()
    for name in segment_names(log)[:-1]:
        content = log.content(name)
        end = len(content.rstrip(b"\0"))
        last = content[end - 50]
        content[end - 50] ^= 1
        with pytest.raises(Corrupt, match=name):
            log.reopen()
        content[end - 50] = last
    assert len(log.reopen().entries) == 1000


def test_a_torn_frame_in_an_earlier_segment_is_refused():
    log = many_segments()
    name = segment_names(log)[1]
    content = log.content(name)
    content[len(content.rstrip(b"\0")) - 100 :] = b""
    with pytest.raises(Corrupt, match=f"{name}.*a later segment follows"):
        log.reopen()


def test_a_frame_lost_from_an_earlier_segment_is_refused():
    log = many_segments()
    first, second = segment_names(log)[:2]
    content = log.content(first)
    end = next(end for end in reversed(log.ends) if end < len(content.rstrip(b"\0")))
    content[end:] = bytes(len(content) - end)
    with pytest.raises(Corrupt, match=f"{second}.*does not follow the segment before it"):
        log.reopen()


def test_a_missing_segment_is_refused():
    log = many_segments()
    log.disk.remove(DIRECTORY / segment_names(log)[1])
    with pytest.raises(Corrupt, match="no segment between"):
        log.reopen()


def test_a_segment_of_another_log_is_refused():
    log, other = many_segments(), many_segments()
    name = segment_names(log)[2]
    log.content(name)[:] = other.content(name)
    with pytest.raises(Corrupt):
        log.reopen()


def test_a_renamed_segment_is_refused(log: Log):
    log.disk.rename(DIRECTORY / FIRST_SEGMENT, DIRECTORY / "0000000000000000-0000000000000000.wal")
    with pytest.raises(Corrupt, match="header and its name disagree"):
        log.reopen()


def test_a_later_format_is_refused_by_its_name(log: Log):
    log.content()[len(MAGIC) - 1] = 9
    with pytest.raises(Corrupt, match="written in format 9; this release reads format 1"):
        log.reopen()


def test_a_file_that_is_no_segment_is_refused(log: Log):
    log.content()[: len(MAGIC)] = b"notawal!"
    with pytest.raises(Corrupt, match="not a WAL segment"):
        log.reopen()
