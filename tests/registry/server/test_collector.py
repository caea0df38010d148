"""The cycle collector's settings. They are the process's, so each test puts them back."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from tianlu_registry.server.collector import (
    YOUNG_OBJECTS_MAX,
    freeze_survivors,
    set_up_collector,
)


class Node:
    def __init__(self) -> None:
        self.other: Node | None = None


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    set_up_collector()
    yield
    gc.callbacks.remove(freeze_survivors)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def cycle() -> weakref.ref[Node]:
    one, two = Node(), Node()
    one.other, two.other = two, one
    return weakref.ref(one)


@pytest.mark.usefixtures("collector")
def test_new_cycles_are_freed() -> None:
    dropped = cycle()
    grown = [[] for _ in range(2 * YOUNG_OBJECTS_MAX)]
    assert dropped() is None
    assert grown


@pytest.mark.usefixtures("collector")
def test_what_survives_is_not_looked_at_again() -> None:
    frozen = gc.get_freeze_count()
    kept = [[] for _ in range(10 * YOUNG_OBJECTS_MAX)]
    assert gc.get_freeze_count() - frozen >= 9 * YOUNG_OBJECTS_MAX
    assert gc.get_count()[0] <= YOUNG_OBJECTS_MAX
    del kept
    assert gc.get_freeze_count() - frozen < YOUNG_OBJECTS_MAX  # reference counts free it
