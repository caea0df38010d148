"""A little of what `python -m fuzz` does for hours: see tests/fuzz."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from fuzz import snapshot, wal
from fuzz.target import damage
from hypothesis import given, settings
from hypothesis import strategies as st

from tianlu_registry.raft import Index
from tianlu_registry.storage.wal_format import FormatError, decode_records, decode_segment_header


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 64))
def test_a_damaged_log_is_read_as_it_was_written_or_refused(seed: int) -> None:
    wal.damaged_log(random.Random(seed))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 64))
def test_a_made_up_log_is_read_without_gaps_or_refused(seed: int) -> None:
    wal.hostile_log(random.Random(seed))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 1 << 64))
def test_any_payload_is_decoded_or_refused(payload: bytes, after: int) -> None:
    with suppress(FormatError):
        for _ in decode_records(payload, Index(after)):
            pass
    with suppress(FormatError):
        decode_segment_header(payload)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 64))
def test_a_damaged_snapshot_is_never_opened(seed: int) -> None:
    snapshot.damaged_file(random.Random(seed))


@pytest.mark.parametrize("seed", range(6))
def test_a_made_up_snapshot_harms_nobody(seed: int) -> None:
    snapshot.hostile_database(random.Random(seed))


def test_damage_is_damage() -> None:
    """The harness itself: it changes nearly everything that it is given."""
    before = random.Random(0).randbytes(5000)
    changed = 0
    for seed in range(200):
        data = bytearray(before)
        damage(data, random.Random(seed))
        changed += data != before
    assert changed > 180
