"""Keeps the view in step with the store, and lets readers wait for it.

Start: ask for the newest revision; read all keys at one a little older, page by page; watch from
the next one on; when that has led to the newest, show the view. So nobody is ever answered from a
part of it, least of all with an empty list, and subscribers that hold any of those last revisions
resume where they were, although this process never saw the changes happen.

If the watch ends because history was compacted away, another view is made in the same way beside
the old one, which is shown, and says how old it is, until then.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence

from sortedcontainers import SortedList

from tianlu._proto.etcd.rpc_pb2 import PutRequest, RangeRequest
from tianlu_registry.catalog import keys, messages
from tianlu_registry.catalog.history import RevisionChanges, WatchFilter
from tianlu_registry.catalog.view import CatalogView
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import Compacted, RegistryError, Stopped, Unavailable
from tianlu_registry.governance.config import GovernanceConfig
from tianlu_registry.mvcc.types import WatchBatch, Watcher, WatchSpec

logger = logging.getLogger(__name__)

_BARRIER_KEY = keys.PREFIX + b".barrier"
"""Written to learn that the view has everything before; parses as no key of the catalogue."""
_BARRIER_AFTER_SECONDS = 0.05
_RELOAD_PAUSE_SECONDS = 0.2
_CATCH_UP_SECONDS = 5.0
_NEAR_SECONDS = 0.5
"""Within it a node that was just asked by another node's subscriber has usually caught up."""
_CATCH_UP_POLL_SECONDS = 0.002

_NEWEST = RangeRequest(key=_BARRIER_KEY, count_only=True)
"""A linearizable read that costs nothing: its answer's header has the newest revision."""

ChangesListener = Callable[[Sequence[RevisionChanges]], None]


