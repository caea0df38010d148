"""The index of ranges against asking every range."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from registry.mvcc.mvcc_oracle import in_range

from tianlu_registry.mvcc.watch_index import RangeIndex, prefix_end

short_keys = st.binary(min_size=1, max_size=3).map(lambda raw: bytes(b % 3 + 97 for b in raw))
bounds = st.one_of(
    st.tuples(short_keys, st.just(b"")),
    st.tuples(short_keys, st.just(b"\x00")),
    st.builds(lambda key: (key, prefix_end(key)), short_keys),
    st.tuples(short_keys, short_keys).filter(lambda pair: pair[0] < pair[1]),
    st.just((b"\x00", b"\x00")),
)


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", b"\x00"), (b"a/", b"a0"), (b"", b"\x00")],
)
def test_prefix_end(prefix: bytes, end: bytes) -> None:
    assert prefix_end(prefix) == end


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.booleans(), bounds, st.integers(0, 2)), max_size=60),
    st.lists(short_keys, min_size=1, max_size=8),
)
def test_match_finds_exactly_the_ranges_that_hold_the_key(
    steps: list[tuple[bool, tuple[bytes, bytes], int]], keys: list[bytes]
) -> None:
    index: RangeIndex[object] = RangeIndex()
    present: set[tuple[tuple[bytes, bytes], int]] = set()
    for is_add, pair, number in steps:
        item = (pair, number)
        if is_add:
            index.add(*pair, item)
            present.add(item)
        elif item in present:
            index.remove(*pair, item)
            present.remove(item)
    for key in keys:
        matched = index.match(key)
        assert len(matched) == len(set(matched))
        assert set(matched) == {item for item in present if in_range(key, *item[0])}


def test_many_intervals_through_rebuilds() -> None:
    """Enough ranges for the tree to be built several times, with removals between."""
    rng = random.Random(7)
    index: RangeIndex[tuple[bytes, bytes]] = RangeIndex()
    present: set[tuple[bytes, bytes]] = set()
    for step in range(1500):
        start, end = sorted(b"%04d" % rng.randrange(10_000) for _ in range(2))
        pair = (start, b"\x00" if step % 97 == 0 else end)
        if start == end or pair in present:
            continue
        index.add(*pair, pair)
        present.add(pair)
        if step % 3 == 0:
            victim = rng.choice(sorted(present))
            index.remove(*victim, victim)
            present.remove(victim)
    for _ in range(100):
        key = b"%04d" % rng.randrange(10_000)
        assert set(index.match(key)) == {pair for pair in present if in_range(key, *pair)}
