"""Runs the asynchronous client for synchronous callers: one private loop on one daemon thread.

`tianlu.Client` and what it hands out are thin faces over their asynchronous counterparts, which
live in a portal's loop. Renewals, watches and the cache go on there whatever the caller's threads
do.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import Any, Final, TypeVar

from tianlu import _fork
from tianlu._errors import ClientClosed

T = TypeVar("T")

STOP_SECONDS_MAX: Final = 5.0
"""How long stopping waits for the loop's tasks to end; then the daemon thread is left behind."""

_running: Final[weakref.WeakSet[Portal]] = weakref.WeakSet()


class Portal:
    """An event loop on a thread of its own. Its methods may be called from any other thread."""

    def __init__(self) -> None:
        self._refused = ""
        self._closer: Callable[[], Awaitable[None]] | None = None
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._main, name="tianlu client", daemon=True)
        self._thread.start()
        self._ready.wait()
        _running.add(self)
        _fork.remember(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, for what may be done from any thread (`call_soon_threadsafe`)."""
        if self._loop is None:
            raise ClientClosed("the client's thread did not start")
        return self._loop

    @property
    def stopped(self) -> bool:
        """Whether calls are refused."""
        return bool(self._refused)

    def on_exit(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Have `closer` run in the loop if the interpreter ends before `stop` is called."""
        self._closer = closer

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the loop and return what it returns.

        An exception in the waiting thread (KeyboardInterrupt) cancels it.

        Raises:
            ClientClosed: the portal has stopped or belongs to the process before a fork.
        """
        loop = self._loop
        if self._refused or loop is None or loop.is_closed():
            work.close()
            raise ClientClosed(self._refused or "the client is closed")
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a synchronous client was called from its own event loop")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except CancelledError:
            raise ClientClosed("the client was closed during the call") from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield what an asynchronous iterator yields; closes it when done or given up."""
        try:
            while True:
                item = self.run(_next(items))
                if isinstance(item, _End):
                    return
                yield item
        finally:
            closing = getattr(items, "aclose", None)
            if closing is not None:
                # With the portal gone there is nothing left to close.
                with contextlib.suppress(ClientClosed):
                    self.run(_await(closing()))

    def stop(self) -> None:
        """Stop the loop and its thread. Calling it again does nothing."""
        loop, stop = self._loop, self._stop
        if self._refused or loop is None or stop is None:
            return
        self._refused = "the client is closed"
        loop.call_soon_threadsafe(stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(STOP_SECONDS_MAX)

    def abandon(self, why: str) -> None:
        """Refuse every later call: the thread is another process's."""
        self._refused = why

    def finish(self) -> None:
        """Close what is open, then stop; for the interpreter's exit."""
        if self._closer is not None and not self._refused:
            with contextlib.suppress(ClientClosed):
                self.run(_await(self._closer()))
        self.stop()

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()


class _End:
    """What `_next` returns after the last item."""


async def _next(items: AsyncIterator[T]) -> T | _End:
    return await anext(items, _End())


async def _await(work: Awaitable[T]) -> T:
    return await work


def _finish_all() -> None:
    for portal in list(_running):
        portal.finish()


atexit.register(_finish_all)
