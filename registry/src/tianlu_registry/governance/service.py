"""The catalogue's parts, wired: what a node starts, and what its APIs call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, Self

from tianlu_registry.engine.store import Store
from tianlu_registry.governance.config import GovernanceConfig
from tianlu_registry.governance.feed import ViewFeed
from tianlu_registry.governance.overrides import OverrideKeeper
from tianlu_registry.governance.queries import Queries
from tianlu_registry.governance.registrar import Registrar
from tianlu_registry.governance.sessions import Sessions
from tianlu_registry.governance.subscriptions import Subscriptions

logger = logging.getLogger(__name__)


class Governance:
    """The catalogue on a store.

    Life: `start`, then the attributes are used by the APIs; `drain` as soon as the node is told
    to stop and before connections are closed; `stop` before the store is.

    Attributes:
        feed: the view and how to wait for it; `feed.ready` tells whether the catalogue serves.
        registrar: writes.
        queries: reads.
        sessions: leases and their streams.
        subscriptions: watch streams.
    """

    def __init__(self, store: Store, config: GovernanceConfig) -> None:
        self._store = store
        self.feed = ViewFeed(store, config)
        self.registrar = Registrar(store, self.feed)
        self.sessions = Sessions(store, self.feed, config)
        self.subscriptions = Subscriptions(self.feed, config)
        self.queries = Queries(self.feed, self.subscriptions)
        self._overrides = OverrideKeeper(store, self.feed)
        self._config = config
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    def start(cls, store: Store, config: GovernanceConfig | None = None) -> Self:
        """Begin to load the catalogue. Requests wait until it is loaded. Needs a running loop."""
        governance = cls(store, config or GovernanceConfig())
        governance._begin(governance.feed.run(), "catalogue-feed")
        governance._begin(governance._heed_leader(), "catalogue-leader")
        governance._begin(governance._housekeeping(), "catalogue-housekeeping")
        return governance

    def drain(self) -> None:
        """The node is about to stop: breaking streams tell nothing about sessions any more, and
        subscribers are sent to other nodes."""
        self.sessions.drain()
        self.subscriptions.close()

    async def stop(self) -> None:
        """End everything. May be called twice."""
        self.drain()
        await self.sessions.stop()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_log_failure)
        self._tasks.append(task)

    async def _heed_leader(self) -> None:
        """Keep apart from the housekeeping, which may wait for a leader."""
        while True:
            await asyncio.sleep(self._config.sweep_seconds)
            known = self._store.status().leader_id != 0
            self.subscriptions.note_leader(known, time.monotonic())

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(self._config.sweep_seconds)
            if self.feed.ready:
                await self._overrides.sweep()
                self.sessions.forget_ended()


def _log_failure(task: asyncio.Task[None]) -> None:
    """Say so when a task of ours died of something unforeseen: nobody awaits it before `stop`."""
    if not task.cancelled() and task.exception() is not None:
        logger.critical("catalogue.task_died task=%s", task.get_name(), exc_info=task.exception())
