"""How long calls take, by method: what `--metrics extensive` adds.

Source: go-grpc-prometheus (`grpc_server_handling_seconds`), etcd server/embed (`--metrics`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import wraps
from typing import Any, Final

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tianlu_registry.api.grpc_asgi import Method, RpcContext
from tianlu_registry.durations import Durations

BASIC: Final = "basic"
EXTENSIVE: Final = "extensive"

BOUNDS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Prometheus' default."""


class CallDurations(Collector):
    """Times the calls that answer once. Streams last as long as their clients want."""

    def __init__(self) -> None:
        self._timed: dict[tuple[str, str], Durations] = {}

    def time(self, methods: Mapping[str, Method]) -> None:
        """From now on time these methods. Without this nothing is added to a call."""
        for method in methods.values():
            if method.kind == "unary":
                durations = self._timed[method.service, method.name] = Durations(BOUNDS_SECONDS)
                method.handler = _timed(method.handler, durations)

    def collect(self) -> Iterator[Metric]:
        if not self._timed:
            return
        family = HistogramMetricFamily(
            "grpc_server_handling_seconds",
            "Time of calls.",
            labels=("grpc_type", "grpc_service", "grpc_method"),
        )
        for (service, name), durations in self._timed.items():
            family.add_metric(
                ("unary", service, name), durations.buckets(), durations.total_seconds
            )
        yield family


def _timed(
    handler: Callable[[Any, RpcContext], Awaitable[Any]], durations: Durations
) -> Callable[[Any, RpcContext], Awaitable[Any]]:
    @wraps(handler)
    async def timed(request: Any, context: RpcContext) -> Any:  # noqa: ANN401 - any method's
        start = time.perf_counter()
        try:
            return await handler(request, context)
        finally:
            durations.add(time.perf_counter() - start)

    return timed
