"""The subscription: the newest view of the catalogue in, acknowledgements of revisions out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tianlu import AsyncClient, AsyncMirror, CatalogView, Rung, TianluError

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5


class CatalogFeed:
    """Follows the catalogue through the SDK's mirror, which falls back to the host snapshot.

    Args:
        take: called with each newest view.
        client: owned by the caller.
    """

    def __init__(self, client: AsyncClient, take: Callable[[CatalogView], None]) -> None:
        self._client = client
        self._take = take
        self._mirror: AsyncMirror | None = None
        self._settled = 0
        self._settled_changed = asyncio.Event()
        self.error = ""

    @property
    def view(self) -> CatalogView | None:
        """The newest view, with its age as of now; None before the first."""
        return None if self._mirror is None else self._mirror.view

    @property
    def degraded(self) -> str:
        """Why the view may be stale; "" if it is not."""
        return self.error if self._mirror is None else self._mirror.degraded

    def settled(self, revision: int) -> None:
        """Have the registry told that Envoy has all of `revision` in effect."""
        if revision != self._settled:
            self._settled = revision
            self._settled_changed.set()

    async def run(self) -> None:
        """Follow until cancelled; without registry and snapshot, keep trying."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._acknowledge())
            while True:
                try:
                    await self._follow()
                except TianluError as error:
                    self._say(f"{type(error).__name__}: {error}")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self) -> None:
        async with self._client.mirror() as mirror:
            self._mirror = mirror
            self.error = ""
            first = mirror.view
            logger.info(
                "feed.start.complete revision=%d rung=%s services=%d",
                first.revision,
                Rung(first.rung).name.lower(),
                len(first.services),
            )
            async for view in mirror.changes():
                self._take(view)

    async def _acknowledge(self) -> None:
        while True:
            await self._settled_changed.wait()
            self._settled_changed.clear()
            mirror = self._mirror
            if mirror is None:
                continue
            try:
                await mirror.applied(self._settled)
            except TianluError as error:
                logger.warning("feed.acknowledge.failed error=%r", str(error))

    def _say(self, error: str) -> None:
        """Log a failure once, not at every attempt."""
        if error != self.error:
            logger.warning("feed.start.failed error=%r", error)
        self.error = error
