"""Registry endpoints as people write them, and as gRPC wants them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from tianlu._errors import InvalidInput

ENDPOINT_DEFAULT: Final = "127.0.0.1:8080"
ENDPOINTS_VARIABLE: Final = "TIANLU_ENDPOINTS"
_WANTED: Final = 'write "host:port", "http://host:port", "https://host:port" or "unix:/path"'


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a registry serves.

    Attributes:
        target: gRPC's name of it, such as "127.0.0.1:8080" or "unix:/run/tianlu.sock".
        tls: whether to speak TLS, with the system's trusted roots.
    """

    target: str
    tls: bool = False

    def __str__(self) -> str:
        return f"https://{self.target}" if self.tls else self.target


def parse_endpoints(endpoints: str | Iterable[str] | None) -> tuple[Endpoint, ...]:
    """Return the endpoints that a caller wrote, in order, without repetitions.

    Args:
        endpoints: one endpoint, several with commas between, or an iterable of them; None takes
            the environment variable TIANLU_ENDPOINTS or else 127.0.0.1:8080.

    Raises:
        InvalidInput: one cannot be read (`field` is "endpoints[i]"), or there is none.
    """
    if endpoints is None:
        endpoints = os.environ.get(ENDPOINTS_VARIABLE) or ENDPOINT_DEFAULT
    if isinstance(endpoints, str):
        endpoints = endpoints.split(",")
    parsed = [_parse(text.strip(), f"endpoints[{i}]") for i, text in enumerate(endpoints)]
    if not parsed:
        raise InvalidInput("endpoints", f"there is none; {_WANTED}")
    return tuple(dict.fromkeys(parsed))


def as_protected(announced: Iterable[Endpoint], given: Iterable[Endpoint]) -> list[Endpoint]:
    """Return the endpoints among those that members announce that may be told what those that a
    person gave are told: if all of these speak TLS, only others that do. Otherwise a password would
    go without TLS to whoever listens at "http://127.0.0.1:2379" of this machine.
    """
    only_tls = all(endpoint.tls for endpoint in given)
    return [endpoint for endpoint in announced if endpoint.tls or not only_tls]


def _parse(text: str, field: str) -> Endpoint:
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path:
            raise InvalidInput(field, f"{text!r} names no path; {_WANTED}")
        return Endpoint(f"unix:{path}")
    url = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = url.port
    except ValueError:
        port = None
    usable = url.scheme in ("http", "https") and url.hostname and port
    if not usable or url.path not in ("", "/") or url.query or url.username:
        raise InvalidInput(field, f"{text!r} cannot be read; {_WANTED}")
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    return Endpoint(f"{host}:{port}", tls=url.scheme == "https")
