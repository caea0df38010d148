"""What etcd says when it refuses, turned back into the registry's own errors.

etcd's status codes are coarse (a compacted revision and a future one are both OUT_OF_RANGE), so
the text decides first and the code only where the text is unknown.
Source: etcd api/v3rpc/rpctypes/error.go.
"""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from tianlu_registry.errors import (
    InputError,
    RefusedUnderneath,
    RegistryError,
    RequestTimeout,
    RequestTooLarge,
    Stopped,
    Unavailable,
)

_GO_PREFIX = " desc = "

_ETCD_TEXTS = (
    "etcdserver: ",
    "auth: ",
    "mvcc: ",
    "lease ",
    "raft: ",
    "membership: ",
    "rpc error: ",
)
"""Beginnings of what etcd itself says, and not the connection to it."""

_ABOUT_THE_MEMBER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

_UNKNOWN_OUTCOME_TEXTS = ("etcdserver: request timed out",)
"""Beginnings of texts for which a write may yet be applied: etcd adds a presumed reason."""

_NOT_SENT_TEXTS = (
    "failed to connect to all addresses",
    "etcdserver: no leader",
    "etcdserver: not leader",
    "etcdserver: rpc not supported for learner",
    "etcdserver: too many requests",
)
"""Beginnings of texts that prove that nothing was proposed, so that even a write may be retried."""


def _classes(root: type[RegistryError]) -> Iterator[type[RegistryError]]:
    for child in root.__subclasses__():
        yield child
        yield from _classes(child)


_BY_TEXT = {
    error.text: error for error in _classes(RegistryError) if error.text.startswith("etcdserver: ")
}

_BY_CODE: dict[grpc.StatusCode, type[RegistryError]] = {
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Stopped,
    grpc.StatusCode.DEADLINE_EXCEEDED: RequestTimeout,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RequestTooLarge,
    grpc.StatusCode.UNKNOWN: Unavailable,
    grpc.StatusCode.INTERNAL: Unavailable,
}


def error_of_text(text: str) -> RegistryError | None:
    """Return the registry's error for one of etcd's texts; None if the text is not known."""
    # A watch that is refused says so in the form of Go's gRPC library.
    known = _BY_TEXT.get(text.rpartition(_GO_PREFIX)[2])
    if known is not None:
        return known()
    return RequestTimeout(text) if text.startswith(_UNKNOWN_OUTCOME_TEXTS) else None


def was_not_sent(failure: grpc.aio.AioRpcError) -> bool:
    """Tell whether a failed call certainly had no effect, so that a write may be sent again."""
    return _details(failure).startswith(_NOT_SENT_TEXTS)


def map_error(failure: grpc.aio.AioRpcError, *, writes: bool) -> RegistryError:
    """Return the registry's error for a failed call to etcd.

    Args:
        failure: what grpcio raised.
        writes: the call may have changed something. A connection that broke under it leaves the
            outcome unknown, which is a `RequestTimeout` and no plain `Unavailable`.
    """
    text = _details(failure)
    known = error_of_text(text)
    if known is not None:
        return known
    code = failure.code()
    if text.startswith(_ETCD_TEXTS) and code not in _ABOUT_THE_MEMBER:
        return RefusedUnderneath(text, code.value[0])
    mapped = _BY_CODE.get(code, InputError)
    message = f"etcd: {text or code.name}"
    if writes and mapped is Unavailable and not was_not_sent(failure):
        return RequestTimeout(f"{RequestTimeout.text} (the connection to etcd broke: {text})")
    return mapped(message)


def _details(failure: grpc.aio.AioRpcError) -> str:
    return failure.details() or ""
