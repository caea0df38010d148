from __future__ import annotations

import pytest

from tianlu_registry.node.crash import at_passage, hook_from_environment, kill_self


def test_acts_at_the_wanted_passage_only() -> None:
    acted: list[str] = []
    hook = at_passage("after_wal_sync", 2, acted.append)
    for point in ("after_wal_sync", "before_apply", "after_wal_sync", "after_wal_sync"):
        hook(point)
        acted.append("-")
    assert acted == ["-", "-", "after_wal_sync", "-", "-"]


def test_nothing_is_set_in_production() -> None:
    assert hook_from_environment({}) is None
    assert hook_from_environment({"TIANLU_CRASH_POINT": ""}) is None
    assert callable(kill_self)


@pytest.mark.parametrize("wanted", ["after_wall_sync", "after_wal_sync:x"])
def test_a_misspelt_point_is_an_error(wanted: str) -> None:
    with pytest.raises(ValueError):
        hook_from_environment({"TIANLU_CRASH_POINT": wanted})
