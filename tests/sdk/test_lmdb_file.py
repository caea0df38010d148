"""The LMDB reader beside LMDB itself: equal on good files, harmless on bad ones."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tianlu._lmdb_file import DamagedFile, read_states

ITEMS = st.dictionaries(
    st.binary(min_size=1, max_size=200), st.binary(max_size=9000), min_size=0, max_size=60
)


def newest(path: Path) -> dict[bytes, bytes]:
    for items in read_states(path):
        return dict(items)
    raise AssertionError("no state")


def write(path: Path, *states: dict[bytes, bytes]) -> None:
    with lmdb.open(str(path), subdir=False, map_size=1 << 26, lock=False) as environment:
        before: dict[bytes, bytes] = {}
        for state in states:
            with environment.begin(write=True) as transaction:
                for key in before.keys() - state.keys():
                    transaction.delete(key)
                for key, value in state.items():
                    transaction.put(key, value)
            before = state


@settings(max_examples=40, deadline=None)
@given(states=st.lists(ITEMS, min_size=1, max_size=4))
def test_reads_what_lmdb_wrote(tmp_path_factory: pytest.TempPathFactory, states):
    path = tmp_path_factory.mktemp("lmdb") / "f.lmdb"
    write(path, *states)
    found = newest(path)
    assert found == states[-1]
    assert list(found) == sorted(found)


def test_the_state_before_is_there_too(tmp_path: Path):
    path = tmp_path / "f.lmdb"
    write(path, {b"a": b"1"}, {b"a": b"2"})
    assert [dict(items) for items in read_states(path)] == [{b"a": b"2"}, {b"a": b"1"}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "f.lmdb"
    dice = random.Random(5)
    states = [
        {b"s/%04d" % key: dice.randbytes(dice.randrange(500)) for key in range(300)}
        for _ in range(3)
    ]
    states[-1][b"s/big"] = dice.randbytes(20_000)
    write(path, *states)
    return path.read_bytes()


@pytest.mark.parametrize("seed", range(60))
def test_no_damage_makes_it_fail_otherwise(tmp_path: Path, whole: bytes, seed: int):
    dice = random.Random(seed)
    data = bytearray(whole)
    page = dice.randrange(len(data) // 4096) * 4096
    match seed % 4:
        case 0:
            del data[dice.randrange(len(data)) :]
        case 1:
            data[page : page + 4096] = bytes(4096)
        case 2:
            data[page : page + 4096] = dice.randbytes(4096)
        case _:
            for _ in range(200):
                data[dice.randrange(len(data))] = dice.randrange(256)
    path = tmp_path / "damaged.lmdb"
    path.write_bytes(data)
    try:
        for items in read_states(path):
            try:
                for _ in items:
                    pass
            except DamagedFile:
                continue
    except DamagedFile:
        pass


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\0" * 10_000, b"hello" * 5000])
def test_another_file_is_no_database(tmp_path: Path, content: bytes):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(DamagedFile):
        newest(path)


def test_a_loop_in_the_tree_ends(tmp_path: Path, whole: bytes):
    """A branch page that points to itself."""
    path = tmp_path / "loop.lmdb"
    data = bytearray(whole)
    for start in range(8192, len(data), 4096):
        if data[start + 10] == 1:  # a branch page: its first child becomes itself
            offset = int.from_bytes(data[start + 16 : start + 18], "little")
            data[start + offset : start + offset + 4] = (start // 4096).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DamagedFile):
        newest(path)


def test_lmdb_itself_dies_of_a_truncated_file(tmp_path: Path, whole: bytes):
    """Why there is a reader of our own."""
    path = tmp_path / "short.lmdb"
    path.write_bytes(whole[: 4096 * 4])
    script = (
        "import lmdb, sys\n"
        "with lmdb.open(sys.argv[1], subdir=False, readonly=True, lock=False) as e:\n"
        "    with e.begin() as t: list(t.cursor())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONFAULTHANDLER": ""},
    )
    assert done.returncode < 0, "LMDB now survives truncated files: our reader may go"
