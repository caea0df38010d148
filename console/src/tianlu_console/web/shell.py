"""What surrounds every page: language, theme, navigation, the visitor, how fresh the data is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final
from urllib.parse import urlencode

from annotated_doc import Doc

from tianlu import ServiceKey
from tianlu_console.access.sessions import Visitor
from tianlu_console.catalogue.source import Source
from tianlu_console.web.languages import Language

THEME_COOKIE: Final = "tianlu_theme"


class Theme(StrEnum):
    """How the pages are coloured."""

    AUTO = "auto"
    LIGHT = "light"
    DARK = "dark"


def choose_theme(cookie: str | None) -> Theme:
    """Return the reader's theme; the system's if he chose none."""
    return Theme(cookie) if cookie in set(Theme) else Theme.AUTO


class Section(StrEnum):
    """The parts of the console that the navigation leads to."""

    SERVICES = "services"
    AUDIT = "audit"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """The typed context of layout.html, beside the page's own."""

    base: Annotated[str, Doc("where the console's addresses begin, without a slash at the end")]
    language: Annotated[Language, Doc("the reader's language")]
    languages: Annotated[tuple[Language, ...], Doc("all languages, for the switch")]
    theme: Annotated[Theme, Doc("the reader's theme")]
    section: Annotated[Section, Doc("where the page stands in the navigation")]
    visitor: Annotated[Visitor | None, Doc("who is signed in")]
    source: Annotated[Source, Doc("how fresh the page's data is")]
    live_url: Annotated[str, Doc('the page\'s event stream; "" where nothing can change')]
    here: Annotated[str, Doc("the page's own address, to come back to")]


def live_url(base: str, revision: int, service: ServiceKey | None) -> str:
    """Return the address of the event stream for a page made at `revision`."""
    query: dict[str, object] = {"since": revision}
    if service is not None:
        query |= {"namespace": service.namespace, "service": service.name}
    return f"{base}/live?{urlencode(query)}"
