from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from tianlu_registry.lease.due_queue import DueQueue

steps = st.lists(
    st.one_of(
        st.tuples(st.just("schedule"), st.integers(0, 5), st.integers(0, 20)),
        st.tuples(st.just("discard"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("pop"), st.just(0), st.integers(0, 20)),
    ),
    max_size=40,
)


@given(steps)
def test_against_a_dictionary(actions: list[tuple[str, int, int]]) -> None:
    queue = DueQueue()
    times: dict[int, int] = {}
    for name, item, at in actions:
        if name == "schedule":
            queue.schedule(item, at)
            times[item] = at
        elif name == "discard":
            queue.discard(item)
            times.pop(item, None)
        else:
            due = sorted((when, which) for which, when in times.items() if when <= at)
            popped = queue.pop_due(at)
            assert popped == (due[0][1] if due else None)
            times.pop(popped, None)
        assert len(queue) == len(times)


def test_an_id_scheduled_again_is_due_at_the_later_time_only() -> None:
    queue = DueQueue()
    queue.schedule(1, 5)
    queue.schedule(1, 10)
    assert queue.pop_due(7) is None
    assert queue.pop_due(10) == 1
    assert queue.pop_due(99) is None


def test_stale_entries_do_not_pile_up() -> None:
    queue = DueQueue()
    for number in range(100_000):
        queue.schedule(number % 10, 1e9 + number)
    assert len(queue._heap) < 2_000
    for item in range(10):
        queue.discard(item)
    assert queue.pop_due(2e9) is None
