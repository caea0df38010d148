"""A console on a real socket, and Chromium."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from console_catalogue import HandFedCatalogue
from playwright.async_api import BrowserContext, ConsoleMessage, Error, Page, async_playwright

from tianlu_console.access.passwords import Passwords
from tianlu_console.app import Console, build_console
from tianlu_console.database import open_database

CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BASE = "/console"
PASSWORD = "a long enough password"


@dataclass
class RunningSite:
    """A console that a browser can reach."""

    url: str
    console: Console
    catalogue: HandFedCatalogue


@asynccontextmanager
async def running_site(
    data_dir: Path, catalogue: HandFedCatalogue, passwords: Passwords
) -> AsyncIterator[RunningSite]:
    """Serve a console over a catalogue fed by hand, on a port of the kernel's choice."""
    engine = open_database(data_dir)
    console = build_console(catalogue, engine, base_path=BASE, passwords=passwords)
    server = uvicorn.Server(
        uvicorn.Config(
            console.app, port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=2
        )
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    try:
        yield RunningSite(f"http://{host}:{port}{BASE}", console, catalogue)
    finally:
        console.hub.close()
        server.should_exit = True
        await serving
        engine.dispose()


@asynccontextmanager
async def chromium(**options: object) -> AsyncIterator[BrowserContext]:
    """Start Chromium with an empty profile; whatever a page logs as an error fails the test."""
    with tempfile.TemporaryDirectory(prefix="tianlu-chromium-") as profile:
        async with async_playwright() as playwright:
            context = await playwright.chromium.launch_persistent_context(
                profile,
                executable_path=CHROMIUM,
                args=CHROMIUM_FLAGS,
                viewport={"width": 1280, "height": 800},
                **options,  # type: ignore[arg-type]
            )
            try:
                yield context
            finally:
                await context.close()


async def create_first(page: Page, site: RunningSite) -> None:
    """Open the first-visit link and create the administrator."""
    token = site.console.access.issue_first_visit()
    await page.goto(f"{site.url}/first-visit?token={token}")
    await page.get_by_label("Name", exact=True).fill("ada")
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("Password again").fill(PASSWORD)
    await page.get_by_role("button", name="Create and sign in").click()
    await page.wait_for_url("**/services")


class BrowserProblems:
    """Collects what the page's own script and the browser complain about."""

    # Chromium logs each answer of 400 and above; whether it was right is the test's business.
    EXPECTED = ("Failed to load resource",)

    def __init__(self, page: Page) -> None:
        self.found: list[str] = []
        self._page = page
        page.on("console", self._console)
        page.on("pageerror", self._error)

    def stop(self) -> None:
        self._page.remove_listener("console", self._console)
        self._page.remove_listener("pageerror", self._error)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(self.EXPECTED):
            self.found.append(message.text)

    def _error(self, error: Error) -> None:
        self.found.append(str(error))
