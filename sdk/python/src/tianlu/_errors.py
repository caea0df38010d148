"""Every error that the SDK raises on purpose, grouped by what the caller should do.

    TianluError
    ├── InvalidInput       a named field is wrong: mend the call
    ├── NotFound           what the call names does not exist
    ├── Conflict           the thing is not in the state that the call needs, or exists already
    ├── NotAllowed         the registry or the gateway refuses this caller
    │   ├── Unauthenticated    it does not know who calls: mend user, password, token or certificate
    │   └── PermissionDenied   it knows, and this user may not: somebody must grant it
    ├── LimitReached       a quota of the registry is used up: somebody must act, or try later
    ├── Compacted          the asked revision is no longer, or not yet, there
    ├── Unavailable        nothing is wrong with the call: try again
    │   ├── DeadlinePassed     no answer in time
    │   ├── OutcomeUnknown     a write that must not be repeated unasked may have been done: look
    │   └── NoInstance         the service has no instance that may be sent traffic
    ├── SessionLost        the session ended during the call: the SDK opens a new one; try again
    ├── ProtocolError      the peer answered what no registry would: wrong address or a bug
    └── ClientClosed       the client was closed, or belongs to the process before a fork

`from_rpc` is the one table from gRPC status codes to these.
"""

from __future__ import annotations

import re
from typing import Final

_FIELD: Final = re.compile(
    r"^(?!etcdserver\b|tianlu\b)([A-Za-z_][\w.\-\[\]'\"]*): (.+)$", re.DOTALL
)


class TianluError(Exception):
    """Root of the tree."""

    retryable: bool = False
    """Whether the same call may succeed later without being changed."""


class InvalidInput(TianluError):
    """A field has a value that cannot be.

    Args:
        field: the field as the caller writes it, such as ``weight`` or ``ports[0].number``.
        problem: what is wrong and what would be right.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}" if field else problem)
        self.field = field
        self.problem = problem


class NotFound(TianluError):
    """What the call names does not exist."""


class Conflict(TianluError):
    """The thing is not in the state that the call needs, or exists already."""


class NotAllowed(TianluError):
    """The caller may not do this, or has not said who it is."""


class Unauthenticated(NotAllowed):
    """The registry does not know who calls: a wrong password, an ended token, or nothing was said.

    Args:
        passing: users or roles changed while the call ran, so that the very same call may succeed.
    """

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing
        self.retryable = passing


class PermissionDenied(NotAllowed):
    """The registry knows who calls, and none of his roles permits this."""


class LimitReached(TianluError):
    """A quota or limit of the registry is used up."""

    retryable = True


class Compacted(TianluError):
    """The asked revision has been compacted away, or has not happened yet."""


class Unavailable(TianluError):
    """No registry could serve the call now."""

    retryable = True


class DeadlinePassed(Unavailable):
    """No answer came in time. A write may or may not have been done; repeating it does no harm."""


class OutcomeUnknown(Unavailable):
    """A write was sent, nobody answered, and doing it twice is not the same as doing it once.

    It may or may not have been done: read before you repeat it, or repeat it in a transaction that
    compares. Only the raw key-value API has such writes.
    """

    retryable = False


class NoInstance(Unavailable):
    """The service is not known, or has no instance that may be sent traffic."""


class SessionLost(TianluError):
    """The session that held the registrations has ended, and there was no time for a new one.

    What was registered before is registered again as soon as a new session is open.
    """

    retryable = True


class ProtocolError(TianluError):
    """The peer answered what no registry would."""


class ClientClosed(TianluError):
    """The client is closed, or was made in the parent process before a fork."""


_BROKEN: Final = ("Received RST_STREAM", "Stream removed")
"""What gRPC says, as INTERNAL or UNKNOWN, when a proxy on the way loses the node in mid-answer."""

OLD_AUTH_REVISION: Final = "etcdserver: revision of auth store is old"
_NOBODY: Final = frozenset(
    {
        OLD_AUTH_REVISION,
        "etcdserver: user name is empty",
        "etcdserver: authentication failed, invalid user ID or password",
        "auth: authentication failed, password was given for no password user",
    }
)
"""Texts that say that nobody knows who calls, under codes that say something else.

Source: etcd, api/v3rpc/rpctypes/error.go.
"""

_BY_CODE: Final[dict[str, type[TianluError]]] = {
    "CANCELLED": Unavailable,
    "UNKNOWN": ProtocolError,
    "INVALID_ARGUMENT": InvalidInput,
    "DEADLINE_EXCEEDED": DeadlinePassed,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": Conflict,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": LimitReached,
    "FAILED_PRECONDITION": Conflict,
    "ABORTED": Conflict,
    "OUT_OF_RANGE": Compacted,
    "UNIMPLEMENTED": ProtocolError,
    "INTERNAL": ProtocolError,
    "UNAVAILABLE": Unavailable,
    "DATA_LOSS": ProtocolError,
    "UNAUTHENTICATED": Unauthenticated,
}


def from_rpc(code: str, details: str, *, endpoint: str) -> TianluError:
    """Return the error for a failed call.

    Args:
        code: the name of the gRPC status code, such as "NOT_FOUND".
        details: the status text; for INVALID_ARGUMENT the registry writes "field: problem".
        endpoint: who answered, named in errors that are about the endpoint and not about the call.
    """
    kind = _BY_CODE.get(code, ProtocolError)
    if kind is ProtocolError and details.startswith(_BROKEN):
        kind = Unavailable
    if kind is Unauthenticated or details in _NOBODY:
        return Unauthenticated(
            details or "who calls is not known", passing=details == OLD_AUTH_REVISION
        )
    if kind is InvalidInput:
        match = _FIELD.match(details)
        return InvalidInput(*match.groups()) if match else InvalidInput("", details)
    if issubclass(kind, Unavailable | ProtocolError):
        return kind(f"registry at {endpoint}: {details or code.lower().replace('_', ' ')}")
    return kind(details or code.lower().replace("_", " "))
