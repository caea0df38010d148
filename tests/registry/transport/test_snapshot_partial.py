"""A raft_snapshot's file on its way in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tianlu_registry.raft import ConfState, Index, MemberId, SnapshotMeta, Term
from tianlu_registry.transport.snapshot_file import PIECE_BYTES, PartialFile, SnapshotId


def test_what_arrives_is_made_durable_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [bytes([number]) * PIECE_BYTES for number in range(9)]
    data = b"".join(pieces)
    monkeypatch.setattr("tianlu_registry.transport.snapshot_file.SYNC_EVERY_BYTES", 2 * PIECE_BYTES)
    durable: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda number: durable.append(os.fstat(number).st_size))
    meta = SnapshotMeta(Index(7), Term(1), ConfState((MemberId(1),)))
    partial = PartialFile(
        tmp_path, SnapshotId(MemberId(2), meta, len(data), hashlib.sha256(data).digest())
    )
    for piece in pieces:
        partial.write(piece)
    assert durable == [count * PIECE_BYTES for count in (2, 4, 6, 8)]
    complete = partial.finish()
    assert complete is not None
    assert complete.read_bytes() == data
