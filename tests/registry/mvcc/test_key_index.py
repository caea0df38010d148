"""Generations and their compaction, by the worked example of etcd's key_index.go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sortedcontainers import SortedList

from tianlu_registry.errors import InvariantBroken
from tianlu_registry.mvcc.key_index import KeyIndex
from tianlu_registry.mvcc.revision import is_tombstone, main_of, pack, revision_key, unpack_key

KEY = b"foo"


def example() -> KeyIndex:
    """put 1, put 2, delete 3, put 4, delete 5."""
    index = KeyIndex()
    index.put(KEY, pack(1, 0))
    index.put(KEY, pack(2, 0))
    index.delete(KEY, pack(3, 0, tombstone=True))
    index.put(KEY, pack(4, 0))
    index.delete(KEY, pack(5, 0, tombstone=True))
    return index


def readable(index: KeyIndex, through: int = 7) -> list[int]:
    """Return, for each revision from 0 on, the main revision of the value then (0: none)."""
    return [main_of(index.at(KEY, main)) for main in range(through)]


def test_generations() -> None:
    assert readable(example()) == [0, 1, 2, 0, 4, 0, 0]
    assert KEY not in example()


@pytest.mark.parametrize(
    ("at", "removed", "left"),
    [
        (1, [], [0, 1, 2, 0, 4, 0, 0]),
        (2, [1], [0, 0, 2, 0, 4, 0, 0]),
        (3, [1, 2], [0, 0, 0, 0, 4, 0, 0]),  # the tombstone at the compact revision stays
        (4, [1, 2, 3], [0, 0, 0, 0, 4, 0, 0]),
        (5, [1, 2, 3, 4], [0, 0, 0, 0, 0, 0, 0]),
        (6, [1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_compaction(at: int, removed: list[int], left: list[int]) -> None:
    index = example()
    index.compactable.clear()
    assert [main_of(packed) for packed in index.compact_key(KEY, at)] == removed
    assert readable(index) == left
    # Whatever a later compaction could still remove is remembered.
    assert (KEY in index.compactable) == (at < 6)
    assert [main_of(packed) for packed in index.compact_key(KEY, 9)] == [
        main for main in (1, 2, 3, 4, 5) if main not in removed
    ]
    assert index.put(KEY, pack(10, 0)) == (10, 1)


def test_versions_count_within_a_generation() -> None:
    index = KeyIndex()
    assert index.put(KEY, pack(2, 0)) == (2, 1)
    assert index.put(KEY, pack(3, 1)) == (2, 2)
    index.compact_key(KEY, 3)
    assert index.put(KEY, pack(4, 0)) == (2, 3)  # compaction does not reset the version
    index.delete(KEY, pack(5, 0, tombstone=True))
    assert index.put(KEY, pack(6, 0)) == (6, 1)


def test_a_key_is_packed_small_again_once_its_history_is_gone() -> None:
    index = KeyIndex()
    index.put(KEY, pack(2, 0))
    index.delete(KEY, pack(3, 0, tombstone=True))
    index.put(KEY, pack(4, 0))
    index.compact_key(KEY, 4)
    assert index._entries[KEY] == pack(4, 0)


def test_a_key_without_a_value_cannot_be_deleted() -> None:
    with pytest.raises(InvariantBroken):
        example().delete(KEY, pack(6, 0, tombstone=True))
    with pytest.raises(InvariantBroken):
        KeyIndex().delete(KEY, pack(6, 0, tombstone=True))


def test_live_range_counts_without_the_dead() -> None:
    index = KeyIndex()
    for number in range(10):
        index.put(b"k%d" % number, pack(number + 2, 0))
    index.delete(b"k3", pack(12, 0, tombstone=True))
    revisions, count = index.live_range(b"k2", b"k6", 2)
    assert ([main_of(packed) for packed in revisions], count) == ([4, 6], 3)
    assert index.live_range(b"k6", b"k2", 0) == ([], 0)
    assert index.live_range(b"k8", b"\x00", 0)[1] == 2
    assert index.range_at(b"k2", b"k6", 11, 0)[1] == 4


def test_the_first_keys_of_the_past_are_found_without_the_rest() -> None:
    """Compiled too, where a generator expression would be a list of all."""
    looked_at: list[bytes] = []

    class Noting(SortedList[bytes]):
        def irange(self, *arguments: Any, **options: Any) -> Iterator[bytes]:
            for key in super().irange(*arguments, **options):
                looked_at.append(key)
                yield key

    index = KeyIndex()
    for number in range(100):
        index.put(b"%02d" % number, pack(number + 2, 0))
    index._live = Noting(index._live)
    found = index.first_at(b"10", b"\x00", 60, 3)
    assert [main_of(packed) for packed in found] == [12, 13, 14]
    assert len(looked_at) <= 4


def test_revision_keys_order_as_revisions() -> None:
    packed = [
        pack(main, sub, tombstone)
        for main in (1, 2, 255, 256, 1 << 40)
        for sub in (0, 1, 300)
        for tombstone in (False, True)
    ]
    assert packed == sorted(packed)
    keys = [revision_key(one) for one in packed]
    assert keys == sorted(keys)
    assert [unpack_key(key) for key in keys] == packed
    assert [is_tombstone(one) for one in packed[:2]] == [False, True]
