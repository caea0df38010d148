"""The gate: every page but the few open ones asks it who is there."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import Response

from tianlu_console.access.sessions import LIFETIME_SECONDS_MAX, Sessions, Visitor
from tianlu_console.audit.log import Actor
from tianlu_console.errors import NotSignedIn
from tianlu_console.text import N_, Text
from tianlu_console.web.forwarded import client_address, is_https

SESSION_COOKIE: Final = "tianlu_session"
BACKGROUND_HEADER: Final = "x-tianlu-background"
"""Set by live refreshes: they show that a page is open, not that somebody is there."""


class Gate:
    """Knows visitors by their session cookie.

    As a dependency of a router it lets nobody pass who is not signed in and leaves the visitor in
    the request.
    """

    def __init__(self, sessions: Sessions, base_path: str) -> None:
        self._sessions = sessions
        self._base = base_path

    def __call__(self, request: Request) -> None:
        """Let a signed-in visitor pass. Raises `NotSignedIn`. Blocks on the database (FastAPI runs
        it in a thread).
        """
        token = request.cookies.get(SESSION_COOKIE)
        active = BACKGROUND_HEADER not in request.headers
        visitor = self._sessions.visitor(token, active=active) if token else None
        if visitor is None:
            raise NotSignedIn(Text(N_("Sign in first.")))
        request.state.visitor = visitor

    def remember(self, request: Request, response: Response, token: str) -> None:
        """Give the browser its session cookie. Scripts cannot read it and other sites' forms do not
        send it.
        """
        response.set_cookie(
            SESSION_COOKIE,
            token,
            max_age=LIFETIME_SECONDS_MAX,
            path=self._base or "/",
            httponly=True,
            samesite="lax",
            secure=is_https(request.scope),
        )

    def forget(self, response: Response) -> None:
        """Take the cookie back."""
        response.delete_cookie(
            SESSION_COOKIE, path=self._base or "/", httponly=True, samesite="lax"
        )

    def local_path(self, address: str) -> str:
        """Return the path of `address` if it lies within the console, else the console's first
        page.

        After signing in the browser is sent to this path, so it must never lead to another site.
        """
        home = f"{self._base}/"
        try:
            parts = urlsplit(address)
        except ValueError:
            return home
        if not parts.path.startswith(home) or parts.path.startswith("//") or "\\" in address:
            return home
        return f"{parts.path}?{parts.query}" if parts.query else parts.path


def visitor_or_none(request: Request) -> Visitor | None:
    """Return the visitor that the gate let in; None on open pages."""
    visitor = getattr(request.state, "visitor", None)
    return visitor if isinstance(visitor, Visitor) else None


def visitor_of(request: Request) -> Visitor:
    """Return the visitor that the gate let in. Raises `NotSignedIn` if the gate was not asked."""
    visitor = visitor_or_none(request)
    if visitor is None:
        raise NotSignedIn(Text(N_("Sign in first.")))
    return visitor


def actor_of(request: Request) -> Actor:
    """Return the visitor as the audit log names him."""
    return Actor(visitor_of(request).name, client_address(request.scope))
