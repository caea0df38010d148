"""Two guards around the whole application: no request from another site, and headers that bind the
browser.

Cross-site requests are told apart by headers that scripts cannot set, so forms need no token:
  1. GET, HEAD and OPTIONS change nothing and pass;
  2. `Sec-Fetch-Site: same-origin` or `none` (typed by hand) passes, any other value does not;
  3. without it (older browsers): no `Origin` passes, since that is no browser's form post; else its
     host must be the one asked.
The session cookie is SameSite=Lax besides.
Source: Fetch Metadata Request Headers (W3C), and RFC 6454 for Origin.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tianlu_console.errors import Refused
from tianlu_console.text import N_, Text
from tianlu_console.web.forwarded import is_https

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "img-src 'self' data:; "  # Tabler's form controls draw their marks with data: images
    "font-src 'self'; "
    "connect-src 'self'; "
    "form-action 'self'; "
    "frame-ancestors 'none'; "
    "base-uri 'none'"
)

SECURITY_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # The first-visit link carries its token in the address; no other site may learn it.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def check_same_site(method: str, headers: Headers) -> None:
    """Raise `Refused` if the request was made by another site's page."""
    if method in SAFE_METHODS:
        return
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    if site is not None:
        allowed = site in {"same-origin", "none"}
    else:
        allowed = origin is None or urlsplit(origin).netloc == headers.get("host")
    if not allowed:
        raise Refused(Text(N_("This request came from another site's page and was refused.")))


class SecurityHeaders:
    """ASGI middleware that adds the headers to every answer; HSTS where the browser uses https."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if is_https(scope):
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        await self._app(scope, receive, send_with_headers)
