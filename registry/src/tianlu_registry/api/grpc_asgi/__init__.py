"""A lean gRPC server as an ASGI application: no grpcio, methods by protobuf descriptors.

It needs a server with HTTP/2 and the ASGI extension for trailers (`http.response.trailers`):
pyvoy. Why it exists and what it costs: docs/adr/0005-grpc-over-asgi-inside-envoy.md.
"""

from tianlu_registry.api.grpc_asgi.context import RpcContext
from tianlu_registry.api.grpc_asgi.dispatch import (
    REQUEST_BYTES_MAX,
    REQUEST_OVERHEAD_BYTES,
    GrpcApp,
    Method,
    is_disconnect,
    is_grpc,
    send_error,
)
from tianlu_registry.api.grpc_asgi.reader import RequestBatches, RequestStream
from tianlu_registry.api.grpc_asgi.status import RpcError, StatusCode
from tianlu_registry.api.grpc_asgi.turns import PACE

__all__ = [
    "PACE",
    "REQUEST_BYTES_MAX",
    "REQUEST_OVERHEAD_BYTES",
    "GrpcApp",
    "Method",
    "RequestBatches",
    "RequestStream",
    "RpcContext",
    "RpcError",
    "StatusCode",
    "is_disconnect",
    "is_grpc",
    "send_error",
]
