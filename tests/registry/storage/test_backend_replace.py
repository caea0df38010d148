"""Copies of the backend, and a copy that takes the place of the state."""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import lmdb
import pytest

from tianlu_registry.errors import Corrupt, InvariantBroken, NoSpace, StorageFailed
from tianlu_registry.storage.backend import LmdbBackend, LogPosition
from tianlu_registry.storage.environment import copy_environment
from tianlu_registry.storage.staged import StagedSnapshot

ALL = (b"", b"\xff" * 13)


def key_of(number: int) -> bytes:
    return number.to_bytes(12, "big")


def fill(backend: LmdbBackend, first: int, last: int, text: bytes) -> None:
    for number in range(first, last + 1):
        backend.put(key_of(number), text + b" %d" % number)
    backend.put_lease(last, text)
    backend.put_meta(b"members", text)


def backend_of(directory: Path, index: int, text: bytes, count: int = 100) -> LmdbBackend:
    backend = LmdbBackend.open(directory)
    fill(backend, 1, count, text)
    backend.commit(index, 3)
    return backend


def copy_of(directory: Path, index: int, text: bytes, count: int = 100) -> Path:
    source = backend_of(directory / "source", index, text, count)
    path = directory / f"copy-{index}"
    source.hot_copy(path)
    source.close()
    return path


