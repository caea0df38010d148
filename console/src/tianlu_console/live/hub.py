"""Who listens, and to what.

A stream carries only names and revisions. Pages fetch what they show themselves, so the hub knows
no user, no language and no HTML, and a slow reader costs one small dict: for each event name its
newest revision waits, older ones are overwritten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tianlu import ServiceKey
from tianlu_console.catalogue.feed import FeedChange
from tianlu_console.errors import Overloaded
from tianlu_console.text import N_, Text

SERVICES_CHANGED: Final = "services-changed"
"""Some service differs."""
INSTANCES_CHANGED: Final = "instances-changed"
"""The service that the page shows differs."""
SOURCE_CHANGED: Final = "source-changed"
"""The registry came or went."""
AUDIT_CHANGED: Final = "audit-changed"

CLIENTS_MAX: Final = 500
"""Open streams; further ones are refused and the page tries again later."""


@dataclass(slots=True, eq=False)
class LiveClient:
    """One stream's mailbox.

    Attributes:
        service: the service whose instances the page shows, if any.
        pending: newest revision by event name; bounded by the number of names above.
    """

    service: ServiceKey | None
    pending: dict[str, int] = field(default_factory=dict)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def post(self, event: str, revision: int) -> None:
        """Leave an event; it replaces a waiting one of the same name."""
        self.pending[event] = revision
        self._woken.set()

    def take(self) -> dict[str, int]:
        """Return what waits and leave nothing."""
        taken, self.pending = self.pending, {}
        self._woken.clear()
        return taken

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait until something is there; False if time ran out."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    def wake(self) -> None:
        """End a `wait` without leaving anything."""
        self._woken.set()


class LiveHub:
    """Passes changes to the streams that care. Used from the event loop only."""

    def __init__(self, clients_max: int = CLIENTS_MAX) -> None:
        self._clients_max = clients_max
        self._clients: set[LiveClient] = set()
        self.closed = False

    @property
    def clients(self) -> int:
        """How many streams are open."""
        return len(self._clients)

    @contextmanager
    def client(self, service: ServiceKey | None) -> Iterator[LiveClient]:
        """Add a stream for as long as the context lasts.

        Raises:
            Overloaded: `clients_max` streams are open, or the console is stopping.
        """
        if self.closed or len(self._clients) >= self._clients_max:
            message = Text(
                N_("Too many pages are being kept live. This page tries again by itself.")
            )
            raise Overloaded(message, retry_after_seconds=3)
        client = LiveClient(service)
        self._clients.add(client)
        try:
            yield client
        finally:
            self._clients.discard(client)

    def catalogue_changed(self, change: FeedChange) -> None:
        """Tell everybody whom `change` concerns."""
        for client in self._clients:
            if change.services:
                client.post(SERVICES_CHANGED, change.revision)
            if client.service in change.services:
                client.post(INSTANCES_CHANGED, change.revision)
            if change.source_changed:
                client.post(SOURCE_CHANGED, change.revision)

    def audit_changed(self) -> None:
        """Tell everybody that the audit log has grown."""
        for client in self._clients:
            client.post(AUDIT_CHANGED, 0)

    def close(self) -> None:
        """End all streams; they notice at once."""
        self.closed = True
        for client in self._clients:
            client.wake()
