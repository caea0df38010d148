"""Databases that end or occupy the process that reads them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from registry.storage.test_snapshot_file import write_state

from tianlu_registry.errors import Corrupt, StorageFailed
from tianlu_registry.storage import snapshot_probe
from tianlu_registry.storage.backend import LogPosition
from tianlu_registry.storage.snapshot_probe import Contents, probe, read

WANTED = Contents(LogPosition(40, 3), revision=13, keys=9, records=12, leases=1)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    backend = write_state(tmp_path / "source")
    backend.hot_copy(tmp_path / "copy")
    backend.close()
    return tmp_path / "copy"


def nothing(done: int, total: int) -> None: ...


def test_a_child_finds_what_is_found_here(copy: Path) -> None:
    told: list[tuple[int, int]] = []
    assert probe(copy, lambda *done: told.append(done)) == read(copy, nothing) == WANTED
    assert told == [(12, 12)]


def test_every_so_many_records_are_told(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_probe, "_RECORDS_PER_REPORT", 5)
    told: list[tuple[int, int]] = []
    read(copy, lambda *done: told.append(done))
    assert told == [(5, 12), (10, 12), (12, 12)]


def test_what_a_child_finds_wrong_is_said(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"text" * 10_000)
    with pytest.raises(Corrupt, match="text"):
        probe(tmp_path / "text", nothing)


CHILD = """#!{python}
import os, signal, time
print("[1, 12]", flush=True)
{end}
"""


def child_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    program = tmp_path / "python"
    program.write_text(CHILD.format(python=sys.executable, end=end))
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGSEGV)", "raise SystemExit(3)"])
def test_a_child_that_dies_condemns_the_file(
    tmp_path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    child_that(tmp_path, monkeypatch, end)
    with pytest.raises(Corrupt, match=r"ends the process that tries \(status -?\d+\)"):
        probe(copy, nothing)


def test_a_child_that_gets_nowhere_condemns_the_file(
    tmp_path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child_that(tmp_path, monkeypatch, "time.sleep(600)")
    monkeypatch.setattr(snapshot_probe, "SILENCE_SECONDS_MAX", 1.0)
    began = time.monotonic()
    with pytest.raises(Corrupt, match="leads nowhere"):
        probe(copy, nothing)
    assert time.monotonic() - began < 100


def test_a_child_that_cannot_be_started_is_said(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(StorageFailed, match="cannot start"):
        probe(copy, nothing)
