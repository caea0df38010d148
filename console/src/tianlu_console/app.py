"""The composition root: everything that makes one console, wired from top to bottom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import RedirectResponse
from sqlalchemy import Engine

from tianlu_console.access.attempts import AttemptLimiter
from tianlu_console.access.endpoints import AccessEndpoints
from tianlu_console.access.gate import Gate
from tianlu_console.access.passwords import Passwords
from tianlu_console.access.people import People
from tianlu_console.access.service import Access
from tianlu_console.access.sessions import Sessions
from tianlu_console.audit.endpoints import AuditEndpoints
from tianlu_console.audit.log import AuditLog
from tianlu_console.catalogue.feed import CatalogueFeed
from tianlu_console.catalogue.seam import Catalogue
from tianlu_console.clock import Clock, system_clock
from tianlu_console.instances.endpoints import InstanceEndpoints
from tianlu_console.instances.overrides import Overrides
from tianlu_console.live.endpoints import LiveEndpoints
from tianlu_console.live.hub import LiveHub
from tianlu_console.metrics import CountAnswers, Metrics
from tianlu_console.services.endpoints import ServiceEndpoints
from tianlu_console.status import StatusEndpoints
from tianlu_console.web.assets import Assets
from tianlu_console.web.failures import Failures
from tianlu_console.web.languages import load_translations
from tianlu_console.web.pages import Pages
from tianlu_console.web.security import SecurityHeaders, check_same_site


@dataclass(frozen=True, slots=True)
class Console:
    """One console: the ASGI application and what its process needs of it."""

    app: FastAPI
    access: Access
    hub: LiveHub


def build_console(
    catalogue: Catalogue,
    engine: Engine,
    *,
    base_path: str,
    clock: Clock = system_clock,
    passwords: Passwords | None = None,
) -> Console:
    """Wire a console. Must be called in the event loop that will serve it.

    Args:
        catalogue: where services come from; stays the caller's to close.
        engine: the console's own database; stays the caller's to dispose of.
        base_path: where addresses begin, such as "/console"; "" for the root.
    """
    loop = asyncio.get_running_loop()
    hub = LiveHub()
    feed = CatalogueFeed(catalogue, clock)
    feed.listen(hub.catalogue_changed)

    # The log is written in worker threads, the hub belongs to the loop.
    def audit_changed() -> None:
        loop.call_soon_threadsafe(hub.audit_changed)

    metrics = Metrics()
    metrics.observe(feed, hub)
    audit = AuditLog(engine, clock, on_change=audit_changed, on_outcome=metrics.acted)
    sessions = Sessions(engine, clock)
    access = Access(
        People(engine), sessions, passwords or Passwords(), AttemptLimiter(clock), clock
    )
    gate = Gate(sessions, base_path)
    assets = Assets(base_path)
    pages = Pages(load_translations(), assets, base_path, feed)
    overrides = Overrides(catalogue, feed, audit, clock)

    status = StatusEndpoints(feed, pages, metrics)
    inside = APIRouter(dependencies=[Depends(gate)])
    inside.include_router(ServiceEndpoints(feed, pages).router())
    inside.include_router(InstanceEndpoints(feed, overrides, pages, base_path).router())
    inside.include_router(AuditEndpoints(audit, pages).router())
    inside.include_router(LiveEndpoints(hub, feed, sessions).router())
    inside.include_router(status.inside())

    app = FastAPI(
        title="Tianlu console",
        openapi_url=None,
        lifespan=_lifespan(feed),
        dependencies=[Depends(_same_site)],
    )
    app.include_router(status.probes())
    app.include_router(assets.router(), prefix=base_path)
    app.include_router(
        AccessEndpoints(access, sessions, gate, audit, pages, base_path).router(), prefix=base_path
    )
    app.include_router(inside, prefix=base_path)
    _redirect_home(app, base_path)
    Failures(pages, gate, base_path).install(app)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(CountAnswers, metrics=metrics)
    return Console(app, access, hub)


def _lifespan(feed: CatalogueFeed) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(feed.run(), name="catalogue-feed")
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    return lifespan


def _same_site(request: Request) -> None:
    check_same_site(request.method, request.headers)


def _redirect_home(app: FastAPI, base_path: str) -> None:
    """Lead from the root, the base path and the base path with a slash to the first page."""

    async def home() -> RedirectResponse:
        return RedirectResponse(f"{base_path}/services", status_code=303)

    for path in {"/", base_path or "/", f"{base_path}/"}:
        app.add_api_route(path, home, methods=["GET"], response_class=RedirectResponse)
