"""grpc.health.v1.Health. Source: grpc doc/health-checking.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from tianlu_registry.api.grpc_asgi import RpcContext, RpcError, StatusCode

SERVICE: ServiceDescriptor = health_pb2.DESCRIPTOR.services_by_name["Health"]

_SERVING = HealthCheckResponse.SERVING
_NOT_SERVING = HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer:
    """Says whether this node serves; "" asks for the node, any other name for one service.

    All services stand and fall together: they share the store.
    """

    def __init__(self) -> None:
        self._serving = True
        self._known: frozenset[str] = frozenset()
        self._changed = asyncio.Event()

    def know(self, services: frozenset[str]) -> None:
        """Answer for these services too."""
        self._known = services | {""}

    def set_serving(self, serving: bool) -> None:
        """Change the answer and tell those who watch it."""
        self._serving = serving
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(  # noqa: N802
        self, request: HealthCheckRequest, context: RpcContext
    ) -> HealthCheckResponse:
        if request.service not in self._known:
            raise RpcError(StatusCode.NOT_FOUND, f"unknown service {request.service}")
        return self._answer(request.service)

    async def Watch(  # noqa: N802
        self, request: HealthCheckRequest, context: RpcContext
    ) -> AsyncIterator[HealthCheckResponse]:
        """Tell the status now and after each change, until the caller leaves."""
        while True:
            changed = self._changed
            yield self._answer(request.service)
            await changed.wait()

    def _answer(self, service: str) -> HealthCheckResponse:
        if service not in self._known:
            return HealthCheckResponse(status=_SERVICE_UNKNOWN)
        return HealthCheckResponse(status=_SERVING if self._serving else _NOT_SERVING)
