"""Copies of the state: held, kept within limits, and never the reason why the log has no room."""

from __future__ import annotations

import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tianlu_registry.errors import InvariantBroken, NoSpace, StorageFailed
from tianlu_registry.storage.backend import LmdbBackend, LogPosition
from tianlu_registry.storage.snapshot_store import Copy, SnapshotStore

SIZE = 1000


def store_of(directory: Path, **options: int) -> SnapshotStore:
    store = SnapshotStore(directory / "snap", free_bytes_min=0, **options)
    store.open()
    return store


def add(store: SnapshotStore, index: int, size: int = SIZE) -> Copy:
    path = store.reserve(size)
    path.write_bytes(bytes(size))
    return store.add(path, LogPosition(index, 1))


def test_a_copy_stays_while_it_is_held(tmp_path: Path) -> None:
    store = store_of(tmp_path, bytes_max=0)
    copy = add(store, 5)
    again = store.newest(5)
    assert again is copy
    copy.release()
    assert copy.path.exists()
    copy.release()
    assert not copy.path.exists()
    assert store.size_bytes == 0
    with pytest.raises(InvariantBroken):
        copy.release()


def test_the_newest_copy_is_found_if_it_is_new_enough(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    assert store.newest(0) is None
    old, new = add(store, 5), add(store, 9)
    assert store.newest(9) is new
    assert store.newest(10) is None
    assert (old.holders, new.holders) == (1, 2)


def test_idle_copies_are_kept_within_their_bytes_the_newest_last(tmp_path: Path) -> None:
    store = store_of(tmp_path, bytes_max=2 * SIZE)
    copies = [add(store, index) for index in (1, 2, 3, 4)]
    for copy in reversed(copies):
        copy.release()
    assert [copy.path.exists() for copy in copies] == [False, False, True, True]
    assert store.size_bytes == 2 * SIZE


def test_idle_copies_give_way_to_a_new_one(tmp_path: Path) -> None:
    store = store_of(tmp_path, copies_max=2)
    first, second = add(store, 1), add(store, 2)
    first.release()
    third = add(store, 3)
    assert [copy.path.exists() for copy in (first, second, third)] == [False, True, True]


def test_more_copies_than_may_be_held_are_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, copies_max=2)
    add(store, 1)
    held = add(store, 2)
    with pytest.raises(NoSpace, match="2 copies of the state are in use"):
        store.reserve(SIZE)
    held.release()
    store.reserve(SIZE)


def test_a_copy_that_would_fill_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SnapshotStore(tmp_path, free_bytes_min=10_000)
    store.open()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_999))
    with pytest.raises(NoSpace, match="1000 bytes are needed and 10000 are to stay free, of 10999"):
        store.reserve(1000)
    store.reserve(999)


def test_idle_copies_are_given_up_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SnapshotStore(tmp_path, free_bytes_min=0)
    store.open()
    copy = add(store, 1)
    copy.release()
    usage = shutil.disk_usage(tmp_path)

    def free(path: Path) -> object:
        return usage._replace(free=1500 - SIZE * copy.path.exists())

    monkeypatch.setattr(shutil, "disk_usage", free)
    store.reserve(1400)
    assert not copy.path.exists()


def test_idle_copies_may_be_dropped(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    idle, held = add(store, 1), add(store, 2)
    idle.release()
    store.drop_idle()
    assert [copy.path.exists() for copy in (idle, held)] == [False, True]


def test_a_start_removes_copies_and_nothing_else(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    left = add(store, 1).path
    peers = left.parent / "peer-1.part"
    peers.write_bytes(b"x")
    again = store_of(tmp_path)
    assert (left.exists(), peers.exists(), again.newest(0)) == (False, True, None)
    assert stat.S_IMODE(left.parent.stat().st_mode) == 0o700


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "snap").write_bytes(b"")
    with pytest.raises(StorageFailed):
        store_of(tmp_path)


def test_a_copy_that_cannot_be_removed_is_said_and_given_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(tmp_path, bytes_max=0)
    copy = add(store, 1)
    copy.path.unlink()
    copy.release()
    assert "snapshot_copy_left" in caplog.text
    assert store.size_bytes == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a file system")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_disk_that_fills_while_copying_hurts_nobody_else(
    tmp_path: Path, small_disk: Path
) -> None:
    backend = LmdbBackend.open(tmp_path / "db")
    for number in range(1, 11):
        backend.put(number.to_bytes(12, "big"), bytes(1 << 20))
    backend.commit(1, 1)
    with pytest.raises(NoSpace, match="no room for a copy"):
        backend.hot_copy(small_disk / "copy")
    assert not list(small_disk.iterdir())
    backend.put((11).to_bytes(12, "big"), b"more")
    backend.commit(2, 1)
    backend.close()
