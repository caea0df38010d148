"""The catalogue as the SDK's mirror gives it: the one module of the console that talks to the
registry.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from types import MappingProxyType
from typing import Final

from tianlu import AsyncClient, AsyncMirror, CatalogView, Instance, NotAllowed, Rung, Unavailable

_logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
NOTHING_YET: Final = CatalogView(
    revision=0, services=MappingProxyType({}), rung=Rung.PROCESS, age_seconds=0.0
)


class MirrorCatalogue:
    """Implements `Catalogue` over an SDK client, which stays the caller's to close.

    Without a registry and without a snapshot on disk, or while the registry refuses the console's
    user, a mirror cannot be entered: the view is then empty, at revision 0, and entering is tried
    again until it works.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._mirror: AsyncMirror | None = None

    @property
    def view(self) -> CatalogView:
        """The newest view held."""
        return NOTHING_YET if self._mirror is None else self._mirror.view

    async def changes(self) -> AsyncIterator[CatalogView]:
        """Yield the newest view after each change."""
        if self._mirror is None:
            self._mirror = await self._enter()
        async for view in self._mirror.changes():
            yield view

    async def close(self) -> None:
        """End the watch; the last view is kept on disk for the next start."""
        mirror, self._mirror = self._mirror, None
        if mirror is not None:
            await mirror.close()

    async def isolate(
        self,
        namespace: str,
        service: str,
        instance_id: str,
        *,
        reason: str,
        actor: str,
        expires_unix_ms: int,
    ) -> Instance:
        """Keep traffic away from an instance."""
        return await self._client.isolate(
            service,
            instance_id,
            reason=reason,
            actor=actor,
            expires_unix_ms=expires_unix_ms,
            namespace=namespace,
        )

    async def restore(
        self, namespace: str, service: str, instance_id: str, *, reason: str, actor: str
    ) -> Instance:
        """Lift an instance's isolation."""
        return await self._client.restore(
            service, instance_id, reason=reason, actor=actor, namespace=namespace
        )

    async def _enter(self) -> AsyncMirror:
        said = False
        while True:
            mirror = self._client.mirror()
            try:
                return await mirror.__aenter__()
            except (Unavailable, NotAllowed) as error:
                if not said:
                    _logger.warning("catalogue not available, trying again error=%r", str(error))
                    said = True
            await asyncio.sleep(RETRY_SECONDS)
