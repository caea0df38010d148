"""The stream's endpoint."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from tianlu import ServiceKey
from tianlu_console.access.gate import visitor_of
from tianlu_console.access.sessions import Sessions
from tianlu_console.catalogue.feed import CatalogueFeed
from tianlu_console.live.hub import (
    AUDIT_CHANGED,
    INSTANCES_CHANGED,
    SERVICES_CHANGED,
    SOURCE_CHANGED,
    LiveHub,
)
from tianlu_console.live.stream import EventStream

LAST_EVENT_ID: Final = "last-event-id"


class LiveEndpoints:
    """`GET /live?since=REVISION[&namespace=...&service=...]`."""

    def __init__(self, hub: LiveHub, feed: CatalogueFeed, sessions: Sessions) -> None:
        self._hub = hub
        self._feed = feed
        self._sessions = sessions

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.add_api_route("/live", self.live, methods=["GET"])
        return router

    async def live(
        self,
        request: Request,
        since: Annotated[int, Query(ge=0)] = 0,
        namespace: Annotated[str, Query(max_length=255)] = "",
        service: Annotated[str, Query(max_length=255)] = "",
    ) -> EventStream:
        """Open a stream.

        Args:
            since: the revision that the page was made from; what it may have missed is told at
                once.
        """
        visitor = visitor_of(request)

        async def still_allowed() -> bool:
            return await run_in_threadpool(self._sessions.holds, visitor)

        reconnects = LAST_EVENT_ID in request.headers
        missed = self._missed(since, reconnects=reconnects)
        return EventStream(
            self._hub, ServiceKey(namespace, service) if service else None, missed, still_allowed
        )

    def _missed(self, since: int, *, reconnects: bool) -> list[tuple[str, int]]:
        """Return what to tell at once.

        A page that comes back may have missed anything, its `since` is old and audit entries carry
        no revision: it is told to refresh all. A new page has missed at most what happened since it
        was rendered.
        """
        revision = self._feed.view.revision
        events = [(SOURCE_CHANGED, revision)]
        if reconnects or revision != since:
            events += [(SERVICES_CHANGED, revision), (INSTANCES_CHANGED, revision)]
        if reconnects:
            events.append((AUDIT_CHANGED, revision))
        return events
