"""The snapshot file's reader: damaged files, and databases that somebody damaged on purpose and
gave a right digest."""

from __future__ import annotations

import atexit
import functools
import hashlib
import random
import shutil
import struct
import tempfile
from pathlib import Path

from fuzz.target import Target, damage

from tianlu._proto.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest
from tianlu_registry.errors import Corrupt, InvalidArgument, StorageFailed
from tianlu_registry.lease import Lessor
from tianlu_registry.mvcc import MvccStore
from tianlu_registry.storage import snapshot_file
from tianlu_registry.storage.backend import LmdbBackend
from tianlu_registry.storage.snapshot_file import DIGEST_BYTES, verify
from tianlu_registry.storage.snapshot_probe import Contents, Progress
from tianlu_registry.storage.snapshot_restore import restore

PAGE_BYTES = 4096


def damaged_file(chance: random.Random) -> str:
    """A file that was damaged is refused before its database is opened."""
    content = bytearray(_snapshot())
    damage(content, chance)
    path = _directory() / "damaged"
    path.write_bytes(content)
    real, snapshot_file.probe = snapshot_file.probe, _never
    try:
        verify(path)
    except (Corrupt, InvalidArgument) as error:
        return type(error).__name__
    except LookupError:
        if bytes(content) != _snapshot():
            raise AssertionError("a damaged database was opened") from None
        return "unharmed"
    finally:
        snapshot_file.probe = real
    raise AssertionError("a damaged file was verified")


def hostile_database(chance: random.Random) -> str:
    """A database with a right digest may hold anything: reading it harms nobody, and what can be
    read can be restored."""
    database = bytearray(_snapshot()[:-DIGEST_BYTES])
    if chance.random() < 0.5:
        damage(database, chance)
        del database[len(database) // PAGE_BYTES * PAGE_BYTES :]
    else:
        _mislead(database, chance)
    path = _directory() / "hostile"
    path.write_bytes(bytes(database) + hashlib.sha256(database).digest())
    data_dir = _directory() / "data"
    shutil.rmtree(data_dir, ignore_errors=True)
    try:
        if chance.random() < 0.8:
            verify(path)
        else:
            restore(path, data_dir, metadata=b"m", named={}, segment_bytes=PAGE_BYTES)
    except (Corrupt, InvalidArgument, StorageFailed) as error:
        if (data_dir / "member").exists():
            raise AssertionError("a bad snapshot was restored") from error
        return f"{type(error).__name__}{' (killed its reader)' * ('ends the' in str(error))}"
    return "read"


def _mislead(database: bytearray, chance: random.Random) -> None:
    """Change numbers in the head of a page: what LMDB goes by."""
    for _ in range(chance.choice([1, 1, 2, 4])):
        page = chance.randrange(len(database) // PAGE_BYTES) * PAGE_BYTES
        offset = page + chance.choice([0, 8, 10, 12, 14, *range(16, 160, 2)])
        number = chance.choice([0, 1, 2, 3, 7, 0xFFFF, 0x7FFF, chance.getrandbits(16)])
        struct.pack_into("<H", database, offset, number)


def _never(path: Path, progress: Progress) -> Contents:
    raise LookupError(path)


@functools.cache
def _directory() -> Path:
    path = Path(tempfile.mkdtemp(prefix="tianlu-fuzz-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def _snapshot() -> bytes:
    """Return a snapshot file of a few hundred pages, with large values, history and leases."""
    backend = LmdbBackend.open(_directory() / "db", map_bytes=1 << 26)
    lessor = Lessor(backend)
    store = MvccStore(backend, lessor)
    for number in range(1, 60):
        lessor.grant(number, 60, 0.0)
    chance = random.Random(1)
    for number in range(1500):
        key = b"key-%d" % chance.randrange(800)
        size = chance.choice([0, 50, 300, 300, 9000]) if number % 10 == 0 else 100
        store.put(PutRequest(key=key, value=chance.randbytes(size), lease=1 + number % 59))
        if number % 7 == 0:
            store.delete_range(DeleteRangeRequest(key=key))
    backend.commit(1500, 3)
    backend.hot_copy(_directory() / "copy")
    backend.close()
    return b"".join(snapshot_file.chunks(_directory() / "copy"))


TARGETS = (
    Target("snapshot", damaged_file),
    Target("snapshot-hostile", hostile_database, seconds_max=120.0),
)
