"""The console, a registry and an application as real processes, seen through Chromium."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from console_browser import PASSWORD, chromium
from console_processes import Part, application, console_arguments, part
from playwright.async_api import Page, expect

from tianlu import AsyncClient

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SHOWN_WITHIN_MS = 2000


def registry_arguments(directory: Path, url: str = "http://127.0.0.1:0") -> list[str]:
    return ["registry", "--data-dir", str(directory / "data"), "--listen-client-urls", url]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("platform")


@pytest.fixture(scope="module")
def registry(directory: Path) -> Iterator[Part]:
    with part(directory / "registry", *registry_arguments(directory / "registry")) as running:
        yield running


@pytest.fixture(scope="module")
def registry_url(registry: Part) -> str:
    return str(registry.addresses["client_urls"][0])


@pytest.fixture(scope="module")
def console(directory: Path, registry_url: str) -> Iterator[Part]:
    arguments = console_arguments(directory / "console", registry_url)
    with part(directory / "console", *arguments) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(console: Part) -> AsyncIterator[Page]:
    async with chromium(locale="en-US") as context:
        page = context.pages[0]
        await page.goto(console.addresses["http"] + console.addresses["first_visit_path"])
        await page.get_by_label("Name", exact=True).fill("ada")
        await page.get_by_label("Password", exact=True).fill(PASSWORD)
        await page.get_by_label("Password again").fill(PASSWORD)
        await page.get_by_role("button", name="Create and sign in").click()
        yield page


async def test_a_killed_application_shows_within_two_seconds(
    page: Page, console: Part, registry_url: str
) -> None:
    await expect(page.get_by_text("No services yet")).to_be_visible()
    with application(registry_url, "orders", "orders-1") as first:
        await expect(page.get_by_role("link", name="orders")).to_be_visible(timeout=SHOWN_WITHIN_MS)
        await page.get_by_role("link", name="orders").click()
        row = page.locator("#instance-orders-1")
        await expect(row).to_contain_text("Serving")
        await expect(page.locator("html")).to_have_attribute("data-stream", "up")
        await page.evaluate("window.sameDocument = true")
        with application(registry_url, "orders", "orders-2"):
            second = page.locator("#instance-orders-2")
            await expect(second).to_contain_text("Serving", timeout=SHOWN_WITHIN_MS)
        await expect(second).to_contain_text("Suspect", timeout=SHOWN_WITHIN_MS)
        await expect(second).to_have_count(0, timeout=15_000)
        await expect(row).to_contain_text("Serving")
        first.kill()
        await expect(row).to_contain_text("Suspect", timeout=SHOWN_WITHIN_MS)
        await expect(page.get_by_text("No instances", exact=True).first).to_be_visible(
            timeout=15_000
        )
    assert await page.evaluate("window.sameDocument === true")


async def test_an_isolation_reaches_the_registry(
    page: Page, console: Part, registry_url: str
) -> None:
    with application(registry_url, "stock", "stock-1"):
        await page.goto(f"{console.addresses['http']}/console/services/default/stock")
        await page.get_by_role("link", name="Isolate stock-1").click()
        await page.get_by_label("Reason").fill("leaks memory")
        await page.get_by_role("dialog").get_by_role("button", name="Isolate").click()
        row = page.locator("#instance-stock-1")
        await expect(row).to_contain_text("leaks memory")
        async with AsyncClient([registry_url]) as client:
            held = (await client.list_instances("stock")).items[0]
            assert held.override is not None
            assert (held.override.reason, held.override.actor) == ("leaks memory", "ada")
            discovered = await client.discover("stock", min_revision=held.mod_revision)
            assert discovered.instances == ()

            await page.get_by_role("link", name="Restore stock-1").click()
            await page.get_by_role("dialog").get_by_role("button", name="Restore").click()
            await expect(row).to_contain_text("Serving")
            held = (await client.list_instances("stock")).items[0]
            assert not held.isolated
    await page.goto(f"{console.addresses['http']}/console/audit?q=leaks")
    await expect(page.get_by_role("row").nth(1)).to_contain_text("Isolated an instance")


async def test_the_console_works_while_the_registry_is_away(
    page: Page, directory: Path, console: Part, registry: Part, registry_url: str
) -> None:
    """Last in this file: it ends the registry and the console that the others share."""
    async with AsyncClient([registry_url]) as client:
        await client.register("billing", id="billing-1", port=8000)
        await page.goto(f"{console.addresses['http']}/console/services")
        await expect(page.get_by_role("link", name="billing")).to_be_visible()
        registry.kill()
        source = page.locator("#source")
        await expect(source).to_contain_text("Registry away", timeout=SHOWN_WITHIN_MS)
        await page.get_by_role("link", name="billing").click()
        await page.get_by_role("link", name="Isolate billing-1").click()
        await page.get_by_label("Reason").fill("no registry")
        await page.get_by_role("dialog").get_by_role("button", name="Isolate").click()
        await expect(page.get_by_role("dialog")).to_contain_text(
            re.compile("cannot be reached|did not answer"), timeout=15_000
        )
        assert console.stop() == 0
        again = console_arguments(directory / "console", registry_url)
        with part(directory / "console", *again) as restarted:
            await page.goto(f"{restarted.addresses['http']}/console/services")
            await expect(page.get_by_role("link", name="billing")).to_be_visible()
            await expect(source).to_contain_text("(from disk)")
            arguments = registry_arguments(directory / "registry", registry_url)
            with part(directory / "registry", *arguments):
                await expect(source).to_contain_text("Live", timeout=15_000)
                await expect(page.get_by_role("link", name="billing")).to_be_visible()
