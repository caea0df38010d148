"""What is left of a store after a crash: always exactly the state at one log position."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from registry.mvcc.mvcc_fakes import MemoryBackend

from tianlu._proto.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest
from tianlu_registry.lease import Lessor
from tianlu_registry.mvcc import MvccStore
from tianlu_registry.storage.backend import Batch, LmdbBackend

EVERYTHING = RangeRequest(key=b"\x00", range_end=b"\x00")


def apply_entry(store: MvccStore, lessor: Lessor, index: int) -> None:
    """Apply the entry that the log has at `index`: a fixed function of it, with every kind of
    write."""
    rng = random.Random(index)
    key = b"key-%d" % rng.randrange(50)
    lease_id = 1 + index // 400
    if index % 400 == 0:
        lessor.grant(lease_id, 60, 0.0)
        if lessor.has(lease_id - 2):
            store.delete_keys(lessor.revoke(lease_id - 2))
    elif index % 97 == 0:
        store.compact(max(store.revision - 20, store.compact_revision + 1))
    elif rng.random() < 0.2:
        store.delete_range(DeleteRangeRequest(key=key, range_end=key + b"5"))
    else:
        lease = lease_id if lessor.has(lease_id) and rng.random() < 0.3 else 0
        store.put(PutRequest(key=key, value=rng.randbytes(rng.randrange(300)), lease=lease))
    store.compaction_step(2)


def replayed(through: int) -> tuple[MvccStore, Lessor]:
    """Return a store in memory after all entries through an index."""
    backend = MemoryBackend()
    lessor = Lessor(backend)
    store = MvccStore(backend, lessor)
    for index in range(1, through + 1):
        apply_entry(store, lessor, index)
    return store, lessor


def assert_is_state_at(directory: Path, index: int) -> None:
    """The backend in `directory` holds what the log makes through `index`, and can go on from
    there."""
    backend = LmdbBackend.open(directory)
    lessor = Lessor(backend)
    store = MvccStore(backend, lessor)
    expected_store, expected_lessor = replayed(index)
    for step in range(index + 1, index + 101):
        assert store.revision == expected_store.revision
        assert store.compact_revision == expected_store.compact_revision
        assert sorted(lessor.ids()) == sorted(expected_lessor.ids())
        for lease_id in lessor.ids():
            assert sorted(lessor.keys(lease_id)) == sorted(expected_lessor.keys(lease_id))
        first = max(store.compact_revision, 1)
        for revision in {first, (first + store.revision) // 2, store.revision}:
            request = RangeRequest(key=b"\x00", range_end=b"\x00", revision=revision)
            assert store.range(request) == expected_store.range(request)
        apply_entry(store, lessor, step)
        apply_entry(expected_store, expected_lessor, step)
    backend.commit(index + 100, 1)
    backend.close()


def write_for_ever(directory: Path) -> None:
    """Run in a process to be killed: apply entries, commit in a worker thread, tell what is
    committed."""
    from concurrent.futures import Future, ThreadPoolExecutor

    backend = LmdbBackend.open(directory)
    lessor = Lessor(backend)
    store = MvccStore(backend, lessor)
    index = backend.applied.index
    committing: tuple[Batch, Future[None]] | None = None
    with ThreadPoolExecutor(1) as pool:
        while True:
            index += 1
            apply_entry(store, lessor, index)
            if committing is not None and committing[1].done():
                committing[1].result()
                backend.finish(committing[0])
                print(backend.applied.index, flush=True)
                committing = None
            if committing is None and backend.pending_ops > 20:
                batch = backend.freeze(index, 1)
                committing = batch, pool.submit(backend.write, batch)


@pytest.mark.parametrize("seed", range(4))
def test_sigkill_while_committing(tmp_path: Path, seed: int) -> None:
    """Killed at any moment, the backend is at the last commit that it told of, or at the next."""
    code = (
        "import sys; from pathlib import Path;"
        "from registry.storage.test_backend_crash import write_for_ever;"
        "write_for_ever(Path(sys.argv[1]))"
    )
    tests = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": tests, "PATH": ""},
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout as lines:
        for _ in range(random.Random(seed).randrange(3, 40)):
            lines.readline()
        process.kill()
        told = [int(line) for line in lines.read().splitlines() if line.strip()]
    backend = LmdbBackend.open(tmp_path)
    index = backend.applied.index
    backend.close()
    assert index > 0
    assert not told or index >= told[-1]
    assert_is_state_at(tmp_path, index)


def test_a_copy_between_commits_is_the_last_commit(tmp_path: Path) -> None:
    """What is not committed leaves no trace in the file, also when it frees or overwrites."""
    live = tmp_path / "live"
    backend = LmdbBackend.open(live)
    lessor = Lessor(backend)
    store = MvccStore(backend, lessor)
    applied = 0
    for commit in range(4):
        for index in range(applied + 1, applied + 151):
            apply_entry(store, lessor, index)
        backend.commit(applied + 150, 1)
        for index in range(applied + 151, applied + 191):
            apply_entry(store, lessor, index)
        shutil.copytree(live, tmp_path / f"copy{commit}")
        assert_is_state_at(tmp_path / f"copy{commit}", applied + 150)
        applied += 190
    backend.close()


def test_a_restart_gives_the_same_answers(tmp_path: Path) -> None:
    backend = LmdbBackend.open(tmp_path)
    lessor = Lessor(backend)
    store = MvccStore(backend, lessor)
    for index in range(1, 1200):
        apply_entry(store, lessor, index)
    before = store.range(EVERYTHING)
    backend.commit(1199, 1)
    backend.close()
    reopened = LmdbBackend.open(tmp_path)
    again = MvccStore(reopened, Lessor(reopened))
    assert again.range(EVERYTHING) == before
    assert again.key_count == store.key_count
    reopened.close()
