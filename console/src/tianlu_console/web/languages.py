"""Which languages there are, and which one a reader gets."""

from __future__ import annotations

import gettext
from collections.abc import Mapping
from dataclasses import dataclass
from gettext import NullTranslations
from pathlib import Path
from types import MappingProxyType
from typing import Final

LOCALE_DIR: Final = Path(__file__).parent.parent / "locale"
DOMAIN: Final = "console"
COOKIE: Final = "tianlu_language"


@dataclass(frozen=True, slots=True)
class Language:
    """A language that the console speaks.

    Attributes:
        tag: as HTML and cookies name it (BCP 47).
        directory: as gettext names it; None for English, which the sources are written in.
        name: in the language itself.
    """

    tag: str
    directory: str | None
    name: str


ENGLISH: Final = Language("en", None, "English")
CHINESE: Final = Language("zh-Hans", "zh_Hans", "简体中文")
LANGUAGES: Final = MappingProxyType({language.tag: language for language in (ENGLISH, CHINESE)})


def load_translations() -> Mapping[str, NullTranslations]:
    """Return the catalogue of each language by its tag.

    Raises:
        FileNotFoundError: a .mo file is missing: the package was not built.
    """
    return {tag: _load(language) for tag, language in LANGUAGES.items()}


def choose_language(cookie: str | None, accept_language: str) -> Language:
    """Return the reader's language: what he chose, else the best of what his browser accepts, else
    English.
    """
    if cookie is not None and cookie in LANGUAGES:
        return LANGUAGES[cookie]
    for tag in _by_preference(accept_language):
        primary, _, rest = tag.lower().partition("-")
        if primary == "en":
            return ENGLISH
        # Traditional Chinese readers (zh-TW, zh-HK, zh-Hant) are served English rather than the
        # other script.
        if primary == "zh" and not rest.startswith(("tw", "hk", "mo", "hant")):
            return CHINESE
    return ENGLISH


def _load(language: Language) -> NullTranslations:
    if language.directory is None:
        return NullTranslations()
    return gettext.translation(DOMAIN, LOCALE_DIR, [language.directory])


def _by_preference(accept_language: str) -> list[str]:
    """Return the tags of an Accept-Language header, best first. Source: RFC 9110, 12.5.4."""
    weighted: list[tuple[float, str]] = []
    for part in accept_language.split(",")[:20]:
        tag, _, parameter = part.strip().partition(";")
        quality = parameter.strip().removeprefix("q=") or "1"
        try:
            weighted.append((float(quality), tag.strip()))
        except ValueError:
            continue
    return [tag for quality, tag in sorted(weighted, key=lambda pair: -pair[0]) if quality > 0]
