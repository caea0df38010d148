"""The rolling state hash: what it covers, and that nothing but the log decides it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.errors import Corrupt, InvalidArgument
from tianlu_registry.node.state_hash import (
    LEDGER_ENTRIES,
    LEDGER_STRIDE,
    REPORTED_ENTRIES,
    HashReport,
    StateHash,
)
from tianlu_registry.raft.types import Index
from tianlu_registry.storage.backend import LmdbBackend
from tianlu_registry.storage.write_observer import NoObserver, WriteObserver


class Backend:
    """A backend that keeps named values, and nothing else."""

    def __init__(self) -> None:
        self.observer: WriteObserver = NoObserver()
        self.meta: dict[bytes, bytes] = {}

    def get_meta(self, name: bytes) -> bytes | None:
        return self.meta.get(name)

    def put_meta(self, name: bytes, value: bytes) -> None:
        self.meta[name] = value
        self.observer.wrote_named(name, value)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LmdbBackend]:
    opened = LmdbBackend.open(tmp_path / "db")
    yield opened
    opened.close()


def key(number: int) -> bytes:
    return number.to_bytes(12, "big")


def test_every_kind_of_replicated_write_counts(backend: LmdbBackend) -> None:
    state = StateHash(backend, Index(0))
    seen = {state.value()}
    for write in (
        lambda: backend.put(key(1), b"record"),
        lambda: backend.put_lease(7, b"ttl"),
        lambda: backend.put_lease(8, b"ttl"),
        lambda: backend.delete_lease(7),
        lambda: backend.put_meta(b"compact_scheduled", b"4"),
        lambda: backend.put_meta(b"membership", b"{}"),
        lambda: backend.put_meta(b"alarms", b"[]"),
    ):
        write()
        assert state.value() not in seen
        seen.add(state.value())


def test_what_a_member_does_in_its_own_time_does_not_count(backend: LmdbBackend) -> None:
    backend.put(key(1), b"record")
    state = StateHash(backend, Index(0))
    before = state.value()
    backend.delete(key(1))
    backend.put_meta(b"compact_finished", b"4")
    backend.commit(9, 1)
    assert state.value() == before


@given(st.lists(st.binary(max_size=20), max_size=30), st.sets(st.integers(0, 30)))
def test_when_the_effects_are_chained_does_not_count(effects: list[bytes], looks: set[int]) -> None:
    often, once = StateHash(Backend(), Index(0)), StateHash(Backend(), Index(0))
    for position, effect in enumerate(effects):
        often.wrote_record(effect)
        once.wrote_record(effect)
        if position in looks:
            often.value()
    assert often.value() == once.value()


@given(st.binary(min_size=1), st.binary(min_size=1), st.lists(st.binary()))
def test_members_that_differ_go_on_differing(one: bytes, other: bytes, then: list[bytes]) -> None:
    first, second = StateHash(Backend(), Index(0)), StateHash(Backend(), Index(0))
    first.wrote_record(one)
    second.wrote_record(other)
    differed = first.value() != second.value()
    for effect in then:
        first.wrote_record(effect)
        second.wrote_record(effect)
    assert (first.value() != second.value()) == differed


def test_a_restart_carries_on_the_chain(tmp_path: Path) -> None:
    backend = LmdbBackend.open(tmp_path)
    state = StateHash(backend, Index(0))
    backend.put(key(1), b"one")
    backend.commit(5, 1)
    committed = state.value()
    backend.put(key(2), b"two")
    whole = state.value()
    backend.close()  # a crash: the second write was never committed

    backend = LmdbBackend.open(tmp_path)
    state = StateHash(backend, Index(backend.applied.index))
    assert (state.chain, state.value()) == (0, committed)
    backend.put(key(2), b"two")  # the log is replayed
    assert state.value() == whole
    backend.close()


def test_a_database_without_a_hash_for_its_position_begins_a_chain() -> None:
    backend = Backend()
    state = StateHash(backend, Index(40))
    assert (state.chain, state.value()) == (40, 0)
    state.wrote_record(b"x")
    state.freezing(50)
    assert StateHash(backend, Index(50)).chain == 40
    assert StateHash(backend, Index(60)).chain == 60  # an older program has applied ten since


def test_a_copy_of_the_database_carries_on_the_chain(tmp_path: Path) -> None:
    backend = LmdbBackend.open(tmp_path / "sender")
    state = StateHash(backend, Index(0))
    backend.put(key(1), b"one")
    backend.commit(5, 1)
    backend.close()
    taken = Backend()
    receiver = StateHash(taken, Index(0))
    receiver.wrote_record(b"what it had")
    receiver.mark(Index(2))
    taken.meta[b"state_hash"] = _stored(tmp_path / "sender")
    receiver.replaced(5)
    assert receiver.report(Index(5)).points == {5: state.value()}


def _stored(directory: Path) -> bytes:
    backend = LmdbBackend.open(directory)
    stored = backend.get_meta(b"state_hash")
    backend.close()
    assert stored is not None
    return stored


def test_a_damaged_record_is_refused() -> None:
    backend = Backend()
    backend.meta[b"state_hash"] = b"short"
    with pytest.raises(Corrupt):
        StateHash(backend, Index(3))


def test_the_ledger_keeps_the_newest_entries() -> None:
    state = StateHash(Backend(), Index(0))
    for position in range(1, LEDGER_ENTRIES + 3):
        state.wrote_record(b"%d" % position)
        state.mark(Index(position * LEDGER_STRIDE))
    newest = (LEDGER_ENTRIES + 2) * LEDGER_STRIDE
    report = state.report(Index(newest + 1))
    assert sorted(report.points) == [
        *range(3 * LEDGER_STRIDE, newest + 1, LEDGER_STRIDE),
        newest + 1,
    ]


def test_what_one_report_said_is_in_the_next() -> None:
    state = StateHash(Backend(), Index(0))
    state.wrote_record(b"one")
    first = state.report(Index(5)).points
    state.wrote_record(b"two")
    assert state.report(Index(6)).points.items() > first.items()
    for index in range(7, 7 + REPORTED_ENTRIES):
        state.report(Index(index))
    assert len(state.report(Index(6 + REPORTED_ENTRIES)).points) == REPORTED_ENTRIES


@given(
    st.integers(0, 2**64 - 1),
    st.dictionaries(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), max_size=66),
)
def test_a_report_survives_the_wire(chain: int, points: dict[int, int]) -> None:
    report = HashReport(Index(chain), {Index(index): value for index, value in points.items()})
    assert HashReport.decode(report.encode()) == report


def test_a_report_of_another_format_says_nothing_to_compare() -> None:
    later = HashReport(Index(3), {Index(4): 5}, format=9)
    assert HashReport.decode(later.encode()) == HashReport(Index(3), {}, format=9)


@given(st.binary(max_size=64))
def test_what_is_no_report_is_refused(data: bytes) -> None:
    try:
        HashReport.decode(data)
    except InvalidArgument:
        return
    assert len(data) >= 11
