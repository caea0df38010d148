"""The WAL on a real file system: what goes in comes out, and old segments go."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tianlu_registry.errors import Corrupt, InvariantBroken, StorageFailed
from tianlu_registry.raft import Entry, EntryType, HardState, Index, MemberId, Term
from tianlu_registry.storage.wal import Wal

SEGMENT_BYTES = 16 * 1024


def entries(first: int, last: int, term: int = 1, size: int = 20) -> list[Entry]:
    return [
        Entry(Term(term), Index(index), f"{index}:{term}".encode().ljust(size, b"."))
        for index in range(first, last + 1)
    ]


def hard_state(term: int, commit: int) -> HardState:
    return HardState(Term(term), MemberId(1), Index(commit))


def reopen(directory: Path, after: int = 0) -> tuple[Wal, list[Entry]]:
    wal, recovered = Wal.open(directory, Index(after), segment_bytes=SEGMENT_BYTES)
    return wal, recovered.entries


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "member" / "wal"


@pytest.fixture
def wal(directory: Path):
    wal = Wal.create(directory, b"cluster 1 member 1", segment_bytes=SEGMENT_BYTES)
    yield wal
    wal.close()


def write(wal: Wal, batch: list[Entry], state: HardState | None = None) -> None:
    wal.append(state, batch)
    wal.sync()


def test_what_was_synced_comes_back(wal: Wal, directory: Path):
    write(wal, entries(1, 3), hard_state(1, 0))
    write(wal, [], hard_state(2, 3))
    wal.append(None, entries(4, 5, term=2))
    wal.append(hard_state(2, 4), entries(6, 6, term=2))
    wal.sync()
    wal.close()
    reopened, recovered = Wal.open(directory, Index(0), segment_bytes=SEGMENT_BYTES)
    reopened.close()
    assert recovered.metadata == b"cluster 1 member 1"
    assert recovered.hard_state == hard_state(2, 4)
    assert recovered.entries == entries(1, 3) + entries(4, 6, term=2)
    assert (recovered.after, recovered.after_term, recovered.torn_bytes) == (0, 0, 0)


def test_an_empty_log_comes_back_empty(wal: Wal, directory: Path):
    wal.close()
    reopened, recovered = Wal.open(directory, Index(0))
    reopened.close()
    assert recovered.entries == []
    assert recovered.hard_state == HardState()


def test_entries_of_every_type_term_and_size_come_back(wal: Wal, directory: Path):
    batch = [
        Entry(Term(1), Index(1), b""),
        Entry(Term(1), Index(2), b"c", EntryType.CONF_CHANGE),
        Entry(Term(1), Index(3), b"\0" * 5000),
        Entry(Term(3), Index(4), bytes(range(256))),
    ]
    write(wal, batch)
    wal.close()
    reopened, recovered = reopen(directory)
    reopened.close()
    assert recovered == batch


def test_what_was_not_synced_is_not_there(wal: Wal, directory: Path):
    write(wal, entries(1, 3))
    wal.append(None, entries(4, 5))
    wal.close()
    reopened, recovered = reopen(directory)
    reopened.close()
    assert recovered == entries(1, 3)


def test_entries_replace_all_at_their_index_and_after(wal: Wal, directory: Path):
    write(wal, entries(1, 9))
    write(wal, entries(4, 5, term=2))
    write(wal, entries(6, 6, term=2))
    wal.close()
    reopened, recovered = reopen(directory)
    reopened.close()
    assert recovered == entries(1, 3) + entries(4, 6, term=2)


@pytest.mark.parametrize("after", range(7))
def test_entries_up_to_after_are_left_out_and_its_term_is_told(
    wal: Wal, directory: Path, after: int
):
    write(wal, entries(1, 9))
    write(wal, entries(4, 6, term=2))
    wal.close()
    reopened, recovered = Wal.open(directory, Index(after))
    reopened.close()
    assert recovered.entries == (entries(1, 3) + entries(4, 6, term=2))[after:]
    assert recovered.after_term == [0, 1, 1, 1, 2, 2, 2][after]


def test_a_log_that_ends_before_the_applied_state_is_refused(wal: Wal, directory: Path):
    write(wal, entries(1, 9))
    write(wal, entries(4, 6, term=2))
    wal.close()
    with pytest.raises(Corrupt, match="ends at entry 6, but the state was applied up to 7"):
        Wal.open(directory, Index(7))


def test_segments_follow_one_another(wal: Wal, directory: Path):
    for first in range(1, 2000, 100):
        write(wal, entries(first, first + 99), hard_state(1, first))
    names = sorted(path.name for path in directory.iterdir())
    assert len(names) > 3
    assert names[0] == "0000000000000000-0000000000000001.wal"
    wal.close()
    reopened, recovered = reopen(directory)
    assert recovered == entries(1, 2000)
    write(reopened, entries(2001, 2100))
    reopened.close()
    reopened, recovered = reopen(directory)
    reopened.close()
    assert recovered == entries(1, 2100)


def test_a_write_larger_than_a_segment_fits(wal: Wal, directory: Path):
    large = entries(1, 3, size=3 * SEGMENT_BYTES)
    write(wal, large)
    write(wal, entries(4, 4))
    wal.close()
    reopened, recovered = reopen(directory)
    reopened.close()
    assert recovered == large + entries(4, 4)


def test_released_segments_go_and_the_rest_is_enough(wal: Wal, directory: Path):
    for first in range(1, 2000, 100):
        write(wal, entries(first, first + 99), hard_state(1, first))
    before = len(list(directory.iterdir()))
    released = wal.release(Index(1500))
    assert released > 0
    assert len(list(directory.iterdir())) == before - released
    assert wal.release(Index(1500)) == 0
    wal.close()
    for after in (1500, 1501, 2000):
        reopened, recovered = reopen(directory, after)
        reopened.close()
        assert recovered == entries(after + 1, 2000)
    reopened, recovered_log = Wal.open(directory, Index(1700), segment_bytes=SEGMENT_BYTES)
    reopened.close()
    assert recovered_log.hard_state == hard_state(1, 1901)
    assert recovered_log.metadata == b"cluster 1 member 1"
    with pytest.raises(Corrupt, match="the WAL begins at entry"):
        Wal.open(directory, Index(0))


def test_the_present_segment_is_never_released(wal: Wal, directory: Path):
    write(wal, entries(1, 10), hard_state(1, 10))
    assert wal.release(Index(10)) == 0
    write(wal, entries(11, 11))
    wal.close()
    reopened, recovered = reopen(directory, 10)
    reopened.close()
    assert recovered == entries(11, 11)


def test_the_hard_state_survives_the_release_of_the_segment_that_it_was_written_to(
    wal: Wal, directory: Path
):
    write(wal, entries(1, 1), hard_state(7, 1))
    for first in range(2, 2000, 100):
        write(wal, entries(first, first + 99, term=7))
    wal.release(Index(1900))
    wal.close()
    reopened, recovered = Wal.open(directory, Index(1950), segment_bytes=SEGMENT_BYTES)
    reopened.close()
    assert recovered.hard_state == hard_state(7, 1)


def test_it_may_be_reopened_many_times(directory: Path):
    Wal.create(directory, b"m", segment_bytes=SEGMENT_BYTES).close()
    for count in range(60):
        wal, recovered = reopen(directory)
        assert recovered == entries(1, count * 10)
        write(wal, entries(count * 10 + 1, count * 10 + 10))
        wal.close()


def test_creating_over_a_log_is_refused(wal: Wal, directory: Path):
    with pytest.raises(InvariantBroken, match="holds a WAL already"):
        Wal.create(directory, b"m")


def test_opening_nothing_is_refused(directory: Path):
    assert not Wal.exists(directory)
    with pytest.raises(Corrupt, match="no WAL segment"):
        Wal.open(directory, Index(0))


def test_a_creation_that_was_cut_short_may_be_repeated(directory: Path):
    directory.mkdir(parents=True)
    (directory / "0000000000000000-0000000000000001.wal.tmp").write_bytes(b"half")
    assert not Wal.exists(directory)
    Wal.create(directory, b"m").close()
    assert Wal.exists(directory)
    assert len(list(directory.iterdir())) == 1


def test_only_its_owner_may_read_it(wal: Wal, directory: Path):
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_segments_reserve_their_space(wal: Wal, directory: Path):
    write(wal, entries(1, 1))
    assert [path.stat().st_size for path in directory.iterdir()] == [SEGMENT_BYTES]


@pytest.mark.parametrize("batch", [entries(3, 4), [*entries(1, 1), *entries(3, 3)]])
def test_a_gap_is_refused(wal: Wal, batch: list[Entry]):
    with pytest.raises(InvariantBroken, match="with a gap"):
        wal.append(None, batch)


def test_a_closed_log_refuses_everything(wal: Wal):
    wal.close()
    wal.close()
    with pytest.raises(StorageFailed, match="closed"):
        wal.append(None, entries(1, 1))
    with pytest.raises(StorageFailed, match="closed"):
        wal.sync()
