"""The list's page and its JSON twin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final

from annotated_doc import Doc
from fastapi import APIRouter, Request
from fastapi.responses import Response

from tianlu_console.catalogue.feed import CatalogueFeed
from tianlu_console.catalogue.source import Source
from tianlu_console.services.listing import (
    ServiceQuery,
    ServiceRow,
    Totals,
    count,
    namespaces_of,
    select,
)
from tianlu_console.services.summaries import Summaries
from tianlu_console.web.listing import PageOf
from tianlu_console.web.negotiation import JSONBody, is_fragment, wants_json
from tianlu_console.web.pages import Pages
from tianlu_console.web.shell import Section

PAGE_SIZE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesPage:
    """The context of services/list.html, and its JSON twin."""

    source: Annotated[Source, Doc("how fresh the list is, and its revision")]
    totals: Annotated[Totals, Doc("counts over the whole catalogue, whatever the filter")]
    services: Annotated[PageOf[ServiceRow], Doc("the rows that match, one page of them")]
    namespaces: Annotated[tuple[str, ...], Doc("namespaces to choose from")]
    query: Annotated[ServiceQuery, Doc("what was asked for")] = field(metadata={"page_only": True})


class ServiceEndpoints:
    """`GET /services` and `/services.json`."""

    def __init__(self, feed: CatalogueFeed, pages: Pages) -> None:
        self._feed = feed
        self._pages = pages
        self._summaries = Summaries()

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        for path in ("/services", "/services.json"):
            router.add_api_route(path, self.list, methods=["GET"])
        return router

    async def list(self, request: Request) -> Response:
        """Show the services that the address asks for."""
        page = self.page(ServiceQuery.parse(request.query_params))
        if wants_json(request):
            return JSONBody(page)
        template = "services/_list.html" if is_fragment(request) else "services/list.html"
        return self._pages.html(request, template, page, section=Section.SERVICES)

    def page(self, query: ServiceQuery) -> ServicesPage:
        """Return the list as of the newest view."""
        view = self._feed.view
        rows = self._summaries.rows(view)
        return ServicesPage(
            source=self._feed.source(),
            totals=count(rows),
            services=PageOf.of(select(rows, query), query.page, PAGE_SIZE),
            namespaces=namespaces_of(view),
            query=query,
        )