def test_a_copy_is_the_newest_commit_whatever_is_pending(tmp_path: Path) -> None:
    backend = backend_of(tmp_path / "db", 7, b"committed")
    backend.put(key_of(999), b"pending")
    backend.hot_copy(tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600
    staged = StagedSnapshot.open(tmp_path / "copy")
    assert staged.applied == LogPosition(7, 3)
    assert list(staged.revisions()) == [(key_of(n), b"committed %d" % n) for n in range(1, 101)]
    assert staged.revision_count == 100
    assert list(staged.leases()) == [(100, b"committed")]
    assert staged.get_meta(b"members") == b"committed"
    assert staged.get_meta(b"nothing") is None
    staged.close()
    staged.close()
    assert backend.get(key_of(999)) == b"pending"
    backend.commit(8, 3)
    backend.close()


def test_reading_and_writing_go_on_while_a_copy_is_made(tmp_path: Path) -> None:
    backend = backend_of(tmp_path / "db", 7, b"x" * 2000, count=5000)
    copying = threading.Thread(target=backend.hot_copy, args=(tmp_path / "copy",))
    copying.start()
    written = 5000
    while copying.is_alive():
        written += 1
        backend.put(key_of(written), b"new")
        assert backend.get(key_of(random.Random(written).randint(1, 5000))) is not None
    copying.join()
    backend.commit(8, 3)
    assert len(list(backend.scan(*ALL))) == written
    staged = StagedSnapshot.open(tmp_path / "copy")
    assert staged.revision_count == 5000
    staged.close()
    backend.close()


def test_a_copy_has_no_free_pages(tmp_path: Path) -> None:
    backend = backend_of(tmp_path / "db", 7, b"x" * 2000, count=3000)
    for number in range(1, 2900):
        backend.delete(key_of(number))
    backend.commit(8, 3)
    backend.hot_copy(tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size < backend.db_size / 5
    backend.close()


def test_a_copy_is_refused_while_a_commit_runs(tmp_path: Path) -> None:
    backend = backend_of(tmp_path / "db", 7, b"text")
    batch = backend.freeze(8, 3)
    with pytest.raises(InvariantBroken, match="commit"):
        backend.hot_copy(tmp_path / "copy")
    backend.write(batch)
    backend.finish(batch)
    backend.close()


def test_a_copy_never_overwrites(tmp_path: Path) -> None:
    backend = backend_of(tmp_path / "db", 7, b"text")
    (tmp_path / "copy").write_bytes(b"precious")
    with pytest.raises(StorageFailed, match="exists"):
        backend.hot_copy(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"precious"
    backend.close()


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (lmdb.DiskError("No space left on device"), NoSpace),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), NoSpace),
        (OSError(errno.EIO, "Input/output error"), StorageFailed),
        (lmdb.CorruptedError("page"), Corrupt),
    ],
)
def test_a_copy_that_fails_is_removed(
    tmp_path: Path, error: Exception, wanted: type[Exception]
) -> None:
    class Environment:
        def copyfd(self, descriptor: int, *, compact: bool) -> None:
            os.write(descriptor, b"half")
            raise error

    with pytest.raises(wanted):
        copy_environment(cast("lmdb.Environment", Environment()), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# Replacing


def test_a_replaced_state_is_the_copys(tmp_path: Path) -> None:
    path = copy_of(tmp_path, 500, b"theirs", count=300)
    backend = backend_of(tmp_path / "db", 7, b"ours")
    before = backend.snapshot_position
    assert before is None
    backend.put(key_of(101), b"pending")
    staged = StagedSnapshot.open(path)
    backend.replace(staged)
    assert not path.exists()
    expected = [(key_of(n), b"theirs %d" % n) for n in range(1, 301)]
    for _ in range(2):
        assert backend.applied == LogPosition(500, 3)
        assert backend.snapshot_position == LogPosition(500, 3)
        assert backend.pending_ops == backend.pending_bytes == 0
        assert backend.get(key_of(300)) == b"theirs 300"
        assert backend.get_many([key_of(1)]) == [b"theirs 1"]
        assert list(backend.scan(*ALL)) == expected
        assert list(backend.leases()) == [(300, b"theirs")]
        assert backend.get_meta(b"members") == b"theirs"
        assert backend.db_size_in_use > 0
        backend.close()
        backend = LmdbBackend.open(tmp_path / "db")
    assert stat.S_IMODE((tmp_path / "db" / "data.mdb").stat().st_mode) == 0o600
    backend.close()


def test_after_replacing_commits_go_on(tmp_path: Path) -> None:
    path = copy_of(tmp_path, 500, b"theirs")
    backend = backend_of(tmp_path / "db", 7, b"ours", count=400)
    backend.replace(StagedSnapshot.open(path))
    fill(backend, 101, 200, b"after")
    backend.commit(501, 4)
    assert backend.applied == LogPosition(501, 4)
    assert backend.snapshot_position == LogPosition(500, 3)
    backend.close()
    backend = LmdbBackend.open(tmp_path / "db")
    assert backend.applied == LogPosition(501, 4)
    assert len(list(backend.scan(*ALL))) == 200
    backend.close()


def test_a_copy_larger_than_the_map_fits(tmp_path: Path) -> None:
    path = copy_of(tmp_path, 500, b"x" * 4000, count=2000)
    backend = LmdbBackend.open(tmp_path / "db", map_bytes=4 << 20)
    backend.replace(StagedSnapshot.open(path))
    fill(backend, 2001, 12_000, b"y" * 4000)
    backend.commit(501, 3)
    assert len(list(backend.scan(*ALL))) == 12_000
    backend.close()


def test_a_marked_copy_may_replace_too(tmp_path: Path) -> None:
    path = copy_of(tmp_path, 500, b"theirs")
    staged = StagedSnapshot.open(path)
    staged.mark_received()
    staged.mark_received()
    backend = backend_of(tmp_path / "db", 7, b"ours")
    backend.replace(staged)
    assert backend.snapshot_position == backend.applied == LogPosition(500, 3)
    backend.close()


def test_replacing_while_a_commit_runs_is_refused(tmp_path: Path) -> None:
    path = copy_of(tmp_path, 500, b"theirs")
    backend = backend_of(tmp_path / "db", 7, b"ours")
    batch = backend.freeze(8, 3)
    staged = StagedSnapshot.open(path)
    with pytest.raises(InvariantBroken):
        backend.replace(staged)
    staged.close()
    backend.write(batch)
    backend.finish(batch)
    backend.close()


def test_a_replacement_that_fails_stops_the_backend_and_keeps_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copy_of(tmp_path, 500, b"theirs")
    backend = backend_of(tmp_path / "db", 7, b"ours")
    staged = StagedSnapshot.open(path)

    def fails(self: Path, target: Path) -> Path:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(StorageFailed, match="Input/output"):
        backend.replace(staged)
    with pytest.raises(StorageFailed):
        backend.freeze(8, 3)
    backend.close()
    monkeypatch.undo()
    backend = LmdbBackend.open(tmp_path / "db")
    assert backend.applied == LogPosition(7, 3)
    backend.close()


@pytest.mark.parametrize("point", ["mark_received", "sync_directory", "_reopen"])
def test_killed_at_any_point_either_state_is_there(tmp_path: Path, point: str) -> None:
    path = copy_of(tmp_path, 500, b"theirs")
    backend_of(tmp_path / "db", 7, b"ours").close()
    code = f"""
import os, sys
from pathlib import Path
from tianlu_registry.storage import backend as module
from tianlu_registry.storage.staged import StagedSnapshot
owner = next(o for o in (StagedSnapshot, module, module.LmdbBackend) if hasattr(o, {point!r}))
backend = module.LmdbBackend.open(Path(sys.argv[1]))
setattr(owner, {point!r}, lambda *given: os.kill(os.getpid(), 9))
backend.replace(StagedSnapshot.open(Path(sys.argv[2])))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "db"), str(path)], check=False
    )
    assert done.returncode == -9
    backend = LmdbBackend.open(tmp_path / "db")
    if point == "mark_received":
        assert backend.applied == LogPosition(7, 3)
        assert backend.snapshot_position is None
    else:
        assert backend.applied == backend.snapshot_position == LogPosition(500, 3)
    backend.close()


# What is no copy


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    env = lmdb.open(str(tmp_path / "other"), subdir=False, lock=False, max_dbs=8)
    with env.begin(write=True) as txn:
        txn.put(b"a", b"b")
    env.close()
    with pytest.raises(Corrupt):
        StagedSnapshot.open(tmp_path / "other")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"text", bytes(100_000), b"\xff" * 100_000):
        (tmp_path / "copy").write_bytes(content)
        with pytest.raises((Corrupt, StorageFailed)):
            StagedSnapshot.open(tmp_path / "copy")


def test_a_backend_without_state_is_no_snapshot(tmp_path: Path) -> None:
    LmdbBackend.open(tmp_path / "db").close()
    shutil.copy(tmp_path / "db" / "data.mdb", tmp_path / "copy")
    with pytest.raises(Corrupt, match="no state"):
        StagedSnapshot.open(tmp_path / "copy")
