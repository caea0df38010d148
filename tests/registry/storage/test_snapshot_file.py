"""The portable snapshot file: written, verified, restored, refused."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tianlu._proto.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest
from tianlu_registry.errors import Broken, Corrupt, InvalidArgument, StorageFailed
from tianlu_registry.lease import Lessor
from tianlu_registry.mvcc import MvccStore
from tianlu_registry.raft import HardState, Index, Term
from tianlu_registry.storage import snapshot_file, snapshot_restore
from tianlu_registry.storage.backend import LmdbBackend, LogPosition
from tianlu_registry.storage.snapshot_file import SnapshotWriter, chunks, size_of, verify
from tianlu_registry.storage.snapshot_probe import Contents
from tianlu_registry.storage.snapshot_restore import UNFINISHED, restore
from tianlu_registry.storage.staged import StagedSnapshot
from tianlu_registry.storage.wal import Wal


def write_state(directory: Path) -> LmdbBackend:
    """Ten keys, one of them changed twice and one deleted, and a lease, at entry 40 of term 3."""
    backend = LmdbBackend.open(directory)
    lessor = Lessor(backend)
    store = MvccStore(backend, lessor)
    lessor.grant(77, 60, 0.0)
    for number in range(10):
        store.put(PutRequest(key=b"key-%d" % number, value=b"value" * 100, lease=77))
    store.put(PutRequest(key=b"key-3", value=b"again"))
    store.delete_range(DeleteRangeRequest(key=b"key-4"))
    backend.put_meta(b"members", b"old cluster")
    backend.put_meta(b"alarms", b"old alarm")
    backend.commit(40, 3)
    return backend


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    backend = write_state(tmp_path / "source")
    backend.hot_copy(tmp_path / "copy")
    backend.close()
    return tmp_path / "copy"


@pytest.fixture
def snapshot(tmp_path: Path, copy: Path) -> Path:
    path = tmp_path / "state.snapshot"
    save(copy, path)
    return path


def save(copy: Path, path: Path, chunk_bytes: int = 5000) -> None:
    save_pieces(chunks(copy, chunk_bytes), path)


def save_pieces(pieces: Iterable[bytes], path: Path) -> None:
    with SnapshotWriter(path) as writer:
        for piece in pieces:
            writer.write(piece)
        writer.finish()


def breaking_off() -> Iterator[bytes]:
    yield b"some"
    raise ConnectionError


def test_a_file_is_the_copy_and_its_digest(copy: Path, snapshot: Path) -> None:
    database = copy.read_bytes()
    assert snapshot.read_bytes() == database + hashlib.sha256(database).digest()
    assert size_of(copy) == snapshot.stat().st_size
    assert stat.S_IMODE(snapshot.stat().st_mode) == 0o600


@pytest.mark.parametrize("chunk_bytes", [1, 7, 31, 32, 33, 4096, 1 << 20])
def test_pieces_of_any_size_arrive_whole(tmp_path: Path, copy: Path, chunk_bytes: int) -> None:
    save(copy, tmp_path / "saved", chunk_bytes)
    database = copy.read_bytes()
    assert (tmp_path / "saved").read_bytes() == database + hashlib.sha256(database).digest()


def test_verify_tells_what_is_in_it(copy: Path, snapshot: Path) -> None:
    told: list[tuple[int, int]] = []
    before = snapshot.read_bytes()
    info = verify(snapshot, lambda done, total: told.append((done, total)))
    assert info.contents == Contents(LogPosition(40, 3), revision=13, keys=9, records=12, leases=1)
    assert info.size_bytes == copy.stat().st_size
    assert info.sha256 == hashlib.sha256(copy.read_bytes()).hexdigest()
    assert 0 < info.hash < 1 << 32
    assert told == [(info.size_bytes, info.size_bytes), (12, 12)]
    assert snapshot.read_bytes() == before


def test_a_snapshot_file_may_be_looked_into(snapshot: Path) -> None:
    staged = StagedSnapshot.open(snapshot)
    assert staged.get_meta(b"members") == b"old cluster"
    staged.close()


# Writing


def test_an_incomplete_stream_leaves_nothing(tmp_path: Path, copy: Path) -> None:
    pieces = list(chunks(copy, 5000))
    for kept in (pieces[:-1], pieces[1:], [], pieces[-1:], [*pieces, b"x"]):
        with pytest.raises(Corrupt, match="incomplete"):
            save_pieces(kept, tmp_path / "saved")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["copy", "source"]


def test_a_stream_that_breaks_off_keeps_the_file_before(tmp_path: Path, snapshot: Path) -> None:
    before = snapshot.read_bytes()
    with pytest.raises(ConnectionError):
        save_pieces(breaking_off(), snapshot)
    assert snapshot.read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="No such file"):
        SnapshotWriter(tmp_path / "missing" / "s")


def test_a_full_disk_while_saving_is_said_and_leaves_nothing(
    tmp_path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailed, match="No space left"):
        save(copy, tmp_path / "saved")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["copy", "source"]


# What is no snapshot, or a damaged one


def damaged(content: bytes) -> Iterator[bytes]:
    yield content[:-1]
    yield content[:-32]
    yield content[:-4096]
    yield content[: len(content) // 2]
    yield content + b"\0"
    yield content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
    yield content[:-1] + bytes([content[-1] ^ 1])
    yield content[:4096] + content[8192:]


def test_any_damage_is_found_before_the_database_is_opened(
    tmp_path: Path, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def probed(path: Path, progress: object) -> Contents:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(snapshot_file, "probe", probed)
    monkeypatch.setattr(snapshot_restore, "probe", probed)
    for number, content in enumerate(damaged(snapshot.read_bytes())):
        path = tmp_path / f"damaged-{number}"
        path.write_bytes(content)
        with pytest.raises(Corrupt, match="damaged or incomplete"):
            verify(path)
        with pytest.raises(Corrupt, match="damaged or incomplete"):
            restore(path, tmp_path / "restored", metadata=b"m", named={})
        assert not list(tmp_path.glob("restored/*"))


def test_what_is_no_snapshot_is_said(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"some text")
    (tmp_path / "zeros").write_bytes(bytes(100_000))
    (tmp_path / "etcd").write_bytes(bytes(16) + 0xED0CDAED.to_bytes(4, "little") + bytes(9000))
    for name, problem in [
        ("missing", "No such file"),
        (".", "not a file"),
        ("text", "not a snapshot of a registry"),
        ("zeros", "not a snapshot of a registry"),
        ("etcd", "is a snapshot of etcd.*make-mirror"),
    ]:
        with pytest.raises(InvalidArgument, match=problem):
            verify(tmp_path / name)


# Restoring

NAMED = {b"members": b"new cluster", b"alarms": None, b"never was": None}


def test_a_restored_member_goes_on_from_the_snapshot(tmp_path: Path, snapshot: Path) -> None:
    told: list[tuple[int, int]] = []
    data_dir = tmp_path / "data"
    position = restore(
        snapshot,
        data_dir,
        metadata=b"new member",
        named=NAMED,
        progress=lambda *done: told.append(done),
    )
    assert position == LogPosition(40, 3)
    assert told[-1][0] == told[-1][1] > 0
    assert [entry.name for entry in data_dir.iterdir()] == ["member"]
    backend = LmdbBackend.open(data_dir / "member" / "db")
    assert backend.applied == position
    assert backend.snapshot_position is None
    assert backend.get_meta(b"members") == b"new cluster"
    assert backend.get_meta(b"alarms") is None
    store = MvccStore(backend, Lessor(backend))
    assert (store.revision, store.key_count) == (13, 9)
    backend.close()
    wal, log = Wal.open(data_dir / "member" / "wal", Index(40), after_term=Term(3))
    wal.close()
    assert log.metadata == b"new member"
    assert log.hard_state == HardState(Term(3), commit=Index(40))
    assert log.entries == []


def test_a_received_copy_can_be_saved_and_restored(tmp_path: Path, copy: Path) -> None:
    backend = LmdbBackend.open(tmp_path / "db")
    backend.replace(StagedSnapshot.open(copy))
    backend.hot_copy(tmp_path / "copy-2")
    backend.close()
    save(tmp_path / "copy-2", tmp_path / "saved")
    restore(tmp_path / "saved", tmp_path / "data", metadata=b"m", named={})
    backend = LmdbBackend.open(tmp_path / "data" / "member" / "db")
    assert backend.snapshot_position is None
    backend.close()


def test_only_the_owner_can_read_what_was_restored(tmp_path: Path, snapshot: Path) -> None:
    restore(snapshot, tmp_path / "data", metadata=b"m", named={})
    for path in [tmp_path / "data", *(tmp_path / "data").rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_a_directory_with_anything_in_it_is_left_alone(tmp_path: Path, snapshot: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "member").mkdir()
    (data_dir / "member" / "precious").write_bytes(b"x")
    with pytest.raises(InvalidArgument, match="not empty: it has member; give the name of a new"):
        restore(snapshot, data_dir, metadata=b"m", named={})
    assert [entry.name for entry in data_dir.rglob("*")] == ["member", "precious"]


def test_an_empty_directory_and_what_a_restore_left_are_used(
    tmp_path: Path, snapshot: Path
) -> None:
    data_dir = tmp_path / "data"
    (data_dir / UNFINISHED / "db").mkdir(parents=True)
    (data_dir / UNFINISHED / "db" / "data.mdb").write_bytes(b"half")
    (data_dir / "lost+found").mkdir()
    restore(snapshot, data_dir, metadata=b"m", named={})
    assert sorted(entry.name for entry in data_dir.iterdir()) == ["lost+found", "member"]


def test_a_data_directory_that_cannot_be_made_is_said(tmp_path: Path, snapshot: Path) -> None:
    with pytest.raises(InvalidArgument, match="cannot be used: No such file"):
        restore(snapshot, tmp_path / "missing" / "data", metadata=b"m", named={})
    with pytest.raises(InvalidArgument, match=r"cannot be used: (File exists|Not a directory)"):
        restore(snapshot, snapshot, metadata=b"m", named={})


def test_a_restore_that_finds_no_room_leaves_nothing(
    tmp_path: Path, snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailed, match="No space left"):
        restore(snapshot, tmp_path / "data", metadata=b"m", named={})
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize("point", ["_write_database", "_adopt", "_put_in_place"])
def test_a_restore_that_is_killed_may_be_repeated(
    tmp_path: Path, snapshot: Path, point: str
) -> None:
    code = f"""
