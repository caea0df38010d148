"""Noticing that the caller of a half-closed call is gone.

While a request is still open its reader hears of the disconnect at once. After that somebody has
to ask: an ASGI server may answer `receive` when the caller disconnects (the specification) or
immediately (pyvoy), so one timer asks for all such calls, every few seconds. Calls shorter than
that, almost all, cost two set operations.
"""

from __future__ import annotations

import asyncio

from tianlu_registry.api.grpc_asgi.asgi import Event, Receive
from tianlu_registry.api.grpc_asgi.context import RpcContext, says_gone


class DisconnectSweeper:
    """Cancels the handlers of half-closed calls whose callers have gone.

    Args:
        interval_seconds: time between two questions, and so the longest that a handler goes on
            for nobody.
    """

    def __init__(self, interval_seconds: float = 5.0) -> None:
        self._interval_seconds = interval_seconds
        self._calls: dict[RpcContext, Receive] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, context: RpcContext, receive: Receive) -> None:
        """Watch over a call whose request has been read to its end."""
        self._calls[context] = receive
        if self._timer is None:
            self._schedule()

    def discard(self, context: RpcContext) -> None:
        """The call is over. Harmless for a call that was never added."""
        self._calls.pop(context, None)

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval_seconds, self._sweep)

    def _sweep(self) -> None:
        for context, receive in self._calls.items():
            if context.received is None or context.received.done():
                context.received = asyncio.ensure_future(receive())
                context.received.add_done_callback(_Answer(context))
        if self._calls:
            self._schedule()
        else:
            self._timer = None


class _Answer:
    """What `receive` said of one call."""

    __slots__ = ("_context",)

    def __init__(self, context: RpcContext) -> None:
        self._context = context

    def __call__(self, future: asyncio.Future[Event]) -> None:
        if says_gone(future):
            self._context.disconnected()
