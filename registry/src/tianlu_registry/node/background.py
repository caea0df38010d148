"""Work that can always be a little more done: in small steps, one per turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Pump:
    """Calls `step` once per turn of the loop while it says that there is more.

    Between two steps everything else that is ready runs, so the longest delay it causes is one
    step; a step's budget is its author's to choose. What nobody waits for rests between its steps:
    other threads want the interpreter too, and get it from a busy loop but slowly.

    Args:
        loop: where the steps run.
        step: does a bounded piece of work; True when more is left.
        on_failed: told what a step raised; none follows it.
        rest_seconds: pause between two steps; 0 for none.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        step: Callable[[], bool],
        *,
        on_failed: Callable[[Exception], None],
        rest_seconds: float = 0.0,
    ) -> None:
        self._loop = loop
        self._step = step
        self._on_failed = on_failed
        self._rest_seconds = rest_seconds
        self._handle: asyncio.Handle | None = None
        self._stopped = False

    @property
    def is_running(self) -> bool:
        """Whether a step is due in the next turn."""
        return self._handle is not None

    def poke(self) -> None:
        """See to it that a step runs soon. Cheap when one is due already."""
        if self._handle is None and not self._stopped:
            self._handle = self._loop.call_soon(self._turn)

    def stop(self) -> None:
        """Run no further step."""
        self._stopped = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _turn(self) -> None:
        self._handle = None
        try:
            more = self._step()
        except Exception as error:  # noqa: BLE001 - the steps' supervisor
            self._stopped = True
            self._on_failed(error)
            return
        if not more or self._stopped:
            return
        if self._rest_seconds and self._handle is None:
            self._handle = self._loop.call_later(self._rest_seconds, self._turn)
        else:
            self.poke()