import os, sys
from pathlib import Path
from tianlu_registry.storage import snapshot_restore as module
real = module.{point}
def die(*given):
    if {point!r} != "_put_in_place":
        real(*given)
    os.kill(os.getpid(), 9)
module.{point} = die
module.restore(Path(sys.argv[1]), Path(sys.argv[2]), metadata=b"m", named={{}})
"""
    arguments = [sys.executable, "-c", code, str(snapshot), str(tmp_path / "data")]
    assert subprocess.run(arguments, check=False).returncode == -9
    assert not (tmp_path / "data" / "member").exists()
    restore(snapshot, tmp_path / "data", metadata=b"m", named={})
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["member"]


def test_records_that_cannot_be_are_said(tmp_path: Path) -> None:
    def state(key: bytes, record: bytes, lease: bytes = b"8 bytes.") -> Path:
        backend = LmdbBackend.open(tmp_path / f"db-{len(list(tmp_path.iterdir()))}")
        backend.put(key, record)
        backend._leases.put(lease, b"lease")
        backend.commit(1, 1)
        path = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        backend.hot_copy(path)
        backend.close()
        save(path, path.with_suffix(".snapshot"))
        return path.with_suffix(".snapshot")

    for path in (
        state(b"short", b""),
        state(b"k" * 12, b"\xff\xff\xff"),
        state(b"k" * 12, b"", lease=b"short"),
    ):
        with pytest.raises(Broken) as caught:
            verify(path)
        assert isinstance(caught.value, Corrupt)
