"""Lines of the audit log, as bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tianlu_registry.api.errors import error_status
from tianlu_registry.api.grpc_asgi import StatusCode
from tianlu_registry.api.metrics import code_label
from tianlu_registry.audit.key_text import key_text
from tianlu_registry.errors import InputError, InvalidArgument, RegistryError

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_REFUSALS: Final = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.ALREADY_EXISTS,
        StatusCode.PERMISSION_DENIED,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.OUT_OF_RANGE,
        StatusCode.UNIMPLEMENTED,
        StatusCode.UNAUTHENTICATED,
    }
)
"""What is answered with one of these has changed nothing. Of the others nobody knows."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who calls.

    Attributes:
        name: of a user or of a certificate; "-" for nobody known.
        known_by: token, certificate or none.
        address: IP address; "unix" for a Unix socket.
    """

    name: str
    known_by: str
    address: str


class Lines:
    """Makes lines.

    Args:
        node: this node's name, so that lines of several can lie together.
    """

    def __init__(self, node: str) -> None:
        self._node = node

    def applied(
        self, method: str, actor: Actor, touched: Mapping[str, Any], revision: int
    ) -> bytes:
        """Return the line of a call that was answered well."""
        fields = {**touched, "revision": revision} if revision else touched
        return self._line(method, actor, fields, {"outcome": "applied", "code": "OK"})

    def failed(
        self, method: str, actor: Actor, touched: Mapping[str, Any], error: BaseException
    ) -> bytes:
        """Return the line of a call that was not."""
        return self._line(method, actor, touched, _outcome(error))

    def started(self) -> bytes:
        """Return the line with which a run of the node begins."""
        return _encoded({"time": _now(), "node": self._node, "event": "started"})

    def lost(self, count: int) -> bytes:
        """Return the line that stands for lines that could not be written."""
        return _encoded({"time": _now(), "node": self._node, "event": "lines_lost", "count": count})

    def _line(
        self, method: str, actor: Actor, touched: Mapping[str, Any], end: Mapping[str, Any]
    ) -> bytes:
        return _encoded(
            {
                "time": _now(),
                "node": self._node,
                "actor": actor.name,
                "known_by": actor.known_by,
                "address": actor.address,
                "method": method,
                **touched,
                **end,
            }
        )


def _outcome(error: BaseException) -> dict[str, Any]:
    known = error_status(error) if isinstance(error, Exception) else None
    if known is None:
        # The caller has gone, or the handler has crashed: the write may yet be applied.
        code = StatusCode.UNKNOWN if isinstance(error, Exception) else StatusCode.CANCELLED
        return {"outcome": "unknown", "code": code_label(code.name)}
    is_refused = isinstance(error, InputError) or known.code in _REFUSALS
    return {
        "outcome": "refused" if is_refused else "unknown",
        "code": code_label(known.code.name),
        **_reason(error),
    }


def _reason(error: BaseException) -> dict[str, str]:
    """What kind of error it was. Not its message, which may quote what the caller has sent."""
    if isinstance(error, InvalidArgument):
        return {"error": f"{key_text(error.field.encode())}: invalid"}
    return {"error": error.text} if isinstance(error, RegistryError) else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"


def _encoded(fields: Mapping[str, Any]) -> bytes:
    return _encode(fields).encode() + b"\n"
