"""Looks after overrides: isolations whose time is up, and decisions that nobody needs any more.

Every node does it, by its own clock, with transactions that compare the override's revision: the
first one wins and the others do nothing. So it needs no leader, and works on an etcd cluster
where none of our nodes is one.
"""

from __future__ import annotations

import asyncio
import logging

from tianlu_registry.catalog import changes, plans
from tianlu_registry.catalog.entries import InstanceEntry
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import RegistryError
from tianlu_registry.governance.feed import ViewFeed
from tianlu_registry.governance.wallclock import now_ms

logger = logging.getLogger(__name__)


class OverrideKeeper:
    """Ends isolations in time. `sweep` is called every second or so."""

    def __init__(self, store: Store, feed: ViewFeed) -> None:
        self._store = store
        self._feed = feed

    async def sweep(self) -> None:
        """Do what is due now. A failure is logged; the next sweep tries again."""
        for entry in list(self._feed.view.overridden()):
            try:
                await self._tend(entry)
            except RegistryError as error:
                logger.warning("override.sweep_failed reason=%s", error)
                return
            # One at a time, and others may go first: nothing here is urgent.
            await asyncio.sleep(0)

    async def _tend(self, entry: InstanceEntry) -> None:
        name, override, revision = entry.name, entry.message().override, entry.override_revision
        followed = changes.lapsed(override, now_ms())
        if followed is not None:
            response = await self._store.txn(plans.put_override(name, followed, revision))
            if response.succeeded:
                logger.info("override.expired instance=%s", "/".join(name))
        elif not override.isolated and not entry.present:
            await self._store.txn(plans.delete_override(name, revision))
