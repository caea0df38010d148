"""Runs in a SortedList against a plain set of keys."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import example, given
from sortedcontainers import SortedList

from tianlu_registry.mvcc.key_runs import add_run, remove_run

_NUMBERS = st.integers(0, 60)


def _key(number: int) -> bytes:
    return b"%03d" % number


@given(
    start=st.sets(_NUMBERS),
    steps=st.lists(st.tuples(st.booleans(), _NUMBERS, st.integers(1, 40), st.integers(1, 3))),
)
@example(start=set(range(5)), steps=[(False, 0, 1, 1)] * 3)  # a first list left too short
def test_runs_are_added_and_removed(
    start: set[int], steps: list[tuple[bool, int, int, int]]
) -> None:
    keys: SortedList[bytes] = SortedList()
    keys._reset(4)  # so that a run is many lists
    keys.update(map(_key, start))
    held = {_key(number) for number in start}
    for adds, first, count, stride in steps:
        run = [_key(number) for number in range(first, first + count * stride, stride)]
        if adds:
            run = [key for key in run if key not in held]
            held.update(run)
            if run:
                add_run(keys, run)
        else:
            stop = min(first + count, len(held))
            if first < stop:
                held.difference_update(sorted(held)[first:stop])
                remove_run(keys, first, stop)
        keys._check()
        assert list(keys) == sorted(held)
        assert [keys.bisect_left(key) for key in sorted(held)] == list(range(len(held)))
        assert [keys[position] for position in range(len(held))] == sorted(held)
