"""Templates: each in both languages, typed contexts that are used whole, every text translated,
every icon there.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from annotated_doc import Doc
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from conftest import BASE, Site

import tianlu_console
from tianlu_console.access.endpoints import FirstVisitPage, SignInPage
from tianlu_console.audit.endpoints import AuditPage
from tianlu_console.instances.contexts import InstancesPage, IsolatePage, RestorePage
from tianlu_console.services.endpoints import ServicesPage
from tianlu_console.status import SourcePage
from tianlu_console.web.failures import FailurePage
from tianlu_console.web.languages import LANGUAGES
from tianlu_console.web.pages import TEMPLATE_DIR, Pages
from tianlu_console.web.shell import Shell

PACKAGE = Path(tianlu_console.__file__).parent
CONTEXTS = {
    "access/sign_in.html": SignInPage,
    "access/first_visit.html": FirstVisitPage,
    "services/list.html": ServicesPage,
    "services/_list.html": ServicesPage,
    "instances/list.html": InstancesPage,
    "instances/_list.html": InstancesPage,
    "instances/isolate.html": IsolatePage,
    "instances/_isolate.html": IsolatePage,
    "instances/restore.html": RestorePage,
    "instances/_restore.html": RestorePage,
    "audit/list.html": AuditPage,
    "audit/_list.html": AuditPage,
    "failure.html": FailurePage,
    "_source.html": SourcePage,
}
NEVER_RENDERED_ALONE = {"layout.html", "_macros.html", "instances/_form.html"}
FRAGMENT = {"hx-request": "true", "hx-request-type": "partial"}


def test_every_template_has_a_context() -> None:
    templates = {path.relative_to(TEMPLATE_DIR).as_posix() for path in TEMPLATE_DIR.rglob("*.html")}
    assert templates == set(CONTEXTS) | NEVER_RENDERED_ALONE


@pytest.mark.parametrize("context", [*dict.fromkeys(CONTEXTS.values()), Shell])
def test_every_field_of_a_context_says_what_it_is(context: type) -> None:
    hints = typing.get_type_hints(context, include_extras=True)
    for field in dataclasses.fields(context):
        help_texts = [
            each for each in getattr(hints[field.name], "__metadata__", ()) if isinstance(each, Doc)
        ]
        assert help_texts, f"{context.__name__}.{field.name}"


class Reads:
    """Passes a context on and notes which of its fields a template reads."""

    def __init__(self, context: object, seen: set[str]) -> None:
        self._context = context
        self._seen = seen

    def __getattr__(self, name: str) -> object:
        self._seen.add(name)
        return getattr(self._context, name)


async def visit_everything(site: Site) -> None:
    """Ask for every template at least once, in full states and in empty ones."""
    http, orders = site.http, f"{BASE}/services/default/orders"
    token = site.console.access.issue_first_visit()
    await http.get(f"{BASE}/first-visit", params={"token": token})
    await site.create_first(password="short")
    await http.get(f"{BASE}/sign-in")
    await site.create_first()
    await http.post(f"{BASE}/sign-in", data={"name": "x"})
    await http.post(f"{orders}/instances/orders-1/isolate", data={"reason": "100% broken"})
    for path in (
        "/services",
        "/services?q=zebra",
        "/services/default/orders",
        "/audit",
        "/audit?q=zebra",
    ):
        await http.get(BASE + path)
        await http.get(BASE + path, headers=FRAGMENT)
    for path in (
        "/services/default/refunds",
        "/services/default/orders?q=zebra",
        "/nope",
        "/services?page=x",
    ):
        await http.get(BASE + path)
    for action in ("isolate", "restore"):
        for headers in ({}, FRAGMENT):
            await http.get(f"{orders}/instances/orders-2/{action}", headers=headers)
            await http.post(
                f"{orders}/instances/orders-2/{action}", data={"reason": "x" * 501}, headers=headers
            )
    await http.get(f"{BASE}/source")
    for age, revision in ((30.0, 50), (0.0, -1)):
        site.catalogue.age_seconds, site.catalogue.revision = age, revision
        site.catalogue.instances.clear()
        site.catalogue.services.clear()
        site.catalogue.publish()
        await http.get(f"{BASE}/services")
        await http.get(f"{BASE}/services", headers=FRAGMENT)
        await http.get(f"{BASE}/source")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_template_renders_and_reads_its_whole_context(
    site: Site, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, set[str]] = {name: set() for name in CONTEXTS}
    shell_seen: set[str] = set()
    render = Pages.html
    make_shell = Pages._shell

    def spy(self: Pages, request: object, template: str, page: object, **options: object) -> object:
        assert type(page) is CONTEXTS[template]
        return render(self, request, template, Reads(page, seen[template]), **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Pages, "html", spy)
    monkeypatch.setattr(Pages, "_shell", lambda *given: Reads(make_shell(*given), shell_seen))
    site.http.headers["accept-language"] = language
    statuses: list[int] = []

    async def note(response: object) -> None:
        statuses.append(response.status_code)  # type: ignore[attr-defined]

    site.http.event_hooks["response"].append(note)
    await visit_everything(site)
    assert 500 not in statuses
    for template, names in seen.items():
        fields = {field.name for field in dataclasses.fields(CONTEXTS[template])}
        assert fields - names <= UNREAD.get(template, set()), template
    assert {field.name for field in dataclasses.fields(Shell)} <= shell_seen


# A list's filters are outside its fragment; the page's header shows the source, from the shell.
UNREAD = {
    "services/_list.html": {"namespaces"},
    "instances/list.html": {"source"},
    "instances/_list.html": {"source"},
}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_pages_say_their_language(inside: Site, language: str) -> None:
    inside.http.headers["accept-language"] = language
    page = await inside.http.get(f"{BASE}/services")
    assert f'<html lang="{language}"' in page.text
    assert page.headers["content-language"] == language


async def test_the_chosen_language_and_theme_win(inside: Site) -> None:
    inside.http.headers["accept-language"] = "en"
    answer = await inside.http.post(
        f"{BASE}/preferences", data={"language": "zh-Hans", "next": f"{BASE}/audit"}
    )
    assert answer.headers["location"] == f"{BASE}/audit"
    await inside.http.post(f"{BASE}/preferences", data={"theme": "dark"})
    page = (await inside.http.get(f"{BASE}/services")).text
    assert "服务中的实例" in page
    assert 'data-theme-choice="dark" data-bs-theme="dark"' in page
    error = await inside.http.get(f"{BASE}/services.json?page=x")
    assert error.json()["message"] == "部分字段需要修改。"


async def test_unknown_preferences_are_not_kept(inside: Site) -> None:
    answer = await inside.http.post(f"{BASE}/preferences", data={"language": "xx", "theme": "pink"})
    assert "set-cookie" not in answer.headers


def extracted() -> Iterator[str | tuple[str, ...]]:
    """Yield every text in the sources, as `pybabel extract` finds it."""
    methods = [("templates/**.html", "jinja2"), ("**.py", "python")]
    keywords = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
    options = {"templates/**.html": {"trimmed": "true"}}
    for _, _, message, _, _ in extract_from_dir(str(PACKAGE), methods, options, keywords):
        yield message


@pytest.mark.parametrize("language", [each for each in LANGUAGES.values() if each.directory])
def test_every_text_is_translated_and_no_translation_is_left_over(language: object) -> None:
    directory = language.directory  # type: ignore[attr-defined]
    with (PACKAGE / "locale" / directory / "LC_MESSAGES" / "console.po").open("rb") as stream:
        catalogue: Catalog = read_po(stream, locale=directory)
    texts = set(extracted())
    assert len(texts) > 100
    translated = {each.id for each in catalogue if each.id and each.string and not each.fuzzy}
    assert translated == texts
    for message in catalogue:
        if message.id:
            assert sorted(placeholders(message.string)) == sorted(placeholders(message.id)), (
                message.id
            )


def placeholders(text: object) -> list[str]:
    first = text[0] if isinstance(text, tuple) else text
    return re.findall(r"%\(\w+\)[sd]", str(first))


def test_no_page_says_a_text_that_cannot_be_translated() -> None:
    """Words between tags must come from _() or {% trans %}: find those that do not."""
    allowed = {"Tianlu", "· Tianlu"}
    for path in TEMPLATE_DIR.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(
            r"{% trans.*?{% endtrans %}|{#.*?#}|{%.*?%}|{{.*?}}|<pre.*?</pre>|<!--.*?-->",
            " ",
            text,
            flags=re.DOTALL,
        )
        for words in re.findall(r">([^<>{}]*[A-Za-z]{2}[^<>{}]*)<", text):
            attributes = '="' in words  # a macro that ends one attribute and begins the next
            assert attributes or words.strip() in allowed, f"{path.name}: {words.strip()!r}"


def test_every_icon_that_a_template_names_is_in_the_sprite() -> None:
    listed = (PACKAGE.parents[1] / "frontend" / "icons.txt").read_text().splitlines()
    icons = {line.strip() for line in listed if line.strip() and not line.startswith("#")}
    used = set()
    for path in TEMPLATE_DIR.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r'icon\("([\w-]+)"', text))
        used |= set(re.findall(r'badge\("\w+", "([\w-]+)"', text))
        used |= {"sun", "moon", "device-laptop", "sort-ascending", "sort-descending"}
    assert used == icons, "icons.txt lists what templates use, no more"
