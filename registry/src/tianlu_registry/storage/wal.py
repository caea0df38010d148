"""The write-ahead log: what this member has promised, durable before it says so.

DESIGN.md describes the files, the guarantees and what happens when the disk fails.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tianlu_registry.errors import Corrupt, StorageFailed, check
from tianlu_registry.raft import NO_INDEX, NO_TERM, Entry, HardState, Index, Term
from tianlu_registry.storage.wal_files import FileSystem, OsFileSystem
from tianlu_registry.storage.wal_format import (
    NONCE_BYTES,
    Base,
    SegmentHeader,
    encode_base,
    encode_entries,
    encode_frame,
    encode_hard_state,
    frame_seed,
)
from tianlu_registry.storage.wal_recovery import RecoveredLog, Tail, recover
from tianlu_registry.storage.wal_segment import (
    TEMPORARY_SUFFIX,
    Position,
    SegmentName,
    create_segment,
    list_segments,
)

logger = logging.getLogger(__name__)

SEGMENT_BYTES = 64 * 1024 * 1024
"""Disk space that a segment reserves. A frame that is larger than the rest of it opens the next."""


class Wal:
    """An open log. Make one with `create` or `open`.

    Threading: one thread at a time; `sync` and `release` block on the disk. Ownership: the caller
    sees to it that no other process uses the directory.

    Raises:
        StorageFailed: (every method but `close`) the disk has failed, now or before. What it holds
            of the last sync is unknown, so nothing may be acknowledged any more, ever: a second
            fsync may report success for data that the kernel has dropped.
    """

    def __init__(
        self,
        directory: Path,
        tail: Tail,
        hard_state: HardState,
        *,
        files: FileSystem,
        segment_bytes: int,
    ) -> None:
        """For `create` and `open`."""
        self._directory = directory
        self._files = files
        self._segment_bytes = segment_bytes
        self._file = tail.file
        self._header = tail.header
        self._position = tail.position
        self._segments = tail.segments
        self._synced_index = tail.last_index
        self._appended_index = tail.last_index
        self._synced_hard_state = hard_state
        self._appended_hard_state = hard_state
        self._records: list[bytes] = []
        self._failure: str | None = None

    @staticmethod
    def exists(directory: Path, *, files: FileSystem | None = None) -> bool:
        """Whether a directory holds a log. One whose creation was cut short does not."""
        return bool(list_segments(files or OsFileSystem(), directory))

    @staticmethod
    def first_index(directory: Path, *, files: FileSystem | None = None) -> Index:
        """Return the first index of a log's oldest segment: `open` can begin after it, or later.

        Raises:
            Corrupt: there is no log.
        """
        names = list_segments(files or OsFileSystem(), directory)
        if not names:
            raise Corrupt(f"{directory}: no WAL segment is there")
        return names[0].first_index

    @classmethod
    def create(
        cls,
        directory: Path,
        metadata: bytes,
        *,
        after: Index = NO_INDEX,
        after_term: Term = NO_TERM,
        hard_state: HardState | None = None,
        files: FileSystem | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> Wal:
        """Make a log without entries; durable when this returns.

        Args:
            directory: made if it is not there, with mode 0700; files get 0600.
            metadata: the owner's; kept for ever and returned by `open`.
            after, after_term: the log begins after this position, where the state machine stands.
            hard_state: to begin with; the empty one if None.
            segment_bytes: see SEGMENT_BYTES.

        Raises:
            InvariantBroken: there is a log already.
        """
        files = files or OsFileSystem()
        with _failing_as(directory):
            files.make_directory(directory)
            check(not list_segments(files, directory), f"{directory} holds a WAL already")
            _remove_temporaries(files, directory)
            nonce = secrets.token_bytes(NONCE_BYTES)
            header = SegmentHeader(0, _first_index(after), nonce, metadata)
            state = hard_state or HardState()
            records = _beginning(Base(after, after_term), state)
            file, position = create_segment(
                files, directory, header, records, previous_crc=0, segment_bytes=segment_bytes
            )
        tail = Tail(file, header, position, after, [SegmentName(0, header.first_index)])
        return cls(directory, tail, state, files=files, segment_bytes=segment_bytes)

    @classmethod
    def open(
        cls,
        directory: Path,
        after: Index,
        *,
        after_term: Term | None = None,
        is_snapshot: bool = False,
        files: FileSystem | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> tuple[Wal, RecoveredLog]:
        """Open a log and read what it holds.

        A write that a crash had torn is cut off; it was never acknowledged.

        Args:
            after: entries up to here are not wanted: the state machine holds them.
            after_term: the term of the last of them; None if it is not known.
            is_snapshot: the state is exactly what a raft_snapshot brought, so that a crash may have
                come before the log was begun anew at it. If the log does not hold `after` in
                `after_term`, this does it now; `RecoveredLog.restarted` tells.

        Raises:
            Corrupt: the log is damaged, or does not hold `after`. Nothing was changed.
        """
        files = files or OsFileSystem()
        with _failing_as(directory):
            log, tail = recover(files, directory, after, after_term, is_snapshot=is_snapshot)
            try:
                if log.torn_bytes:
                    _cut_torn(directory, tail, log.torn_bytes, segment_bytes)
                _remove_leftovers(files, directory, tail.begins_in)
                tail.segments = list_segments(files, directory)
            except OSError:
                tail.file.close()
                raise
        wal = cls(directory, tail, log.hard_state, files=files, segment_bytes=segment_bytes)
        if log.restarted:
            log = replace(log, hard_state=_at_least(log.hard_state, log.after_term))
            logger.warning("wal_restarted_at_snapshot path=%s after=%d", directory, after)
            try:
                wal.restart_after(after, log.after_term, log.hard_state)
            except BaseException:
                wal.close()
                raise
        return wal, log

    @property
    def synced_index(self) -> Index:
        """The last entry that is durable."""
        return self._synced_index

    def append(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Add to what the next `sync` writes.

        An entry replaces everything stored at its index and after. No I/O; memory grows until the
        next `sync`.

        Args:
            hard_state: None if it has not changed.
            entries: consecutive, the first at most one beyond the last ever appended.
        """
        self._check_failure()
        if entries:
            first, last = entries[0].index, entries[-1].index
            check(first <= self._appended_index + 1, f"entry {first} appended with a gap")
            check(last - first + 1 == len(entries), f"entries [{first}, {last}] with a gap")
            self._records.append(encode_entries(entries))
            self._appended_index = last
        if hard_state is not None:
            self._records.append(encode_hard_state(hard_state))
            self._appended_hard_state = hard_state

    def sync(self) -> None:
        """Write everything appended since the last sync, whole or not at all, and wait until it is
        durable. Without anything appended it does nothing."""
        self._check_failure()
        if not self._records:
            return
        payload = b"".join(self._records)
        with self._poisoning():
            frame, crc = self._encode(payload)
            if self._position.offset + len(frame) > self._segment_bytes:
                first_index = Index(self._synced_index + 1)
                self._begin_segment(first_index, encode_hard_state(self._synced_hard_state))
                frame, crc = self._encode(payload)
            self._file.write(self._position.offset, frame)
            self._file.sync_data()
        self._position = Position(self._position.offset + len(frame), crc)
        self._records.clear()
        self._synced_index = self._appended_index
        self._synced_hard_state = self._appended_hard_state

    def restart_after(self, index: Index, term: Term, hard_state: HardState | None) -> None:
        """Begin the log anew after a position; durable when this returns.

        After a crash on the way the log is as before, or as after. `open` leads on from there,
        if the state machine durably held the position before this was called.

        Args:
            index, term: where the raft_snapshot stands that has replaced the state machine.
            hard_state: to begin with; None to keep the newest that was synced.

        Raises:
            InvariantBroken: something was appended and not synced.
        """
        self._check_failure()
        check(not self._records, "a log restarted before what was appended to it was synced")
        check(index > NO_INDEX, "a log restarted at its beginning")
        state = hard_state or self._synced_hard_state
        with self._poisoning():
            # Until the new segment is complete the old ones count. From then on they do not, even
            # while some are still there: reading begins at the last that may hold `index`.
            self._begin_segment(_first_index(index), _beginning(Base(index, term), state))
            self._remove_oldest(len(self._segments) - 1)
        self._synced_index = self._appended_index = index
        self._synced_hard_state = self._appended_hard_state = state

    def release(self, up_to: Index) -> int:
        """Remove the segments that only hold entries older than `up_to`.

        The log can afterwards be opened with `after` at `up_to` or later, and no longer with less.

        Args:
            up_to: durably applied by the state machine.

        Returns:
            How many segments were removed.
        """
        self._check_failure()
        holding = [i for i, name in enumerate(self._segments) if name.first_index <= up_to]
        obsolete = holding[-1] if holding else 0
        with self._poisoning():
            self._remove_oldest(obsolete)
        return obsolete

    def close(self) -> None:
        """Close the files. What was appended and not synced is lost. May be called twice."""
        if self._failure is None:
            self._failure = "the log is closed"
            self._file.close()

    def _encode(self, payload: bytes) -> tuple[bytes, int]:
        header, position = self._header, self._position
        seed = frame_seed(header.nonce, header.sequence, position.offset)
        return encode_frame(payload, position.crc, seed)

    def _begin_segment(self, first_index: Index, records: bytes) -> None:
        """Go on in a new segment. It repeats the metadata and has the hard state among its records,
        so that it is enough by itself when the older ones are gone."""
        old = self._header
        header = SegmentHeader(old.sequence + 1, first_index, old.nonce, old.metadata)
        file, position = create_segment(
            self._files,
            self._directory,
            header,
            records,
            previous_crc=self._position.crc,
            segment_bytes=self._segment_bytes,
        )
        self._file.close()
        self._file, self._header, self._position = file, header, position
        self._segments.append(SegmentName(header.sequence, header.first_index))

    def _remove_oldest(self, count: int) -> None:
        if not count:
            return
        for name in self._segments[:count]:
            self._files.remove(self._directory / str(name))
        self._files.sync_directory(self._directory)
        del self._segments[:count]

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise StorageFailed(f"{self._directory}: {self._failure}")

    @contextmanager
    def _poisoning(self) -> Iterator[None]:
        """Turn a failure of the disk into StorageFailed, now and for ever."""
        try:
            with _failing_as(self._directory):
                yield
        except StorageFailed as error:
            self._failure = f"failed before: {error}"
            raise


