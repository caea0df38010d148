"""Reading the log back at a start: from segments to what the node begins with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tianlu_registry.errors import Corrupt, check
from tianlu_registry.raft import NO_INDEX, NO_TERM, Entry, HardState, Index, Term
from tianlu_registry.storage.wal_files import FileSystem, WalFile
from tianlu_registry.storage.wal_format import (
    Base,
    EntryRun,
    FormatError,
    Record,
    SegmentHeader,
    decode_records,
)
from tianlu_registry.storage.wal_segment import (
    Position,
    SegmentName,
    SegmentReader,
    list_segments,
)


@dataclass(frozen=True, slots=True)
class RecoveredLog:
    """What a log held.

    Attributes:
        metadata: as given to Wal.create.
        hard_state: the newest one.
        after, after_term: the entry before `entries`; 0 and 0 for none.
        entries: all after `after`, without gaps. Nothing that was overwritten is among them.
        torn_bytes: what a crash had left of a write that was never acknowledged, and that has been
            cut off. 0 after a clean stop.
        restarted: the log did not hold the raft_snapshot that the state stands at, and has been
            begun anew there.
    """

    metadata: bytes
    hard_state: HardState
    after: Index
    after_term: Term
    entries: list[Entry]
    torn_bytes: int
    restarted: bool = False


@dataclass(slots=True)
class Tail:
    """Where writing goes on. Whoever holds it owns `file`.

    Attributes:
        begins_in: number of the segment that the log begins in: those before it do not count, and
            are only there because a crash came before their removal.
    """

    file: WalFile
    header: SegmentHeader
    position: Position
    last_index: Index
    segments: list[SegmentName]
    begins_in: int = 0


@dataclass(slots=True)
class _Replay:
    """Folds records, in the order of their writing, into the log that they make.

    Attributes:
        after_term: of the entry `after`; None while the log does not hold it.
        base_index: the entry that the log begins after.
        sequence: number of the segment that is being read.
        begins_in: see Tail.
    """

    after: Index
    last_index: Index
    hard_state: HardState = field(default_factory=HardState)
    after_term: Term | None = None
    entries: list[Entry] = field(default_factory=list)
    base_index: Index = NO_INDEX
    sequence: int = 0
    begins_in: int = 0

    def add(self, record: Record) -> None:
        """Take a record.

        Raises:
            FormatError: it leaves a gap in the log.
        """
        if isinstance(record, HardState):
            self.hard_state = record
        elif isinstance(record, Base):
            self._begin_after(record)
        else:
            self._extend(record)

    def _begin_after(self, base: Base) -> None:
        self.base_index = self.last_index = base.index
        self.begins_in = self.sequence
        self.entries.clear()
        self.after_term = base.term if base.index == self.after else None

    def _extend(self, record: EntryRun) -> None:
        if record.first_index <= self.base_index:
            raise FormatError(f"entry {record.first_index} in a log that begins later")
        if record.first_index > self.last_index + 1:
            raise FormatError(f"entry {record.first_index} follows entry {self.last_index}")
        # An entry replaces everything at its index and after.
        del self.entries[max(record.first_index - self.after - 1, 0) :]
        self.entries += record.entries
        self.last_index = record.last_index
        if record.first_index <= self.after:
            self.after_term = record.term if record.last_index >= self.after else None


def recover(
    files: FileSystem,
    directory: Path,
    after: Index,
    after_term: Term | None = None,
    *,
    is_snapshot: bool = False,
) -> tuple[RecoveredLog, Tail]:
    """Read the log from the segment that holds entry `after` on. Changes nothing on disk.

    Memory: one segment's frame at a time, and the entries that are returned.

    Args:
        after, after_term, is_snapshot: see Wal.open. If the log must be begun anew, `restarted` is
            set and there are no entries; doing it is the caller's.

    Raises:
        Corrupt: it is damaged, or it does not hold `after`.
    """
    names = list_segments(files, directory)
    if not names:
        raise Corrupt(f"{directory}: no WAL segment is there, but state that came from one is")
    names = names[_first_needed(names, directory, after) :]
    replay = _Replay(after, Index(names[0].first_index - 1))
    if after == NO_INDEX:
        replay.after_term = NO_TERM
    tail, torn_bytes = _read_segments(files, directory, names, replay)
    problem = _mismatch(replay, after_term)
    if problem and not (is_snapshot and replay.base_index < after and after_term is not None):
        tail.file.close()
        raise Corrupt(f"{directory}: {problem}: the two do not belong together")
    log = RecoveredLog(
        metadata=tail.header.metadata,
        hard_state=replay.hard_state,
        after=after,
        after_term=_known(after_term if problem else replay.after_term),
        entries=[] if problem else replay.entries,
        torn_bytes=torn_bytes,
        restarted=bool(problem),
    )
    return log, tail


def _mismatch(replay: _Replay, after_term: Term | None) -> str:
    """Say why the log does not hold the position that the state stands at; nothing if it does."""
    after = replay.after
    if replay.base_index > after:
        return (
            f"the WAL begins after entry {replay.base_index}, but the state needs it from {after}"
        )
    if replay.after_term is None:
        return f"the WAL ends at entry {replay.last_index}, but the state was applied up to {after}"
    if after_term not in (None, replay.after_term):
        return (
            f"entry {after} of the WAL is of term {replay.after_term}, but the state was applied "
            f"up to entry {after} of term {after_term}"
        )
    return ""


def _known(term: Term | None) -> Term:
    check(term is not None, "a log was recovered without the term that it begins after")
    return Term(term or NO_TERM)


def _first_needed(names: list[SegmentName], directory: Path, after: Index) -> int:
    """Return the position of the last segment that says it has `after` in it or later."""
    wanted = max(after, 1)
    holding = [place for place, name in enumerate(names) if name.first_index <= wanted]
    if not holding:
        raise Corrupt(
            f"{directory}: the WAL begins at entry {names[0].first_index}, but the state needs "
            f"it from {wanted} on"
        )
    for earlier, later in zip(names[holding[-1] :], names[holding[-1] + 1 :], strict=False):
        if later.sequence != earlier.sequence + 1:
            raise Corrupt(f"{directory}: no segment between {earlier} and {later}")
    return holding[-1]


def _read_segments(
    files: FileSystem, directory: Path, names: list[SegmentName], replay: _Replay
) -> tuple[Tail, int]:
    previous_crc: int | None = None
    for name in names[:-1]:
        file = files.open(directory / str(name))
        try:
            reader = _read_segment(file, directory, name, previous_crc, replay, is_last=False)
        finally:
            file.close()
        previous_crc = reader.position.crc
    file = files.open(directory / str(names[-1]))
    try:
        reader = _read_segment(file, directory, names[-1], previous_crc, replay, is_last=True)
    except BaseException:
        file.close()
        raise
    tail = Tail(file, reader.header, reader.position, replay.last_index, names, replay.begins_in)
    return tail, reader.torn_bytes


def _read_segment(
    file: WalFile,
    directory: Path,
    name: SegmentName,
    previous_crc: int | None,
    replay: _Replay,
    *,
    is_last: bool,
) -> SegmentReader:
    reader = SegmentReader(file, directory / str(name), name)
    if previous_crc not in (None, reader.previous_crc):
        raise reader.corrupt(0, "it does not follow the segment before it")
    replay.sequence = name.sequence
    for payload in reader.payloads(may_be_torn=is_last):
        try:
            for record in decode_records(payload, replay.after):
                replay.add(record)
        except FormatError as error:
            raise reader.corrupt(reader.position.offset, str(error)) from error
    return reader
