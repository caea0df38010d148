"""A little of what `python -m fuzz` does for hours: see tests/fuzz."""

from __future__ import annotations

import random

import pytest
from fuzz import peer
from fuzz.target import Target


@pytest.mark.parametrize(
    ("target", "cases"),
    [(target, 40 if target.name == "peer-connection" else 500) for target in peer.TARGETS],
    ids=[target.name for target in peer.TARGETS],
)
def test_what_is_damaged_is_refused_or_read(target: Target, cases: int) -> None:
    said = {target.run(random.Random(f"{target.name}:{case}")) for case in range(cases)}
    assert said == {"read", "refused"}
