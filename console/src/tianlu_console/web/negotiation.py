"""HTML for people, JSON for programs: which one a request wants, and JSON's one form."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import Response

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class JSONBody(Response):
    """A value as JSON, in UTF-8 as it is."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401 (what Response declares)
        """Return the bytes of a dataclass instance or a dict."""
        value = content if isinstance(content, dict) else as_json(content)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def wants_json(request: Request) -> bool:
    """Return whether a program asks: the address ends in .json, or JSON is accepted and HTML is
    not.
    """
    if request.url.path.endswith(".json"):
        return True
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted and "text/html" not in accepted


def is_fragment(request: Request) -> bool:
    """Return whether htmx asks for a part of the page only."""
    return (
        request.headers.get("hx-request") == "true"
        and request.headers.get("hx-request-type") != "full"
    )


def as_json(value: DataclassInstance) -> dict[str, Any]:
    """Return a context as a plain dict; fields that only pages need say so with metadata
    {"page_only": True}.
    """
    hidden = {
        name
        for name, field in value.__dataclass_fields__.items()
        if field.metadata.get("page_only")
    }
    return {name: item for name, item in asdict(value).items() if name not in hidden}
