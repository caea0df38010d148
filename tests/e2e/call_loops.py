"""Calls of one kind after the other from a thread, with every failure noted."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Self

PAUSE_SECONDS = 0.2


class CallLoop:
    """Makes a call again and again until the block ends; whatever it raises is a failure."""

    def __init__(self, name: str, call: Callable[[], object]) -> None:
        self.name = name
        self.calls = 0
        self.failures: list[str] = []
        self._call = call
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            try:
                self._call()
            except Exception as error:  # noqa: BLE001 - each is what the test looks for
                self.failures.append(repr(error))
            self.calls += 1


@contextlib.contextmanager
def call_loops(calls: dict[str, Callable[[], object]]) -> Iterator[list[CallLoop]]:
    """Run a loop for each call for the length of a block."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(CallLoop(name, call)) for name, call in calls.items()]
