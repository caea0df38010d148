"""The console in Chromium, over a catalogue fed by hand: what only a browser can show."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from conftest import quick_passwords, shop
from console_browser import BrowserProblems, RunningSite, chromium, create_first, running_site
from console_catalogue import instance, suspect
from playwright.async_api import Page, expect

AXE = Path(__file__).parents[2] / "console/frontend/node_modules/axe-core/axe.min.js"

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSite]:
    catalogue = shop()
    async with running_site(
        tmp_path_factory.mktemp("console"), catalogue, quick_passwords()
    ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def signed_in(site: RunningSite) -> AsyncIterator[Page]:
    async with chromium(locale="en-US", timezone_id="Asia/Shanghai") as context:
        page = context.pages[0]
        await create_first(page, site)
        yield page


@pytest_asyncio.fixture(loop_scope="module")
async def page(signed_in: Page, site: RunningSite) -> AsyncIterator[Page]:
    """A page without errors; what a test expects to fail it takes out of `problems`."""
    problems = BrowserProblems(signed_in)
    await signed_in.context.clear_cookies(name=re.compile("tianlu_(theme|language)"))
    yield signed_in
    problems.stop()
    assert problems.found == []


async def open_live(page: Page, url: str) -> None:
    """Open a page and wait until its stream stands, so that what follows is live and not luck."""
    await page.goto(url)
    await expect(page.locator("html")).to_have_attribute("data-stream", "up")
    await page.evaluate("window.sameDocument = true")


async def not_reloaded(page: Page) -> bool:
    return bool(await page.evaluate("window.sameDocument === true"))


async def test_first_visit_leads_to_the_list(page: Page, site: RunningSite) -> None:
    await open_live(page, f"{site.url}/services")
    await expect(page.get_by_role("heading", name="Services")).to_be_visible()
    await page.get_by_role("link", name="orders").click()
    await expect(page.get_by_role("heading", name="orders.default")).to_be_visible()
    await expect(page.get_by_role("row")).to_have_count(9)


async def test_a_killed_instance_shows_within_two_seconds(page: Page, site: RunningSite) -> None:
    site.catalogue.put(instance(id="orders-9"))
    await open_live(page, f"{site.url}/services/default/orders")
    row = page.locator("#instance-orders-9")
    await expect(row).to_contain_text("Serving")
    started = time.monotonic()
    site.catalogue.put(suspect(instance(id="orders-9")))
    await expect(row).to_contain_text("Suspect", timeout=2000)
    site.catalogue.remove("default", "orders", "orders-9")
    await expect(row).to_have_count(0, timeout=2000)
    assert time.monotonic() - started < 4
    assert await not_reloaded(page)
    await expect(page.locator("#source [data-revision]")).to_have_text(str(site.catalogue.revision))


async def test_a_refresh_keeps_focus_typed_text_and_open_details(
    page: Page, site: RunningSite
) -> None:
    await open_live(page, f"{site.url}/services/default/orders")
    await page.locator("#details-orders-1 summary").click()
    search = page.get_by_role("searchbox")
    await search.press_sequentially("orders-", delay=5)
    before = await page.locator("#instance-orders-1 .number").inner_text()
    site.catalogue.put(instance(id="orders-1", weight=int(before) + 7))
    await expect(page.locator("#instance-orders-1 .number")).to_have_text(str(int(before) + 7))
    await expect(search).to_be_focused()
    await expect(search).to_have_value("orders-")
    await expect(page.locator("#details-orders-1")).to_have_attribute("open", "")
    assert await not_reloaded(page)


async def test_isolate_with_a_reason_and_restore(page: Page, site: RunningSite) -> None:
    await open_live(page, f"{site.url}/services/default/inventory")
    opener = page.get_by_role("link", name="Isolate inventory-1")
    await opener.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_label("Reason")).to_be_focused()
    await dialog.get_by_role("button", name="Isolate").click()
    await expect(dialog).to_contain_text("Say why")
    await dialog.get_by_label("Reason").fill("disk errors")
    await dialog.get_by_label("Ends").select_option("3600")
    await dialog.get_by_role("button", name="Isolate").click()
    await expect(dialog).to_have_count(0)
    row = page.locator("#instance-inventory-1")
    await expect(row).to_contain_text("Isolated")
    await expect(row).to_contain_text("disk errors")
    await expect(row).to_contain_text(re.compile(r"ends in (1 hour|59 minutes|60 minutes)"))
    await expect(page.get_by_role("link", name="Restore inventory-1")).to_be_focused()

    await page.get_by_role("link", name="Restore inventory-1").click()
    await expect(dialog).to_contain_text("takes traffic again")
    await dialog.get_by_role("button", name="Restore").click()
    await expect(row).to_contain_text("Serving")
    assert await not_reloaded(page)
    await page.get_by_role("link", name="Audit").last.click()
    await expect(page.get_by_role("row").nth(1)).to_contain_text("Restored an instance")
    await expect(page.get_by_role("row").nth(2)).to_contain_text("disk errors")


async def test_the_dialog_closes_by_key_and_by_button(page: Page, site: RunningSite) -> None:
    await open_live(page, f"{site.url}/services/default/inventory")
    dialog, opener = (
        page.get_by_role("dialog"),
        page.get_by_role("link", name="Isolate inventory-2"),
    )
    for close in ("Escape", "Cancel", "Close"):
        await opener.click()
        await expect(dialog).to_be_visible()
        if close == "Escape":
            await page.keyboard.press("Escape")
        else:
            await dialog.get_by_text(close).or_(dialog.get_by_label(close)).first.click()
        await expect(dialog).to_have_count(0)
        await expect(opener).to_be_focused()
    assert await not_reloaded(page)


async def test_the_command_is_copied(page: Page, site: RunningSite) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await open_live(page, f"{site.url}/services/default/inventory")
    await page.get_by_role("link", name="Isolate inventory-2").click()
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("tianlu instance isolate inventory inventory-2 --namespace default")


async def test_filters_change_the_list_and_the_address_but_not_the_history(
    page: Page, site: RunningSite
) -> None:
    await open_live(page, f"{site.url}/services")
    length = await page.evaluate("history.length")
    await page.keyboard.press("/")
    await page.keyboard.type("inv")
    await expect(page.locator("[data-row-link]")).to_have_text(["inventory"])
    await expect(page).to_have_url(re.compile(r"\?q=inv&"))
    await page.get_by_label("Namespace").select_option("staging")
    await expect(page.get_by_text("No service matches")).to_be_visible()
    assert await page.evaluate("history.length") == length
    assert await not_reloaded(page)
    await page.reload()
    await expect(page.get_by_role("searchbox")).to_have_value("inv")
    await expect(page.get_by_label("Namespace")).to_have_value("staging")


async def test_rows_are_walked_with_the_keyboard(page: Page, site: RunningSite) -> None:
    await open_live(page, f"{site.url}/services")
    for key, name in (("j", "inventory"), ("j", "orders"), ("k", "inventory"), ("k", "inventory")):
        await page.keyboard.press(key)
        await expect(page.get_by_role("link", name=name)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="inventory.default")).to_be_visible()


async def test_the_registry_going_away_and_coming_back_is_said(
    page: Page, site: RunningSite
) -> None:
    await open_live(page, f"{site.url}/services")
    site.catalogue.age_seconds = 5.0
    await expect(page.locator("#source")).to_contain_text(
        re.compile("Registry away, last heard .*ago")
    )
    await expect(page.locator("[data-row-link]")).to_have_count(4)
    site.catalogue.age_seconds = 0.0
    await expect(page.locator("#source")).to_contain_text("Live")
    assert await not_reloaded(page)


async def test_times_are_the_readers(page: Page, site: RunningSite) -> None:
    await open_live(page, f"{site.url}/audit")
    shown = page.locator("time").first
    await expect(shown).not_to_contain_text("UTC")
    moment = await shown.get_attribute("datetime")
    expected = await page.evaluate(
        "moment => new Intl.DateTimeFormat('en', {dateStyle: 'medium', timeStyle: 'medium'})"
        ".format(new Date(moment))",
        moment,
    )
    await expect(shown).to_have_text(expected)


async def test_language_and_theme_are_switched(page: Page, site: RunningSite) -> None:
    await open_live(page, f"{site.url}/services")
    await page.get_by_label("Language and theme").click()
    await page.get_by_role("button", name="简体中文").click()
    await expect(page.get_by_role("heading", name="服务")).to_be_visible()
    await page.get_by_label("语言与主题").click()
    await page.get_by_role("button", name="深色").click()
    await expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    await page.emulate_media(color_scheme="dark")
    await page.get_by_label("语言与主题").click()
    await page.get_by_role("button", name="跟随系统").click()
    await expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    await page.emulate_media(color_scheme="light")
    await expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")


async def test_an_ended_session_leads_to_the_sign_in_page_and_back(
    page: Page, site: RunningSite
) -> None:
    await open_live(page, f"{site.url}/services/default/orders")
    cookies = await page.context.cookies()
    await page.context.clear_cookies(name="tianlu_session")
    site.catalogue.publish()
    site.catalogue.put(instance(id="orders-2", weight=3))
    await page.wait_for_url("**/sign-in?next=*orders*")
    await page.context.add_cookies(cookies)  # type: ignore[arg-type]


async def test_streams_of_closed_pages_are_let_go(page: Page, site: RunningSite) -> None:
    await open_live(page, f"{site.url}/services")
    await page.goto("about:blank")
    async with asyncio.timeout(5):
        while site.console.hub.clients:
            await asyncio.sleep(0.02)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: build the front end")
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_accessibility_fault_is_found(page: Page, site: RunningSite, theme: str) -> None:
    """axe-core's rules, contrast among them. Source: deque axe-core, WCAG 2.2 levels A and AA."""
    await page.context.add_cookies(
        [{"name": "tianlu_theme", "value": theme, "url": f"{site.url}/"}]
    )
    site.catalogue.put(*(replace(each, mod_revision=0) for each in shop().instances.values()))
    for path in ("/services", "/services/default/orders", "/audit", "/nope"):
        await page.goto(site.url + path)
        assert await faults(page) == [], path
    await page.goto(f"{site.url}/services/default/orders")
    await page.get_by_role("link", name="Isolate orders-1").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await faults(page) == [], "dialog"


async def faults(page: Page) -> list[str]:
    """Return axe-core's findings; it runs in a world of its own, which the page's policy allows."""
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Page.getFrameTree")
    world = await session.send(
        "Page.createIsolatedWorld",
        {"frameId": tree["frameTree"]["frame"]["id"], "worldName": "axe"},
    )
    source = AXE.read_text(encoding="utf-8")
    run = (
        "axe.run(document, {resultTypes: ['violations']}).then(found => JSON.stringify("
        "found.violations.flatMap(each => each.nodes.map("
        "node => `${each.id} ${node.target} ${node.failureSummary}`))))"
    )
    context = world["executionContextId"]
    await session.send("Runtime.evaluate", {"expression": source, "contextId": context})
    answer = await session.send(
        "Runtime.evaluate",
        {"expression": run, "contextId": context, "awaitPromise": True, "returnByValue": True},
    )
    return list(json.loads(answer["result"]["value"]))
