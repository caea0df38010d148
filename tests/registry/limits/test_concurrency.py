"""What clients have open, against a plain list of it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.errors import InvalidArgument
from tianlu_registry.limits import Concurrency


@given(
    per_client_max=st.integers(1, 3),
    steps=st.lists(st.tuples(st.booleans(), st.sampled_from("ab")), max_size=40),
)
def test_counts(per_client_max: int, steps: list[tuple[bool, str]]) -> None:
    limit, held = Concurrency(per_client_max), Counter[str]()
    for opens, client in steps:
        if opens:
            assert limit.open(client) == (held[client] < per_client_max)
            held[client] = min(held[client] + 1, per_client_max)
        elif held[client]:
            limit.close(client)
            held[client] -= 1
        assert limit.open_of(client) == held[client]
        assert len(limit) == sum(1 for count in held.values() if count)


def test_none_at_all_is_no_limit_to_set() -> None:
    with pytest.raises(InvalidArgument, match="at least 1"):
        Concurrency(0)
