"""Rendering: a typed page context and a template make an answer in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from gettext import NullTranslations
from pathlib import Path
from typing import Any, Final, Literal

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tianlu import ServiceKey
from tianlu_console.access.gate import visitor_or_none
from tianlu_console.catalogue.feed import CatalogueFeed
from tianlu_console.text import Text
from tianlu_console.web.assets import Assets
from tianlu_console.web.languages import COOKIE as LANGUAGE_COOKIE
from tianlu_console.web.languages import LANGUAGES, Language, choose_language
from tianlu_console.web.shell import THEME_COOKIE, Section, Shell, choose_theme, live_url

TEMPLATE_DIR: Final = Path(__file__).parent.parent / "templates"

# Pages show what is now and who is signed in: neither a proxy nor the back button may show an old
# one. Vary: one address answers whole pages and fragments.
PAGE_HEADERS: Final = {
    "cache-control": "no-store",
    "vary": "HX-Request, Accept, Accept-Language, Cookie",
}


class Pages:
    """Renders templates. One Jinja environment per language, shared by all requests."""

    def __init__(
        self,
        translations: Mapping[str, NullTranslations],
        assets: Assets,
        base_path: str,
        feed: CatalogueFeed,
    ) -> None:
        self._translations = translations
        self._base = base_path
        self._feed = feed
        self._environments = {
            tag: make_environment(each, assets) for tag, each in translations.items()
        }

    def language(self, request: Request) -> Language:
        """Return the language that the request's reader gets."""
        cookie = request.cookies.get(LANGUAGE_COOKIE)
        return choose_language(cookie, request.headers.get("accept-language", ""))

    def say(self, request: Request, text: Text) -> str:
        """Return `text` in the reader's language."""
        return text.render(self._translations[self.language(request).tag])

    def html(
        self,
        request: Request,
        template: str,
        page: object,
        *,
        section: Section = Section.NONE,
        service: ServiceKey | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Render `template`.

        Args:
            page: the template's typed context, named `page` in it.
            service: the service that the page shows, so that its stream tells of it.
        """
        shell = self._shell(request, section, service)
        environment = self._environments[shell.language.tag]
        body = environment.get_template(template).render(page=page, shell=shell)
        response = HTMLResponse(
            body, status_code=status, headers=PAGE_HEADERS | dict(headers or {})
        )
        response.headers["content-language"] = shell.language.tag
        return response

    def _shell(self, request: Request, section: Section, service: ServiceKey | None) -> Shell:
        visitor, source = visitor_or_none(request), self._feed.source()
        query = f"?{request.url.query}" if request.url.query else ""
        return Shell(
            base=self._base,
            language=self.language(request),
            languages=tuple(LANGUAGES.values()),
            theme=choose_theme(request.cookies.get(THEME_COOKIE)),
            section=section,
            visitor=visitor,
            source=source,
            live_url=live_url(self._base, source.revision, service) if visitor else "",
            here=request.url.path + query,
        )


def make_environment(translations: NullTranslations, assets: Assets) -> Environment:
    """Return the templates of one language. An unknown name in a template is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_DIR),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    # The i18n extension adds this method at run time.
    install: Any = environment
    install.install_gettext_translations(translations, newstyle=True)
    environment.globals["asset"] = assets.url
    environment.filters["moment"] = moment
    environment.filters["translated"] = lambda text: text and translations.gettext(text)
    environment.filters["say"] = lambda text: text.render(translations)
    return environment


def moment(unix_ms: int, style: Literal["relative", "absolute"] = "absolute") -> Markup:
    """Return a <time> element: UTC here, the reader's zone and language once the page's script has
    run.
    """
    at = datetime.fromtimestamp(unix_ms / 1000, UTC)
    return Markup('<time datetime="{}" data-time="{}">{} UTC</time>').format(
        at.isoformat(timespec="milliseconds"), style, at.strftime("%Y-%m-%d %H:%M:%S")
    )
