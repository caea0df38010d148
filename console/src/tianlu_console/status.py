"""How the console itself is: probes for supervisors, and the chip that every page shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_doc import Doc
from fastapi import APIRouter, Request
from fastapi.responses import Response

from tianlu_console.catalogue.feed import CatalogueFeed
from tianlu_console.catalogue.source import Source
from tianlu_console.metrics import Metrics
from tianlu_console.web.negotiation import JSONBody, wants_json
from tianlu_console.web.pages import Pages


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePage:
    """The context of _source.html, and its JSON twin."""

    source: Annotated[Source, Doc("how fresh the console's view is, and its revision")]


class StatusEndpoints:
    """`/livez`, `/readyz`, `/metrics` (open, outside the base path) and `/source`."""

    def __init__(self, feed: CatalogueFeed, pages: Pages, metrics: Metrics) -> None:
        self._feed = feed
        self._pages = pages
        self._metrics = metrics

    def probes(self) -> APIRouter:
        """Return what supervisors ask. Probes pass while the registry is away: pages still work.

        The gateway passes on addresses below the base path alone, so these stay on the host.
        """
        router = APIRouter()
        for path in ("/livez", "/readyz"):
            router.add_api_route(path, self.probe, methods=["GET"])
        router.add_api_route("/metrics", self.metrics, methods=["GET"])
        return router

    def inside(self) -> APIRouter:
        """Return the routes for signed-in visitors."""
        router = APIRouter()
        for path in ("/source", "/source.json"):
            router.add_api_route(path, self.source, methods=["GET"])
        return router

    async def probe(self) -> Response:
        """Say that the console answers, and how its source is."""
        return JSONBody({"status": "ok", "source": self._feed.source().state.value})

    async def metrics(self) -> Response:
        """Give the metrics."""
        return Response(self._metrics.expose(), media_type="text/plain; version=0.0.4")

    async def source(self, request: Request) -> Response:
        """Show how fresh the console's view is."""
        page = SourcePage(source=self._feed.source())
        return (
            JSONBody(page)
            if wants_json(request)
            else self._pages.html(request, "_source.html", page)
        )
