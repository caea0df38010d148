"""Draining on a signal, before whatever the signal did."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterable
from types import FrameType
from typing import Any, Final, TypeAlias

from tianlu._errors import TianluError

_log: Final = logging.getLogger(__name__)

_Previous: TypeAlias = Callable[[int, FrameType | None], Any] | int | None


class DrainOnSignal:
    """A signal handler that drains once and then calls the handler before it.

    The drain runs in `loop`; the previous handler is called in the main thread, by sending the
    signal again, as if it had just arrived.

    Args:
        drain: what to do first. Its failure is logged and does not stop the signal.
    """

    def __init__(
        self, drain: Callable[[], Awaitable[None]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._drain = drain
        self._loop = loop
        self._previous: dict[int, _Previous] = {}
        self._begun = False
        self._task: asyncio.Task[None] | None = None

    def install(self, signals: Iterable[signal.Signals]) -> None:
        """Take over `signals`. Main thread only."""
        for number in signals:
            self._previous[number] = signal.signal(number, self._on_signal)

    def uninstall(self) -> None:
        """Give the signals back, where nobody has taken them since. Main thread, else nothing."""
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._on_signal:
                try:
                    signal.signal(number, previous)
                except ValueError:
                    return

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._begun or self._loop.is_closed():
            self._pass_on(number, frame)
            return
        self._begun = True
        self._loop.call_soon_threadsafe(self._start, number)

    def _start(self, number: int) -> None:
        self._task = self._loop.create_task(self._run(number), name="tianlu drain")

    async def _run(self, number: int) -> None:
        _log.info("drain.started signal=%d", number)
        try:
            await self._drain()
        except TianluError as error:
            _log.warning("drain.failed signal=%d error=%s", number, error)
        finally:
            # The signal must have its effect whatever happens to the drain.
            os.kill(os.getpid(), number)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        if callable(previous):
            previous(number, frame)
        elif previous != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
