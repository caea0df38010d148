"""gRPC status: the codes, the error that ends a call, and how both travel in trailers.

Source: gRPC over HTTP2 (doc/PROTOCOL-HTTP2.md), "Status" and "Status-Message";
google/rpc/status.proto.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from enum import IntEnum
from urllib.parse import quote

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from tianlu_registry.api.grpc_asgi.metadata import Metadata, RawHeaders, encode_metadata

# Printable ASCII but "%" travels as it is in grpc-message; `quote` keeps letters, digits and
# "_.-~" anyway.
_MESSAGE_SAFE = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"


class StatusCode(IntEnum):
    """The status codes of gRPC. Source: grpc doc/statuscodes.md."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """Ends a call with a status other than OK.

    Args:
        code: the status code.
        message: text for people; any Unicode.
        details: messages packed into google.rpc.Status, as the richer error model has it.
        trailing_metadata: further trailers, after those of the context.
    """

    def __init__(
        self,
        code: StatusCode,
        message: str = "",
        *,
        details: Sequence[Message] = (),
        trailing_metadata: Metadata = (),
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = tuple(details)
        self.trailing_metadata = trailing_metadata

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def trailers(error: RpcError) -> RawHeaders:
    """Return the trailers that carry `error`."""
    headers: RawHeaders = [(b"grpc-status", b"%d" % error.code)]
    if error.message:
        headers.append((b"grpc-message", quote(error.message, safe=_MESSAGE_SAFE).encode("ascii")))
    if error.details:
        headers.append((b"grpc-status-details-bin", _packed_details(error)))
    headers.extend(encode_metadata(error.trailing_metadata))
    return headers


def _packed_details(error: RpcError) -> bytes:
    status = Status(code=int(error.code), message=error.message)
    for detail in error.details:
        status.details.add().Pack(detail)
    return base64.b64encode(status.SerializeToString()).rstrip(b"=")