class ViewFeed:
    """Owns the view and feeds it. Implements `mvcc.types.WatchSink`."""

    def __init__(self, store: Store, config: GovernanceConfig) -> None:
        self._store = store
        self._config = config
        self._view = self._fed = CatalogView(config.history_events_max)
        self._listeners: list[ChangesListener] = []
        self._reload_listeners: list[Callable[[], None]] = []
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._end: Exception | None = None
        self._watcher: Watcher | None = None
        self._waiting: SortedList[tuple[int, int, asyncio.Future[None]]] = SortedList()
        self._order = itertools.count()
        self._barrier: asyncio.Task[None] | None = None

    @property
    def view(self) -> CatalogView:
        """The newest view. Ask for it each time: a reload puts another one in its place."""
        return self._view

    @property
    def ready(self) -> bool:
        """The view has been loaded and is being fed."""
        return self._ready.is_set()

    @property
    def revision(self) -> int:
        """The revision that the view shows, also when others than the catalogue's keys moved."""
        if self._fed is self._view:
            return self._fed_revision()
        return self._view.revision

    def reaches(self, revision: int) -> bool:
        """Whether all changes after `revision` are still known."""
        return self._view.history.reaches(revision)

    def delta(self, revision: int, wanted: WatchFilter) -> Iterator[messages.Part]:
        """Yield the messages that bring a subscriber from `revision` to now."""
        return messages.delta(self._view.history.since(revision), wanted)

    def on_changes(self, listener: ChangesListener) -> None:
        """Call `listener` with visible changes, right after the view shows them. It must not
        block."""
        self._listeners.append(listener)

    def on_reload(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the view was loaded anew: what changed meanwhile is not known."""
        self._reload_listeners.append(listener)

    async def run(self) -> None:
        """Feed the view until cancelled or until the store stops."""
        history = self._config.history_revisions
        try:
            while True:
                try:
                    if await self._begin(history):
                        await self._ended.wait()
                        logger.warning("catalogue.watch_ended reason=%s", self._end)
                        history = self._config.history_revisions
                    else:
                        history = 0  # whatever kept the view from catching up, now without
                    if isinstance(self._end, Stopped):
                        return
                except Compacted:
                    if history:
                        history = 0  # etcd does not say how far back it knows
                        continue
                except RegistryError as error:
                    logger.warning("catalogue.load_failed reason=%s", error)
                await asyncio.sleep(_RELOAD_PAUSE_SECONDS)
        finally:
            self._stop()

    # Waiting

    async def wait_ready(self) -> None:
        """Raises: Unavailable: the view was not loaded in time."""
        if self._ready.is_set():
            return
        try:
            async with asyncio.timeout(self._config.ready_wait_seconds):
                await self._ready.wait()
        except TimeoutError as late:
            raise Unavailable("tianlu: the catalogue is still loading; try again") from late

    async def wait_revision(self, revision: int, seconds: float | None = None) -> None:
        """Wait until the view is ready and shows at least `revision`.

        Args:
            seconds: how long at most; None for the configured time.

        Raises:
            Unavailable: it did not get there in time, or the registry stops.
        """
        await self.wait_ready()
        if revision <= self.revision:
            return
        allowed = self._config.revision_wait_seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(max(0.0, allowed)):
                await self._wait_revision(revision)
        except TimeoutError as late:
            raise Unavailable(
                f"tianlu: this node's catalogue is at revision {self.revision}, "
                f"not yet at {revision}; try again or ask for less"
            ) from late

    async def will_reach(self, revision: int) -> bool:
        """Wait until the view shows a revision that somebody holds.

        Returns:
            False if the store does not have it: the history that it belongs to was lost. Only the
            store as a whole can say that; a node that is behind cannot.

        Raises:
            Unavailable: this node stays behind the store; another may be nearer.
        """
        with contextlib.suppress(Unavailable):
            await self.wait_revision(revision, _NEAR_SECONDS)
            return True
        if (await self._store.range(_NEWEST)).header.revision < revision:
            return False
        await self.wait_revision(revision)
        return True

    async def _wait_revision(self, revision: int) -> None:
        while revision > self.revision:
            reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiter = (revision, next(self._order), reached)
            self._waiting.add(waiter)
            try:
                await asyncio.wait({reached}, timeout=_BARRIER_AFTER_SECONDS)
            finally:
                # Whoever gives up leaves nothing: the revision asked for may never come.
                self._waiting.discard(waiter)
            if reached.done():
                reached.result()
            else:
                self._ensure_barrier(revision)

    def _ensure_barrier(self, revision: int) -> None:
        """Make sure that the view hears of `revision` although it is not the catalogue's.

        A store that tells its watchers only of their own keys leaves the view unaware of other
        writes. One written key of ours brings all waiters to a revision behind theirs.
        """
        if self._barrier is None and self.revision < revision <= self._store.header().revision:
            self._barrier = asyncio.create_task(self._write_barrier(), name="catalogue-barrier")

    async def _write_barrier(self) -> None:
        """Write the barrier key, and let no other one be written before it has had its time."""
        try:
            await self._store.put(PutRequest(key=_BARRIER_KEY))
            await asyncio.sleep(_BARRIER_AFTER_SECONDS)
        except RegistryError as error:
            logger.warning("catalogue.barrier_failed reason=%s", error)
        finally:
            self._barrier = None

    # The store's side

    def deliver(self, batch: WatchBatch) -> bool:
        """Take a batch of the store's watch; never refused."""
        changed = self._fed.apply(batch.events, batch.revision)
        if self._fed is self._view:
            if changed:
                for listener in self._listeners:
                    listener(changed)
            self._wake_waiting()
        return True

    def ended(self, error: Exception) -> None:
        self._end = error
        self._ended.set()

    async def _begin(self, history: int) -> bool:
        """Make a view with the changes of the last `history` revisions, feed and show it.

        Returns:
            False if the watch did not lead to the revision that was the newest at the start.
        """
        newest = (await self._store.range(_NEWEST)).header.revision
        compacted = self._store.status().compact_revision
        self._stop_watch()
        self._fed = await self._loaded(max(newest - history, compacted, 1) if history else newest)
        self._end = None
        self._ended.clear()
        spec = WatchSpec(keys.PREFIX, keys.PREFIX_END, self._fed.revision + 1)
        self._watcher = self._store.watch(spec, self)
        if not await self._caught_up(newest):
            return False
        self._view = self._fed
        self._ready.set()
        for listener in self._reload_listeners:
            listener()
        self._wake_waiting()
        services, instances, sessions = self._view.sizes()
        logger.info(
            "catalogue.loaded revision=%d history_from=%d services=%d instances=%d sessions=%d",
            self.revision,
            self._view.history.floor,
            services,
            instances,
            sessions,
        )
        return True

    async def _loaded(self, revision: int) -> CatalogView:
        """Return a view of every key at one revision."""
        view = CatalogView(self._config.history_events_max)
        first = keys.PREFIX
        while True:
            page = await self._store.range(self._page(first, revision))
            view.load(page.kvs)
            if not page.more:
                view.finish_load(revision)
                return view
            first = page.kvs[-1].key + b"\0"

    async def _caught_up(self, revision: int) -> bool:
        """Wait until the view being fed has everything up to `revision`."""
        deadline = time.monotonic() + _CATCH_UP_SECONDS
        asked = time.monotonic() + _BARRIER_AFTER_SECONDS
        while self._fed_revision() < revision:
            now = time.monotonic()
            if self._ended.is_set() or now > deadline:
                return False
            if now > asked and self._barrier is None:
                self._barrier = asyncio.create_task(self._write_barrier(), name="barrier")
            await asyncio.sleep(_CATCH_UP_POLL_SECONDS)
        return True

    def _fed_revision(self) -> int:
        if self._watcher is not None:
            self._fed.advance(self._watcher.synced_revision)
        return self._fed.revision

    def _page(self, first: bytes, revision: int) -> RangeRequest:
        return RangeRequest(
            key=first,
            range_end=keys.PREFIX_END,
            revision=revision,
            limit=self._config.load_page_keys,
        )

    def _stop_watch(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher = None

    def _stop(self) -> None:
        self._ready.clear()
        self._stop_watch()
        if self._barrier is not None:
            self._barrier.cancel()
        for _, _, reached in self._waiting:
            if not reached.done():
                reached.set_exception(Stopped())
        self._waiting.clear()

    def _wake_waiting(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.view.revision:
            reached = self._waiting.pop(0)[2]
            if not reached.done():
                reached.set_result(None)
