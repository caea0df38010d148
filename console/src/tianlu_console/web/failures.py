"""Errors as answers: one shape in JSON, one page in HTML."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from annotated_doc import Doc
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from tianlu_console.access.gate import Gate
from tianlu_console.errors import ConsoleError, InvalidForm, Missing, NotSignedIn
from tianlu_console.text import N_, Text
from tianlu_console.web.negotiation import JSONBody, is_fragment, wants_json
from tianlu_console.web.pages import Pages

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePage:
    """The context of failure.html."""

    status: Annotated[int, Doc("the HTTP status")]
    message: Annotated[Text, Doc("what is wrong and what to do")]
    fields: Annotated[tuple[tuple[str, Text], ...], Doc("what is wrong with single fields")]


class Failures:
    """Turns exceptions into answers."""

    def __init__(self, pages: Pages, gate: Gate, base_path: str) -> None:
        self._pages = pages
        self._gate = gate
        self._base = base_path

    def install(self, app: FastAPI) -> None:
        """Handle what endpoints raise. What is no `ConsoleError` is a bug: logged whole, shown as
        500.
        """
        app.add_exception_handler(ConsoleError, self._console_error)
        app.add_exception_handler(RequestValidationError, self._invalid_request)
        app.add_exception_handler(HTTPException, self._http_error)
        app.add_exception_handler(Exception, self._bug)

    async def _console_error(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, ConsoleError):
            raise error
        if isinstance(error, NotSignedIn) and not wants_json(request):
            return self._to_sign_in(request)
        return self.answer(request, error)

    async def _invalid_request(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        fields = {str(problem["loc"][-1]): Text(str(problem["msg"])) for problem in error.errors()}
        return self.answer(request, InvalidForm(fields))

    async def _http_error(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        if error.status_code == HTTPStatus.NOT_FOUND:
            return self.answer(request, Missing(Text(N_("There is no such page."))))
        failure = ConsoleError(Text(error.detail))
        return self.answer(
            request, failure, status=error.status_code, headers=dict(error.headers or {})
        )

    async def _bug(self, request: Request, error: Exception) -> Response:
        _logger.error(
            "request failed method=%s path=%s", request.method, request.url.path, exc_info=error
        )
        return self.answer(
            request, ConsoleError(Text(N_("The console made a mistake. Its log says more.")))
        )

    def answer(
        self,
        request: Request,
        error: ConsoleError,
        *,
        status: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Return the answer for `error` in the form that the request wants."""
        headers = dict(headers or {})
        if error.retry_after_seconds is not None:
            headers["retry-after"] = str(error.retry_after_seconds)
        status = status or error.status
        if wants_json(request):
            return JSONBody(self._json(request, error), status_code=status, headers=headers)
        fields = tuple(error.fields.items()) if isinstance(error, InvalidForm) else ()
        page = FailurePage(status=status, message=error.message, fields=fields)
        return self._pages.html(request, "failure.html", page, status=status, headers=headers)

    def _json(self, request: Request, error: ConsoleError) -> dict[str, Any]:
        body: dict[str, Any] = {
            "error": error.code,
            "message": self._pages.say(request, error.message),
        }
        if isinstance(error, InvalidForm):
            body["fields"] = {
                name: self._pages.say(request, text) for name, text in error.fields.items()
            }
        return body

    def _to_sign_in(self, request: Request) -> Response:
        """Send the browser to the sign-in page, and back here afterwards."""
        back = request.url.path
        if is_fragment(request) or request.method != "GET":
            back = request.headers.get("hx-current-url", self._base)
        address = f"{self._base}/sign-in?{urlencode({'next': self._gate.local_path(back)})}"
        if is_fragment(request):
            return Response(status_code=401, headers={"hx-redirect": address})
        return RedirectResponse(address, status_code=303)
