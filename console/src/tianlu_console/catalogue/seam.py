"""The seam between the console and the registry. Pages and tests know this; only `mirror` knows the
SDK's client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from tianlu import CatalogView, Instance


class Catalogue(Protocol):
    """A mirror of the catalogue and the two things that an operator does to an instance.

    Everything is called from the event loop. Methods raise `tianlu.TianluError` and nothing else.
    """

    @property
    def view(self) -> CatalogView:
        """The newest view held. Immutable, returned at once, never waits; its age is as of now."""
        ...

    def changes(self) -> AsyncIterator[CatalogView]:
        """Yield the newest view after each change, skipping views that nobody had time for.

        Ends only when the catalogue is closed. One consumer.
        """
        ...

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
        """Keep traffic away from an instance and return it as it is now.

        Args:
            expires_unix_ms: when the registry lifts it by itself, milliseconds since 1970; 0:
                never.
        """
        ...

    async def restore(
        self, namespace: str, service: str, instance_id: str, *, reason: str, actor: str
    ) -> Instance:
        """Lift an instance's isolation and return it as it is now."""
        ...