def _first_index(base_index: Index) -> Index:
    """Return the first index of the segment that a log begins with. It has the base in it, so
    that one who asks for what comes after the base begins reading here."""
    return max(base_index, Index(1))


def _beginning(base: Base, hard_state: HardState) -> bytes:
    """Return the records that a log begins with."""
    return (encode_base(base) if base.index else b"") + encode_hard_state(hard_state)


def _at_least(hard_state: HardState, term: Term) -> HardState:
    """Return a hard state for a log that begins in `term`. Whoever takes entries of a term is in
    it; a later one than its own it has not voted in."""
    return hard_state if hard_state.term >= term else HardState(term, commit=hard_state.commit)


@contextmanager
def _failing_as(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"{directory}: {error.strerror or error}") from error


def _cut_torn(directory: Path, tail: Tail, torn_bytes: int, segment_bytes: int) -> None:
    """Cut off what follows the last valid frame, so that zeros follow it again."""
    offset = tail.position.offset
    path = directory / str(tail.segments[-1])
    logger.warning("wal_torn_tail_cut path=%s offset=%d bytes=%d", path, offset, torn_bytes)
    tail.file.truncate(offset)
    tail.file.sync_data()
    tail.file.allocate(max(segment_bytes, offset))
    tail.file.sync_data()


def _remove_leftovers(files: FileSystem, directory: Path, begins_in: int) -> None:
    """Finish what a crash has interrupted: making a segment, or removing those that a log begun
    anew has left behind."""
    _remove_temporaries(files, directory)
    obsolete = [name for name in list_segments(files, directory) if name.sequence < begins_in]
    for name in obsolete:
        files.remove(directory / str(name))
    if obsolete:
        files.sync_directory(directory)


def _remove_temporaries(files: FileSystem, directory: Path) -> None:
    """Remove segments whose making was cut short."""
    for name in files.names(directory):
        if name.endswith(TEMPORARY_SUFFIX):
            files.remove(directory / name)
