"""The audit log's page and its JSON twin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Self
from urllib.parse import urlencode

from annotated_doc import Doc
from fastapi import APIRouter, Request
from fastapi.responses import Response

from tianlu_console.audit.log import AuditLog, Entry, Filter
from tianlu_console.web.listing import PageOf, page_number, search_text, span_of
from tianlu_console.web.negotiation import JSONBody, is_fragment, wants_json
from tianlu_console.web.pages import Pages
from tianlu_console.web.shell import Section

PAGE_SIZE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery:
    """What the address asks for."""

    filter: Filter
    page: int

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        """Read `q`, `namespace`, `service` and `page`. Raises `InvalidForm`."""
        wanted = Filter(
            search=search_text(parameters),
            namespace=parameters.get("namespace", ""),
            service=parameters.get("service", ""),
        )
        return cls(filter=wanted, page=page_number(parameters))

    @property
    def filtered(self) -> bool:
        """Whether some entries may be left out."""
        return self.filter != Filter()

    def address(self, *, page: int = 1) -> str:
        """Return the query part of the address for another page of the same entries."""
        parameters = {
            "q": self.filter.search,
            "namespace": self.filter.namespace,
            "service": self.filter.service,
            "page": "" if page == 1 else str(page),
        }
        encoded = urlencode({name: value for name, value in parameters.items() if value})
        return f"?{encoded}" if encoded else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """The context of audit/list.html, and its JSON twin."""

    entries: Annotated[PageOf[Entry], Doc("the entries that match, newest first, one page of them")]
    query: Annotated[AuditQuery, Doc("what was asked for")] = field(metadata={"page_only": True})


class AuditEndpoints:
    """`GET /audit` and `/audit.json`."""

    def __init__(self, audit: AuditLog, pages: Pages) -> None:
        self._audit = audit
        self._pages = pages

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        for path in ("/audit", "/audit.json"):
            router.add_api_route(path, self.list, methods=["GET"])
        return router

    def list(self, request: Request) -> Response:
        """Show the entries that the address asks for. Blocks on the database, so it is no
        coroutine.
        """
        page = self.page(AuditQuery.parse(request.query_params))
        if wants_json(request):
            return JSONBody(page)
        template = "audit/_list.html" if is_fragment(request) else "audit/list.html"
        return self._pages.html(request, template, page, section=Section.AUDIT)

    def page(self, query: AuditQuery) -> AuditPage:
        """Return one page of the log."""
        total = self._audit.count(query.filter)
        span = span_of(total, query.page, PAGE_SIZE)
        entries = self._audit.read(query.filter, offset=span.offset, limit=PAGE_SIZE)
        return AuditPage(entries=PageOf.at(entries, total, span), query=query)
