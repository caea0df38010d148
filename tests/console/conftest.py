"""A console in this process, over a catalogue fed by hand, and a browser's worth of cookies."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from console_catalogue import NOW, HandFedCatalogue, instance, isolated, suspect
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Engine

from tianlu import InstanceStatus, LoadBalancer, Service
from tianlu_console.access.passwords import Passwords
from tianlu_console.app import Console, build_console
from tianlu_console.database import open_database
from tianlu_console.web import pages

PASSWORD = "a long enough password"
BASE = "/console"


@dataclass
class SettableClock:
    """Milliseconds since 1970 that tests move by hand."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


@dataclass
class Site:
    """A running application and what tests reach behind it."""

    console: Console
    catalogue: HandFedCatalogue
    engine: Engine
    clock: SettableClock
    http: httpx.AsyncClient
    first_visit: str = field(default="")

    async def create_first(self, **changes: str) -> httpx.Response:
        token = self.console.access.issue_first_visit() or ""
        form = {"token": token, "name": "Ada", "password": PASSWORD, "repeated": PASSWORD} | changes
        return await self.http.post(f"{BASE}/first-visit", data=form)


def shop() -> HandFedCatalogue:
    """A catalogue with an instance in every state."""
    return HandFedCatalogue(
        [
            instance(id="orders-1"),
            instance(id="orders-2", version="1.5.0", zone="z2"),
            isolated(instance(id="orders-3"), expires=NOW + 3_600_000),
            suspect(instance(id="orders-4")),
            instance(
                id="orders-5",
                status=InstanceStatus.STARTING,
                ports=(),
                zone="",
                version="",
                metadata={},
            ),
            instance(id="orders-6", status=InstanceStatus.DRAINING),
            instance(id="orders-7", status=InstanceStatus.DOWN),
            instance(id="orders-8", weight=0),
            instance(service="inventory", id="inventory-1"),
            instance(service="inventory", id="inventory-2"),
            instance(service="web", id="web-1", namespace="staging", status=InstanceStatus.DOWN),
        ],
        [
            Service(
                "default",
                "orders",
                "Takes orders",
                "checkout",
                LoadBalancer.ROUND_ROBIN,
                {"tier": "1"},
            ),
            Service("default", "inventory", "What is in stock", "warehouse"),
            Service("default", "refunds", "Nothing runs yet", ""),
        ],
    )


class CompiledTemplates(BytecodeCache):
    """Compiled templates for the whole run: each test makes its own environments."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def compiled_templates() -> Iterator[None]:
    environment = functools.partial(pages.Environment, bytecode_cache=CompiledTemplates())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "Environment", environment)
        yield


@pytest.fixture
def catalogue() -> HandFedCatalogue:
    return shop()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


def quick_passwords() -> Passwords:
    """The same algorithm with the least cost that it allows: tests are not attacked."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
async def site(
    tmp_path: Path, catalogue: HandFedCatalogue, clock: SettableClock
) -> AsyncIterator[Site]:
    engine = open_database(tmp_path)
    console = build_console(
        catalogue, engine, base_path=BASE, clock=clock, passwords=quick_passwords()
    )
    transport = httpx.ASGITransport(console.app, raise_app_exceptions=False)
    async with (
        console.app.router.lifespan_context(console.app),
        httpx.AsyncClient(transport=transport, base_url="http://console.test") as http,
    ):
        yield Site(console, catalogue, engine, clock, http)
    engine.dispose()


@pytest.fixture
async def inside(site: Site) -> Site:
    """A site where the first administrator has signed in."""
    answer = await site.create_first()
    assert answer.status_code == 303
    return site
