"""Which path of the catalogue's JSON API is which rpc, and where its fields come from.

A body is the rpc's request message in JSON; what the path names need not be repeated there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path.

    Attributes:
        method: HTTP method.
        path: below ``/v1/``; ``{name}`` stands for one part.
        rpc: of tianlu.v1.Catalog.
        bind: from a name in the path to the request's field.
        query: fields that the query may set.
        body: the rest of the request is in the body.
        fixed: fields that the path implies.
    """

    method: str
    path: str
    rpc: str
    bind: Mapping[str, str] = field(default_factory=dict)
    query: frozenset[str] = frozenset()
    body: bool = False
    fixed: Mapping[str, bool] = field(default_factory=dict)


_SERVICE = "namespaces/{namespace}/services/{service}"
_INSTANCE = _SERVICE + "/instances/{id}"
_MIN = frozenset({"min_revision"})
_NAMED_SERVICE = {"namespace": "namespace", "service": "name"}
_OF_SERVICE = {"namespace": "namespace", "service": "service"}
_OF_INSTANCE = {**_OF_SERVICE, "id": "id"}

ROUTES: Final = (
    Route("GET", "namespaces", "ListNamespaces", query=_MIN),
    Route("GET", "services", "ListServices", query=_MIN),
    Route(
        "GET",
        "namespaces/{namespace}/services",
        "ListServices",
        bind={"namespace": "namespace"},
        query=_MIN,
    ),
    Route("GET", _SERVICE, "GetService", bind=_NAMED_SERVICE, query=_MIN),
    Route(
        "PUT",
        _SERVICE,
        "PutService",
        bind={"namespace": "service.namespace", "service": "service.name"},
        body=True,
    ),
    Route("DELETE", _SERVICE, "DeleteService", bind=_NAMED_SERVICE),
    Route("GET", _SERVICE + "/instances", "ListInstances", bind=_OF_SERVICE, query=_MIN),
    Route("GET", _SERVICE + "/discover", "Discover", bind=_OF_SERVICE, query=_MIN),
    Route(
        "PUT",
        _INSTANCE,
        "Register",
        bind={
            "namespace": "instance.namespace",
            "service": "instance.service",
            "id": "instance.id",
        },
        body=True,
    ),
    Route("PATCH", _INSTANCE, "UpdateInstance", bind=_OF_INSTANCE, body=True),
    Route("DELETE", _INSTANCE, "Deregister", bind=_OF_INSTANCE, query=frozenset({"session_id"})),
    Route(
        "POST",
        _INSTANCE + "/isolate",
        "OverrideInstance",
        bind=_OF_INSTANCE,
        body=True,
        fixed={"isolated": True},
    ),
    Route(
        "POST",
        _INSTANCE + "/restore",
        "OverrideInstance",
        bind=_OF_INSTANCE,
        body=True,
        fixed={"isolated": False},
    ),
    Route("POST", "sessions", "OpenSession", body=True),
    Route(
        "POST",
        "sessions/{session_id}/renew",
        "RenewSession",
        bind={"session_id": "session_id"},
        body=True,
    ),
    Route("DELETE", "sessions/{session_id}", "CloseSession", bind={"session_id": "session_id"}),
    Route("GET", "subscribers", "ListSubscribers", query=frozenset({"namespace", "service"})),
    Route(
        "GET",
        "applied",
        "AwaitApplied",
        query=frozenset({"namespace", "service", "revision", "percent", "timeout_ms"}),
    ),
)


def match(pattern: str, path: str) -> dict[str, str] | None:
    """Return what the names in `pattern` stand for in `path`; None if it does not match."""
    wanted, given = pattern.split("/"), path.split("/")
    if len(wanted) != len(given):
        return None
    names: dict[str, str] = {}
    for part, value in zip(wanted, given, strict=True):
        if part.startswith("{"):
            names[part[1:-1]] = value
        elif part != value:
            return None
    return names
