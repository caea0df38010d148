"""The open pages: first visit, sign-in, preferences; and signing out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Annotated, Final

from annotated_doc import Doc
from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from tianlu_console.access.gate import Gate, actor_of, visitor_of
from tianlu_console.access.passwords import PASSWORD_LENGTH_MIN
from tianlu_console.access.people import Person
from tianlu_console.access.service import Access, normalise_name
from tianlu_console.access.sessions import Sessions
from tianlu_console.audit.log import Action, Actor, AuditLog
from tianlu_console.errors import ConsoleError, InvalidForm, TooManyAttempts
from tianlu_console.text import Text
from tianlu_console.web.forwarded import client_address
from tianlu_console.web.languages import COOKIE as LANGUAGE_COOKIE
from tianlu_console.web.languages import LANGUAGES
from tianlu_console.web.pages import Pages
from tianlu_console.web.shell import THEME_COOKIE, Theme

_logger = logging.getLogger(__name__)

PREFERENCE_SECONDS: Final = 365 * 24 * 3600

FormText = Annotated[str, Form(max_length=4096)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInPage:
    """The context of access/sign_in.html."""

    name: Annotated[str, Doc("the name as typed so far")]
    next: Annotated[str, Doc("where to go afterwards")]
    problem: Annotated[Text | None, Doc("why the last attempt failed")]
    first_visit_due: Annotated[bool, Doc("nobody has an account yet: the printed link comes first")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstVisitPage:
    """The context of access/first_visit.html."""

    token: Annotated[str, Doc("the link's token, sent back with the form")]
    name: Annotated[str, Doc("the name as typed so far")]
    problems: Annotated[dict[str, Text], Doc("what is wrong, by field")]
    password_length_min: Annotated[int, Doc("shown as the rule")]


class AccessEndpoints:
    """`/first-visit`, `/sign-in`, `/sign-out`, `/preferences`. Endpoints block on the database, so
    all are `def`.
    """

    def __init__(
        self,
        access: Access,
        sessions: Sessions,
        gate: Gate,
        audit: AuditLog,
        pages: Pages,
        base_path: str,
    ) -> None:
        self._access = access
        self._sessions = sessions
        self._gate = gate
        self._audit = audit
        self._pages = pages
        self._base = base_path

    def router(self) -> APIRouter:
        """Return the routes; only signing out asks the gate."""
        router = APIRouter()
        router.add_api_route("/first-visit", self.show_first_visit, methods=["GET"])
        router.add_api_route("/first-visit", self.create_first, methods=["POST"])
        router.add_api_route("/sign-in", self.show_sign_in, methods=["GET"])
        router.add_api_route("/sign-in", self.sign_in, methods=["POST"])
        router.add_api_route(
            "/sign-out", self.sign_out, methods=["POST"], dependencies=[Depends(self._gate)]
        )
        router.add_api_route("/preferences", self.prefer, methods=["POST"])
        return router

    def show_first_visit(self, request: Request, token: str = "") -> Response:
        """Show the form that creates the first administrator."""
        self._access.check_first_visit(token)
        return self._first_visit(request, token, "admin", {}, 200)

    def create_first(
        self,
        request: Request,
        token: FormText = "",
        name: FormText = "",
        password: FormText = "",
        repeated: FormText = "",
    ) -> Response:
        """Create the first administrator and sign him in."""
        try:
            person = self._access.create_first(token, name, password, repeated)
        except InvalidForm as error:
            return self._first_visit(request, token, name, error.fields, error.status)
        actor = Actor(person.name, client_address(request.scope))
        self._audit.record(actor, Action.FIRST_ADMINISTRATOR_CREATED)
        _logger.info("first administrator created name=%s address=%s", person.name, actor.address)
        return self._enter(request, person, f"{self._base}/")

    def show_sign_in(self, request: Request, next: str = "") -> Response:  # noqa: A002 (the parameter's name in URLs)
        """Show the sign-in form."""
        return self._sign_in(request, "", self._gate.local_path(next), None)

    def sign_in(
        self,
        request: Request,
        name: FormText = "",
        password: FormText = "",
        next: FormText = "",  # noqa: A002
    ) -> Response:
        """Check name and password and start a session."""
        address, back = client_address(request.scope), self._gate.local_path(next)
        try:
            person = self._access.check_password(name, password, address=address)
        except InvalidForm as error:
            self._audit.record(Actor(normalise_name(name)[:64], address), Action.SIGN_IN_FAILED)
            return self._sign_in(request, name, back, error)
        except TooManyAttempts as error:
            return self._sign_in(request, name, back, error)
        self._audit.record(Actor(person.name, address), Action.SIGNED_IN)
        return self._enter(request, person, back)

    def sign_out(self, request: Request) -> Response:
        """End the session."""
        self._sessions.close(visitor_of(request))
        self._audit.record(actor_of(request), Action.SIGNED_OUT)
        response = RedirectResponse(f"{self._base}/sign-in", status_code=303)
        self._gate.forget(response)
        return response

    def prefer(
        self,
        language: FormText = "",
        theme: FormText = "",
        next: FormText = "",  # noqa: A002
    ) -> Response:
        """Remember a language or theme in this browser."""
        response = RedirectResponse(self._gate.local_path(next), status_code=303)
        if language in LANGUAGES:
            self._set_preference(response, LANGUAGE_COOKIE, language)
        if theme in set(Theme):
            self._set_preference(response, THEME_COOKIE, theme)
        return response

    def _enter(self, request: Request, person: Person, back: str) -> Response:
        client = request.headers.get("user-agent", "")
        token = self._sessions.open(person.id, address=client_address(request.scope), client=client)
        response = RedirectResponse(back, status_code=303)
        self._gate.remember(request, response, token)
        return response

    def _first_visit(
        self, request: Request, token: str, name: str, problems: dict[str, Text], status: int
    ) -> Response:
        page = FirstVisitPage(
            token=token, name=name, problems=problems, password_length_min=PASSWORD_LENGTH_MIN
        )
        return self._pages.html(request, "access/first_visit.html", page, status=status)

    def _sign_in(
        self, request: Request, name: str, back: str, error: ConsoleError | None
    ) -> Response:
        problem, status, headers = None, 200, {}
        if error is not None:
            problem, status = error.message, error.status
            if isinstance(error, InvalidForm):
                problem = error.fields["password"]
            if error.retry_after_seconds is not None:
                headers["retry-after"] = str(error.retry_after_seconds)
        due = self._access.first_visit_due()
        page = SignInPage(name=name, next=back, problem=problem, first_visit_due=due)
        return self._pages.html(
            request, "access/sign_in.html", page, status=status, headers=headers
        )

    def _set_preference(self, response: Response, cookie: str, value: str) -> None:
        path = self._base or "/"
        response.set_cookie(
            cookie, value, max_age=PREFERENCE_SECONDS, path=path, httponly=True, samesite="lax"
        )
