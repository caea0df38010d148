from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tianlu_registry.errors import StorageFailed
from tianlu_registry.node.datadir import DataDir, DataDirHeld, DataDirUnusable, explain

HOLD = """
import sys
from pathlib import Path
from tianlu_registry.node.datadir import DataDir
with DataDir.acquire(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_layout(tmp_path: Path) -> None:
    with DataDir.acquire(tmp_path / "new" / "dir") as data_dir:
        assert data_dir.wal == tmp_path / "new" / "dir" / "member" / "wal"
        assert data_dir.wal.is_dir()
        assert data_dir.db.is_dir()
        assert data_dir.free_bytes() > 0
        assert (tmp_path / "new" / "dir" / "member").stat().st_mode & 0o077 == 0


def test_the_names_of_a_new_directory_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power loss takes the whole log, however well that was synced."""
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda it: synced.append(str(Path(f"/proc/self/fd/{it}").readlink()))
    )
    root = tmp_path / "data"
    DataDir.acquire(root).release()
    assert synced == [str(root / "member"), str(root), str(tmp_path)]
    synced.clear()
    DataDir.acquire(root).release()
    assert synced == []


def test_a_file_system_that_fails_is_a_failure_of_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a bug of ours: the exit status says which of the two it is."""

    def failing(path: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with DataDir.acquire(tmp_path) as data_dir:
        monkeypatch.setattr(os, "statvfs", failing)
        with pytest.raises(StorageFailed, match="Input/output error"):
            data_dir.free_bytes()


def test_a_held_directory_names_its_holder_and_frees_with_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DataDirHeld, match=f"is held by process {holder.pid};"):
            DataDir.acquire(tmp_path)
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    DataDir.acquire(tmp_path).release()


def test_release_twice(tmp_path: Path) -> None:
    data_dir = DataDir.acquire(tmp_path)
    data_dir.release()
    data_dir.release()
    DataDir.acquire(tmp_path).release()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(DataDirUnusable, match="is not a directory"):
        DataDir.acquire(tmp_path / "data")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(DataDirUnusable, match="is not writable for user id"):
        DataDir.acquire(tmp_path / "data")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "is not writable"),
        (errno.EROFS, "read-only file system"),
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "no space left"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_operating_system_errors_become_one_line(number: int, words: str) -> None:
    text = str(explain(OSError(number, os.strerror(number), "/x"), Path("/data")))
    assert text.startswith("data directory /data ")
    assert words in text
    assert "\n" not in text
