"""The checksum of the keys: equal on members that agree, whatever each has cleaned up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry.mvcc.mvcc_fakes import StoreFixture

from tianlu_registry.errors import Compacted, FutureRevision
from tianlu_registry.mvcc.hash import HashOfKeys, KeysHasher, hash_of_leases

KEYS = (b"a", b"b", b"c/1", b"c/2")


def hashed(fixture: StoreFixture, revision: int = 0, step: int = 1000) -> HashOfKeys:
    hasher = KeysHasher(fixture.store, revision)
    for _ in range(10_000):
        done = hasher.step(step)
        if done is not None:
            return done
    raise AssertionError("the hasher never ends")


def change(fixture: StoreFixture, key: bytes, value: bytes | None) -> None:
    if value is None:
        fixture.delete(key)
    else:
        fixture.put(key, value)


changes = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from((b"x", b"y", None))), min_size=1, max_size=25
)


@given(changes, st.data())
def test_physical_compaction_does_not_count(
    made: list[tuple[bytes, bytes | None]], data: st.DataObject
) -> None:
    tidy, untidy = StoreFixture(), StoreFixture()
    for key, value in made:
        change(tidy, key, value)
        change(untidy, key, value)
    compacted = data.draw(st.integers(min_value=1, max_value=tidy.store.revision))
    tidy.compact_all(compacted)
    untidy.store.compact(compacted)
    untidy.store.compaction_step(data.draw(st.integers(min_value=0, max_value=2)))
    revision = data.draw(st.integers(min_value=compacted, max_value=tidy.store.revision))
    assert hashed(tidy, revision) == hashed(untidy, revision)
    assert hashed(untidy.restarted(), revision) == hashed(tidy, revision)


@given(changes, st.integers(min_value=1, max_value=7))
def test_the_size_of_the_steps_does_not_count(
    made: list[tuple[bytes, bytes | None]], step: int
) -> None:
    fixture = StoreFixture()
    for key, value in made:
        change(fixture, key, value)
    assert hashed(fixture, step=step) == hashed(fixture)


@pytest.mark.parametrize(
    "other",
    [[(b"a", b"y"), (b"b", b"x")], [(b"b", b"x"), (b"a", b"x")], [(b"a", b"x"), (b"a", b"x")]],
)
def test_other_keys_values_or_order_make_another_number(other: list[tuple[bytes, bytes]]) -> None:
    one, two = StoreFixture(), StoreFixture()
    for key, value in [(b"a", b"x"), (b"b", b"x")]:
        one.put(key, value)
    for key, value in other:
        two.put(key, value)
    assert hashed(one).hash != hashed(two).hash


def test_history_up_to_a_revision_keeps_its_number() -> None:
    fixture = StoreFixture()
    revision = fixture.put(b"a", b"x")
    before = hashed(fixture, revision)
    fixture.put(b"a", b"y")
    fixture.delete(b"a")
    assert hashed(fixture, revision) == before
    assert before == (before.hash, -1, revision)


def test_a_write_between_two_steps_is_left_out() -> None:
    fixture = StoreFixture()
    fixture.put(b"a", b"x")
    fixture.put(b"b", b"x")
    alone = hashed(fixture)
    hasher = KeysHasher(fixture.store, 0)
    assert hasher.step(1) is None
    fixture.put(b"c", b"x")
    assert hasher.step(1) is None
    assert hasher.step(1) == alone


def test_a_compaction_between_two_steps_begins_anew() -> None:
    fixture = StoreFixture()
    fixture.put(b"a", b"x")
    fixture.put(b"a", b"y")
    revision = fixture.put(b"b", b"x")
    hasher = KeysHasher(fixture.store, revision)
    assert hasher.step(2) is None
    fixture.compact_all(revision - 1)
    done = hasher.step(10)
    assert done == hashed(fixture, revision)
    assert done.compact_revision == revision - 1


def test_a_revision_that_is_compacted_meanwhile_is_refused() -> None:
    fixture = StoreFixture()
    first = fixture.put(b"a", b"x")
    last = fixture.put(b"a", b"y")
    hasher = KeysHasher(fixture.store, first)
    fixture.compact_all(last)
    with pytest.raises(Compacted):
        hasher.step(1)


def test_a_revision_that_is_not_there_is_refused() -> None:
    fixture = StoreFixture()
    revision = fixture.put(b"a", b"x")
    fixture.put(b"a", b"y")
    fixture.compact_all(revision + 1)
    with pytest.raises(Compacted):
        KeysHasher(fixture.store, revision)
    with pytest.raises(FutureRevision):
        KeysHasher(fixture.store, revision + 2)


def test_an_empty_store_has_a_number() -> None:
    assert hashed(StoreFixture()) == (0, -1, 1)


def test_leases_count_in_the_checksum_of_everything() -> None:
    leases = [(7, b"ttl"), (9, b"")]
    assert hash_of_leases(leases, 5) == hash_of_leases(reversed(leases), 5)
    assert hash_of_leases(leases, 5) != hash_of_leases(leases, 6)
    assert hash_of_leases(leases, 5) != hash_of_leases(leases[:1], 5)
