"""A new member's data directory from a snapshot file: the beginning of a new cluster.

Every member of the new cluster is restored from the same file with the same members. Its log
begins after the snapshot's own position, in the snapshot's own term, so that index, term and
revision go on and never back.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tianlu_registry.errors import InvalidArgument, RegistryError, StorageFailed
from tianlu_registry.raft import HardState, Index, Term
from tianlu_registry.storage.environment import (
    DATA_FILE,
    DATABASES,
    FILE_MODE,
    META_SNAPSHOT,
    LogPosition,
    mapped_errors,
    open_environment,
    sync_directory,
)
from tianlu_registry.storage.snapshot_file import DatabaseReader, no_progress
from tianlu_registry.storage.snapshot_probe import Progress, probe
from tianlu_registry.storage.wal import SEGMENT_BYTES, Wal

MEMBER = "member"
UNFINISHED = "member.restoring"
"""What a restore that was cut short leaves; the next one replaces it. No node looks at it."""

_DIRECTORY_MODE = 0o700
_ROOM_BYTES = 16 << 20  # address space beyond the file for the pages that a change copies
_HARMLESS = frozenset({UNFINISHED, "lost+found"})


def restore(
    path: Path,
    data_dir: Path,
    *,
    metadata: bytes,
    named: Mapping[bytes, bytes | None],
    progress: Progress = no_progress,
    segment_bytes: int = SEGMENT_BYTES,
) -> LogPosition:
    """Make the data directory of a new cluster's member from a snapshot file. Blocking.

    It is made under another name inside `data_dir`, verified, synced and then renamed: the member
    is there whole, or not at all.

    Args:
        path: the snapshot file.
        data_dir: empty, or not there; its parent is.
        metadata: for the head of the WAL: who the new member is.
        named: values of the state to replace: what belongs to the old cluster. None removes one.
        progress: told of bytes copied, then of records read.

    Returns:
        The position that the new member's log begins after.

    Raises:
        InvalidArgument: there is no such file, it is not a snapshot of ours, or `data_dir` is not
            empty or cannot be made.
        Corrupt: the snapshot is damaged or incomplete.
        StorageFailed: no room, or the disk failed.
    """
    reader = DatabaseReader(path)
    unfinished = _prepare(data_dir)
    try:
        database = unfinished / "db" / DATA_FILE
        _write_database(reader, database, progress)
        position = probe(database, progress).applied
        _adopt(database, named)
        wal = Wal.create(
            unfinished / "wal",
            metadata,
            after=Index(position.index),
            after_term=Term(position.term),
            hard_state=HardState(Term(position.term), commit=Index(position.index)),
            segment_bytes=segment_bytes,
        )
        wal.close()
        _put_in_place(unfinished, data_dir)
    except OSError as error:
        _discard(unfinished)
        raise StorageFailed(f"{data_dir}: {error.strerror}") from error
    except BaseException:
        _discard(unfinished)
        raise
    return position


def _prepare(data_dir: Path) -> Path:
    """Make an empty directory for the member to be."""
    unfinished = data_dir / UNFINISHED
    try:
        data_dir.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        if others := sorted({entry.name for entry in data_dir.iterdir()} - _HARMLESS):
            raise _refused(f"{data_dir} is not empty: it has {', '.join(others[:3])}")
        _discard(unfinished)
        for directory in (unfinished, unfinished / "db"):
            directory.mkdir(mode=_DIRECTORY_MODE)
    except OSError as error:
        raise _refused(f"{data_dir} cannot be used: {error.strerror}") from error
    return unfinished


def _refused(problem: str) -> RegistryError:
    return InvalidArgument("data_dir", f"{problem}; give the name of a new directory")


def _discard(unfinished: Path) -> None:
    shutil.rmtree(unfinished, ignore_errors=True)


def _write_database(reader: DatabaseReader, target: Path, progress: Progress) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        for piece in reader.pieces(progress):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _adopt(database: Path, named: Mapping[bytes, bytes | None]) -> None:
    """Make the state a new cluster's; durably."""
    with mapped_errors():
        env = open_environment(database, map_bytes=database.stat().st_size + _ROOM_BYTES)
        try:
            meta = env.open_db(DATABASES[-1], create=False)
            with env.begin(write=True, db=meta) as txn:
                # The new log is here from the start: none has to be restarted at the snapshot.
                for name, value in {**named, META_SNAPSHOT: None}.items():
                    if value is None:
                        txn.delete(name)
                    else:
                        txn.put(name, value)
        finally:
            env.close()
    sync_directory(database.parent)


def _put_in_place(unfinished: Path, data_dir: Path) -> None:
    sync_directory(unfinished)
    unfinished.rename(data_dir / MEMBER)
    sync_directory(data_dir)
    sync_directory(data_dir.absolute().parent)
