"""The one table from the registry's errors to gRPC status codes and HTTP statuses.

Codes of etcd's errors are etcd's: clients match code and text together.
Source: etcd api/v3rpc/rpctypes/error.go; googleapis google/rpc/code.proto for the HTTP statuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest

from tianlu_registry import errors
from tianlu_registry.api.grpc_asgi import RpcError, StatusCode

CODES: Final[Mapping[type[errors.RegistryError], StatusCode]] = MappingProxyType(
    {
        errors.RegistryError: StatusCode.UNKNOWN,
        errors.InputError: StatusCode.INVALID_ARGUMENT,
        errors.Compacted: StatusCode.OUT_OF_RANGE,
        errors.FutureRevision: StatusCode.OUT_OF_RANGE,
        errors.LeaseTtlTooLarge: StatusCode.OUT_OF_RANGE,
        errors.NotFound: StatusCode.NOT_FOUND,
        errors.Exists: StatusCode.ALREADY_EXISTS,
        errors.LeaseExists: StatusCode.FAILED_PRECONDITION,
        errors.ClusterChangeRefused: StatusCode.FAILED_PRECONDITION,
        errors.Conflict: StatusCode.FAILED_PRECONDITION,
        errors.AuthRefused: StatusCode.FAILED_PRECONDITION,
        errors.NoPasswordUser: StatusCode.UNKNOWN,  # etcd has no code for this one
        errors.PermissionDenied: StatusCode.PERMISSION_DENIED,
        errors.InvalidAuthToken: StatusCode.UNAUTHENTICATED,
        errors.Unavailable: StatusCode.UNAVAILABLE,
        errors.TooManyRequests: StatusCode.RESOURCE_EXHAUSTED,
        errors.LeaderTransferTimeout: StatusCode.UNKNOWN,  # etcd has no code for this one
        errors.NoSpace: StatusCode.RESOURCE_EXHAUSTED,
        errors.Broken: StatusCode.INTERNAL,
        errors.Corrupt: StatusCode.DATA_LOSS,
    }
)
"""A class that is not here has the code of its nearest ancestor that is."""

HTTP_STATUSES: Final[Mapping[StatusCode, int]] = MappingProxyType(
    {
        StatusCode.OK: 200,
        StatusCode.CANCELLED: 499,
        StatusCode.UNKNOWN: 500,
        StatusCode.INVALID_ARGUMENT: 400,
        StatusCode.DEADLINE_EXCEEDED: 504,
        StatusCode.NOT_FOUND: 404,
        StatusCode.ALREADY_EXISTS: 409,
        StatusCode.PERMISSION_DENIED: 403,
        StatusCode.RESOURCE_EXHAUSTED: 429,
        StatusCode.FAILED_PRECONDITION: 400,
        StatusCode.ABORTED: 409,
        StatusCode.OUT_OF_RANGE: 400,
        StatusCode.UNIMPLEMENTED: 501,
        StatusCode.INTERNAL: 500,
        StatusCode.UNAVAILABLE: 503,
        StatusCode.DATA_LOSS: 500,
        StatusCode.UNAUTHENTICATED: 401,
    }
)


def error_status(error: Exception) -> RpcError | None:
    """Return how `error` ends a call; None if it is none of the registry's.

    An `InvalidArgument` carries its field in a google.rpc.BadRequest, for programs.
    """
    if isinstance(error, RpcError):
        return error
    if not isinstance(error, errors.RegistryError):
        return None
    if isinstance(error, errors.RefusedUnderneath):
        return RpcError(StatusCode(error.code), str(error))
    return RpcError(code_of(type(error)), str(error), details=_details(error))


def code_of(kind: type[errors.RegistryError]) -> StatusCode:
    """Return the code of an error class: its own, or its nearest ancestor's."""
    return next(CODES[ancestor] for ancestor in kind.__mro__ if ancestor in CODES)


def _details(error: errors.RegistryError) -> tuple[Message, ...]:
    if not isinstance(error, errors.InvalidArgument):
        return ()
    violation = BadRequest.FieldViolation(field=error.field, description=error.problem)
    return (BadRequest(field_violations=[violation]),)
