"""The console's one consumer of the catalogue: it holds the newest view and tells the live streams
what changed.

One task reads `Catalogue.changes()`. Another looks at the view's age at a fixed pace, because the
registry going away changes no revision and yet must be shown. Both end in `_notice`, which compares
with what was last told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tianlu import CatalogView, Instance, ServiceKey, ServiceView
from tianlu_console.catalogue.seam import Catalogue
from tianlu_console.catalogue.source import Source, SourceState, describe_source
from tianlu_console.clock import Clock

_logger = logging.getLogger(__name__)

SOURCE_CHECK_SECONDS: Final = 0.5
"""How late a page may say that the registry went away."""

RESTART_DELAY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class FeedChange:
    """What is new since the last one.

    Attributes:
        services: keys whose service or instances differ; empty if only the source's state changed.
        source_changed: the registry came or went.
    """

    revision: int
    services: frozenset[ServiceKey]
    source_changed: bool


class CatalogueFeed:
    """Holds the newest view.

    Invariants: `_told` is the view that listeners have heard of; a listener hears of every service
    that differs between two told views. Listeners are called in the event loop and must not block.
    """

    def __init__(self, catalogue: Catalogue, clock: Clock) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._told = catalogue.view
        self._told_state = self.source().state
        self._listeners: list[Callable[[FeedChange], None]] = []
        self._advanced = asyncio.Event()

    @property
    def view(self) -> CatalogView:
        """The newest view."""
        return self._catalogue.view

    def source(self) -> Source:
        """How fresh the newest view is."""
        return describe_source(self._catalogue.view, self._clock())

    def listen(self, listener: Callable[[FeedChange], None]) -> None:
        """Call `listener` with each change from now on."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Follow the catalogue until cancelled. A failure of the source is logged and followed by a
        new start.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_changes())
            group.create_task(self._watch_source())

    async def wait_for(self, instance: Instance, timeout_seconds: float) -> bool:
        """Wait until the view holds `instance` as it is or newer; False if time ran out."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.view.revision < instance.mod_revision:
                    self._advanced.clear()
                    await self._advanced.wait()
        except TimeoutError:
            return False
        return True

    async def _follow_changes(self) -> None:
        while True:
            try:
                async for _ in self._catalogue.changes():
                    self._notice()
            except Exception:  # the task's supervisor
                _logger.exception("catalogue feed failed restart_seconds=%s", RESTART_DELAY_SECONDS)
            else:
                return
            await asyncio.sleep(RESTART_DELAY_SECONDS)

    async def _watch_source(self) -> None:
        while True:
            await asyncio.sleep(SOURCE_CHECK_SECONDS)
            if self.source().state is not self._told_state:
                self._notice()

    def _notice(self) -> None:
        view, state = self._catalogue.view, self.source().state
        services = differing_services(self._told, view)
        source_changed = state is not self._told_state
        self._told, self._told_state = view, state
        self._advanced.set()
        if source_changed:
            log = _logger.info if state is SourceState.LIVE else _logger.warning
            log("catalogue source changed state=%s revision=%d", state.value, view.revision)
        if services or source_changed:
            change = FeedChange(view.revision, services, source_changed)
            for listener in self._listeners:
                listener(change)


def differing_services(old: CatalogView, new: CatalogView) -> frozenset[ServiceKey]:
    """Return the keys of services that were added, removed or changed between two views.

    Unchanged services are usually the same objects in both: looking at that first makes the
    comparison cost a step for each service, not for each instance.
    """
    if old.services is new.services:
        return frozenset()
    changed = {key for key, view in new.services.items() if _differs(old.services.get(key), view)}
    changed.update(key for key in old.services if key not in new.services)
    return frozenset(changed)


def _differs(old: ServiceView | None, new: ServiceView) -> bool:
    return old is not new and old != new
