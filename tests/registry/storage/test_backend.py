"""The LMDB backend: layers, commits, growth and failures."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import hypothesis.strategies as st
import lmdb
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tianlu_registry.errors import Corrupt, InvariantBroken, StorageFailed
from tianlu_registry.storage.backend import Batch, LmdbBackend, LogPosition

ALL = (b"", b"\xff" * 13)


def key_of(number: int) -> bytes:
    return number.to_bytes(12, "big")


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LmdbBackend]:
    opened = LmdbBackend.open(tmp_path / "db")
    yield opened
    opened.close()


def test_a_new_backend_is_empty(backend: LmdbBackend) -> None:
    assert backend.applied == LogPosition(0, 0)
    assert list(backend.scan(*ALL)) == []
    assert list(backend.leases()) == []
    assert backend.get_meta(b"member") is None


def test_all_tables_are_committed_together(tmp_path: Path) -> None:
    backend = LmdbBackend.open(tmp_path)
    backend.put(key_of(1), b"one")
    backend.put_lease(-7, b"lease")
    backend.put_lease(8, b"gone")
    backend.delete_lease(8)
    backend.put_meta(b"member", b"m1")
    backend.commit(5, 2)
    backend.put(key_of(2), b"lost")
    backend.put_meta(b"member", b"m2")
    backend.close()
    backend = LmdbBackend.open(tmp_path)
    assert backend.applied == LogPosition(5, 2)
    assert list(backend.scan(*ALL)) == [(key_of(1), b"one")]
    assert list(backend.leases()) == [(-7, b"lease")]
    assert backend.get_meta(b"member") == b"m1"
    backend.close()


def test_the_loop_reads_and_writes_while_a_commit_runs(backend: LmdbBackend) -> None:
    backend.put(key_of(1), b"one")
    backend.put(key_of(2), b"two")
    batch = backend.freeze(1, 1)
    backend.put(key_of(3), b"three")
    backend.delete(key_of(1))
    worker = threading.Thread(target=backend.write, args=(batch,))
    worker.start()
    seen = list(backend.scan(*ALL))
    worker.join()
    assert seen == list(backend.scan(*ALL)) == [(key_of(2), b"two"), (key_of(3), b"three")]
    assert backend.get(key_of(1)) is None
    assert backend.get_many([key_of(3), key_of(2)]) == [b"three", b"two"]
    assert backend.applied.index == 0
    backend.finish(batch)
    assert backend.applied.index == 1
    assert backend.get(key_of(1)) is None
    assert backend.pending_ops == 2


def test_many_values_are_found_in_every_layer(backend: LmdbBackend) -> None:
    wanted = [key_of(number) for number in (4, 1, 5, 2, 3)]
    values = [b"%d" % number for number in (4, 1, 5, 2, 3)]
    for number in (1, 2, 3):
        backend.put(key_of(number), b"%d" % number)
    backend.commit(1, 1)
    assert backend.get_many(wanted[-2:]) == values[-2:]
    backend.put(key_of(4), b"4")
    batch = backend.freeze(2, 1)
    backend.put(key_of(5), b"5")
    assert backend.get_many(wanted) == values
    backend.delete(key_of(2))  # LMDB has it still
    with pytest.raises(Corrupt, match=key_of(2).hex()):
        backend.get_many(wanted)
    backend.write(batch)
    backend.finish(batch)
    backend.commit(3, 1)
    with pytest.raises(Corrupt, match=key_of(2).hex()):
        backend.get_many(wanted)


def test_one_commit_at_a_time(backend: LmdbBackend) -> None:
    batch = backend.freeze(1, 1)
    assert backend.is_committing
    with pytest.raises(InvariantBroken):
        backend.freeze(2, 1)
    backend.write(batch)
    backend.finish(batch)
    assert not backend.is_committing
    with pytest.raises(InvariantBroken):
        backend.finish(batch)


def test_an_old_revision_is_never_overwritten(backend: LmdbBackend) -> None:
    backend.put(key_of(5), b"five")
    backend.commit(1, 1)
    backend.put(key_of(4), b"four")
    with pytest.raises(InvariantBroken):
        backend.freeze(2, 1)


def test_revisions_are_put_in_order(backend: LmdbBackend) -> None:
    backend.put(key_of(5), b"five")
    for number in (4, 5):
        with pytest.raises(InvariantBroken):
            backend.put(key_of(number), b"again")


def test_many_records_are_put_as_one_by_one(tmp_path: Path) -> None:
    keys = [key_of(number) for number in range(1, 6)]
    values = [b"%d" % number for number in range(1, 6)]
    stored = []
    for many in (True, False):
        backend = LmdbBackend.open(tmp_path / f"db-{many}")
        if many:
            backend.put_many(keys, values)
            with pytest.raises(InvariantBroken):
                backend.put_many(keys[-1:], values[-1:])
        else:
            for key, value in zip(keys, values, strict=True):
                backend.put(key, value)
        pending = backend.pending_ops, backend.pending_bytes
        backend.commit(1, 1)
        stored.append((pending, list(backend.scan(*ALL))))
        backend.close()
    assert stored[0] == stored[1]
    assert stored[0][1] == list(zip(keys, values, strict=True))


def test_a_missing_record_is_corruption(backend: LmdbBackend) -> None:
    with pytest.raises(Corrupt, match=key_of(9).hex()):
        backend.get_many([key_of(9)])


def test_the_map_grows_before_it_is_full(tmp_path: Path) -> None:
    backend = LmdbBackend.open(tmp_path, map_bytes=1 << 20)
    value = b"v" * 1_000_000
    for number in range(1, 61):
        backend.put(key_of(number), value)
        if number % 20 == 0:
            backend.commit(number, 1)
    assert backend.db_size > 60_000_000
    assert backend.get(key_of(1)) == value
    backend.close()
    backend = LmdbBackend.open(tmp_path, map_bytes=1 << 20)
    assert backend.get(key_of(60)) == value
    backend.close()


def test_deleting_frees_space_for_use_not_on_disk(backend: LmdbBackend) -> None:
    for number in range(1, 2001):
        backend.put(key_of(number), b"v" * 1000)
    assert backend.pending_bytes > 2_000_000
    backend.commit(1, 1)
    assert (backend.pending_bytes, backend.pending_ops) == (0, 0)
    full, used = backend.db_size, backend.db_size_in_use
    assert full >= used > 2_000_000
    for number in range(1, 1991):
        backend.delete(key_of(number))
    backend.commit(2, 1)
    assert backend.db_size >= full
    assert backend.db_size_in_use < used / 10


def test_garbage_is_called_corrupt(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(Corrupt):
        LmdbBackend.open(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    LmdbBackend.open(tmp_path).close()
    with lmdb.open(str(tmp_path), max_dbs=8) as env, env.begin(write=True) as txn:
        txn.put(b"format", b"somebody else's 9", db=env.open_db(b"meta", txn=txn))
    with pytest.raises(Corrupt, match="somebody else's 9"):
        LmdbBackend.open(tmp_path)


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match="file"):
        LmdbBackend.open(tmp_path / "file" / "db")


DISK_FULL = """
import resource, sys
from pathlib import Path
from tianlu_registry.errors import StorageFailed
from tianlu_registry.storage.backend import LmdbBackend
backend = LmdbBackend.open(Path(sys.argv[1]))
backend.put((1).to_bytes(12, "big"), b"kept")
backend.commit(1, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
for number in range(2, 3000):
    backend.put(number.to_bytes(12, "big"), b"v" * 1000)
try:
    backend.commit(2, 1)
except StorageFailed as error:
    print("refused:", error)
try:
    backend.freeze(3, 1)
except StorageFailed:
    print("and stays so")
"""


def test_a_full_disk_fails_the_commit_and_keeps_the_one_before(tmp_path: Path) -> None:
    """The limit on file size stands in for the full disk: the same write fails."""
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.startswith("refused: tianlu: storage failed")
    assert done.stdout.endswith("and stays so\n")
    backend = LmdbBackend.open(tmp_path)
    assert backend.applied == LogPosition(1, 1)
    assert list(backend.scan(*ALL)) == [(key_of(1), b"kept")]
    backend.close()


class BackendAgainstDictionary(RuleBasedStateMachine):
    """Reads see every write at once, whatever stage of a commit it is in; a reopening sees the
    last commit."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.backend = LmdbBackend.open(self.directory)
        self.now: dict[bytes, bytes] = {}
        self.frozen: dict[bytes, bytes] = {}
        self.committed: dict[bytes, bytes] = {}
        self.next = 1
        self.batch: Batch | None = None
        self.is_written = False
        self.index = 0

    @rule(count=st.integers(1, 3))
    def put(self, count: int) -> None:
        for _ in range(count):
            key, self.next = key_of(self.next), self.next + 1
            self.now[key] = b"v%d" % self.next
            self.backend.put(key, self.now[key])

    @rule(number=st.integers(1, 12))
    def delete(self, number: int) -> None:
        self.now.pop(key_of(number), None)
        self.backend.delete(key_of(number))

    @precondition(lambda self: self.batch is None)
    @rule()
    def freeze(self) -> None:
        self.index += 1
        self.batch = self.backend.freeze(self.index, 1)
        self.frozen = dict(self.now)

    @precondition(lambda self: self.batch is not None and not self.is_written)
    @rule()
    def write(self) -> None:
        assert self.batch is not None
        self.backend.write(self.batch)
        self.is_written = True
        self.committed = self.frozen

    @precondition(lambda self: self.is_written)
    @rule()
    def finish(self) -> None:
        assert self.batch is not None
        self.backend.finish(self.batch)
        assert self.backend.applied.index == self.index
        self.batch, self.is_written = None, False

    @rule()
    def reopen(self) -> None:
        self.backend.close()
        self.backend = LmdbBackend.open(self.directory)
        self.now = dict(self.committed)
        self.next = max((int.from_bytes(key, "big") for key in self.now), default=0) + 1
        self.batch, self.is_written = None, False
        self.index = self.backend.applied.index

    @rule(start=st.integers(0, 12), length=st.integers(0, 12))
    def scan(self, start: int, length: int) -> None:
        first, end = key_of(start), key_of(start + length)
        wanted = [pair for pair in sorted(self.now.items()) if first <= pair[0] < end]
        assert list(self.backend.scan(first, end)) == wanted

    @invariant()
    def same(self) -> None:
        for number in range(1, self.next + 1):
            assert self.backend.get(key_of(number)) == self.now.get(key_of(number))

    def teardown(self) -> None:
        self.backend.close()
        shutil.rmtree(self.directory)


TestBackendAgainstDictionary = BackendAgainstDictionary.TestCase
TestBackendAgainstDictionary.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None
)
