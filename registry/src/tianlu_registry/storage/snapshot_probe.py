"""Reading a database that came from elsewhere, in a process of its own.

LMDB follows the page numbers that it finds in a file, wherever they lead: bytes that somebody made
up can end the process that reads them, or keep it busy for ever. So the first reading of a snapshot
file's database is done by a child. If it dies or gets nowhere, the file is bad, and nothing else
has happened.

    python -m tianlu_registry.storage.snapshot_probe FILE

tells its progress and, at the end, what it has found, in lines of JSON.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, cast

from google.protobuf.message import DecodeError

from tianlu_registry.errors import Broken, Corrupt, StorageFailed
from tianlu_registry.mvcc.restore import is_dead, rebuild
from tianlu_registry.mvcc.revision import REVISION_KEY_BYTES
from tianlu_registry.storage.environment import LogPosition
from tianlu_registry.storage.staged import StagedSnapshot

Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""

SILENCE_SECONDS_MAX = 300.0
"""A child that has told nothing for so long gets nowhere."""

_RECORDS_PER_REPORT = 10_000
_RECORD_BYTES_MIN = 20  # a revision's key, and LMDB's own for an entry


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database holds.

    Attributes:
        applied: the log position of the state.
        revision: the newest, as of the records; 0 without any.
        keys: that have a value.
        records: revisions of keys, deletions included.
        leases: that had not ended.
    """

    applied: LogPosition
    revision: int
    keys: int
    records: int
    leases: int


def probe(path: Path, progress: Progress) -> Contents:
    """Have a child read all of a file's database, and return what it found. Blocking.

    Raises:
        Corrupt: it cannot be read, or ends or occupies the process that reads it.
        StorageFailed: no process can be started.
    """
    command = [sys.executable, "-m", __name__, str(path)]
    try:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise StorageFailed(f"cannot start {sys.executable}: {error.strerror}") from error
    with child:
        try:
            return _follow(path, child, progress)
        finally:
            child.kill()


def _follow(path: Path, child: subprocess.Popen[bytes], progress: Progress) -> Contents:
    for line in _lines(path, child):
        match json.loads(line):
            case [int(done), int(total)]:
                progress(done, total)
            case {"problem": str(problem)}:
                raise Corrupt(f"{path}: {problem}")
            case {"applied": [int(index), int(term)], "counts": [*counts]}:
                return Contents(LogPosition(index, term), *counts)
    raise Corrupt(
        f"{path}: the database in it cannot be read: it ends the process that tries (status "
        f"{child.wait()})"
    )


def _lines(path: Path, child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Yield a child's lines as long as it keeps telling something."""
    stream = cast("IO[bytes]", child.stdout)
    while select.select([stream], [], [], SILENCE_SECONDS_MAX)[0]:
        line = stream.readline()
        if not line:
            return
        yield line
    raise Corrupt(f"{path}: the database in it cannot be read: it leads nowhere")


def read(path: Path, progress: Progress) -> Contents:
    """Read all of a file's database here. Memory: about that of a node's index of its keys.

    Raises:
        Corrupt: it cannot be read, as far as LMDB notices.
    """
    staged = StagedSnapshot.open(path)
    try:
        restored = rebuild(_records(staged, progress))
        return Contents(
            applied=staged.applied,
            revision=restored.revision,
            keys=sum(1 for entry in restored.entries.values() if not is_dead(entry)),
            records=staged.revision_count,
            leases=sum(1 for _ in staged.leases()),
        )
    except DecodeError as error:
        raise Corrupt(f"a record cannot be read: {error}") from error
    finally:
        staged.close()


def _records(staged: StagedSnapshot, progress: Progress) -> Iterator[tuple[bytes, bytes]]:
    total = staged.revision_count
    if total * _RECORD_BYTES_MIN > staged.path.stat().st_size:
        raise Corrupt(f"it says that it has {total} records, more than it has room for")
    before, done = b"", 0
    for done, pair in enumerate(staged.revisions(), start=1):
        if len(pair[0]) != REVISION_KEY_BYTES or pair[0] <= before or done > total:
            raise Corrupt(f"a record stands at {pair[0][:64].hex()}, where none can be")
        before = pair[0]
        yield pair
        if done % _RECORDS_PER_REPORT == 0 or done == total:
            progress(done, total)
    if done != total:
        raise Corrupt(f"it says that it has {total} records, and has {done}")


def _main(path: Path) -> None:
    def tell(fact: object) -> None:
        print(json.dumps(fact), flush=True)

    try:
        found = read(path, lambda done, total: tell([done, total]))
        (index, term), *counts = astuple(found)
        tell({"applied": [index, term], "counts": counts})
    except Broken as error:
        tell({"problem": str(error)})


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
