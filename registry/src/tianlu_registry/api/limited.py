"""Limits per client, in front of the application: an ASGI application around another.

Where no limit is set none of this is there, and it costs nothing.

- A request beyond its client's rate is refused before anything is done for it.
- A call beyond what its client may have open at once is refused too. Watches, keep-alives and locks
  that wait are calls.
- The messages of a stream count as requests. They are there already, so they are not refused but
  put off: nothing more is read of that stream until the client's rate allows it, and HTTP/2 makes
  the client wait.

Refused: gRPC's RESOURCE_EXHAUSTED with etcd's text for it and, in ``grpc-retry-pushback-ms``, when
to try again; HTTP's 429 with ``retry-after``. Health pages and the
launcher's probe are never refused.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tianlu_registry.api.grpc_asgi import PACE, RpcError, StatusCode, is_grpc, send_error
from tianlu_registry.api.grpc_asgi.asgi import AsgiApp, Receive, Scope, Send
from tianlu_registry.api.http import HttpResponse, error_response, respond
from tianlu_registry.errors import TooManyRequests
from tianlu_registry.limits import Concurrency, Rates
from tianlu_registry.limits.settings import ClientLimits

NEVER_REFUSED: Final = ("/-/", "/livez", "/readyz", "/health", "/grpc.health.v1.Health/")
"""Beginnings of the paths by which others find out whether this node lives."""

_client: ContextVar[str] = ContextVar("tianlu_registry_client", default="")
"""Whose call this task serves. A call has a task of its own, so nobody needs to reset it."""

_BUSY_RETRY_SECONDS: Final = 1.0
"""When to try again if too much is open: nobody knows when something of it ends."""


class LimitedApp:
    """Serves an application within limits.

    Args:
        app: what is limited.
        name: by what name the client of a request is known.
        rates: of requests; None for no limit.
        calls: what each client may have open at once; None for no limit.
        watches: the same of watches.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        app: AsgiApp,
        name: Callable[[Scope], str],
        *,
        rates: Rates | None = None,
        calls: Concurrency | None = None,
        watches: Concurrency | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._name = name
        self._rates = rates
        self._calls = calls
        self._watches = watches
        self._clock = clock
        self.refused: Final[Counter[str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(NEVER_REFUSED):
            await self._app(scope, receive, send)
            return
        client = self._name(scope)
        _client.set(client)
        if self._rates is not None:
            wait = self._rates.admit(client, self._clock())
            if wait:
                self.refused["requests"] += 1
                await _refuse(scope, send, wait)
                return
            scope[PACE] = self._pace(self._rates, client)
        if self._calls is None:
            await self._app(scope, receive, send)
            return
        if not self._calls.open(client):
            self.refused["streams"] += 1
            await _refuse(scope, send, _BUSY_RETRY_SECONDS)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._calls.close(client)

    def watch_quota(self) -> Quota | None:
        """Return what the client whose call this task serves may watch; None for no limit."""
        if self._watches is None:
            return None
        return Quota(self._watches, _client.get(), self.refused)

    def _pace(self, rates: Rates, client: str) -> Callable[[], float]:
        return lambda: rates.reserve(client, self._clock())

    @property
    def clients(self) -> int:
        """How many clients are remembered for their rates."""
        return 0 if self._rates is None else len(self._rates)


def limited_app(
    app: AsgiApp, name: Callable[[Scope], str], limits: ClientLimits
) -> LimitedApp | None:
    """Return `app` within `limits`; None if there are none."""
    if not limits.limits_calls:
        return None
    per_second, calls = limits.max_requests_per_second_per_client, limits.max_streams_per_client
    watches = limits.max_watches_per_client
    return LimitedApp(
        app,
        name,
        rates=Rates(per_second, limits.burst) if per_second else None,
        calls=Concurrency(calls) if calls else None,
        watches=Concurrency(watches) if watches else None,
    )


async def _refuse(scope: Scope, send: Send, wait_seconds: float) -> None:
    milliseconds = str(math.ceil(wait_seconds * 1000))
    error = RpcError(
        StatusCode.RESOURCE_EXHAUSTED,
        TooManyRequests.text,
        trailing_metadata=(("grpc-retry-pushback-ms", milliseconds),),
    )
    if is_grpc(scope):
        await send_error(scope, send, error)
        return
    answer = error_response(error)
    after = (b"retry-after", b"%d" % math.ceil(wait_seconds))
    await respond(send, HttpResponse(answer.status, answer.body, headers=(after,)))


class Quota:
    """What one client may have open of something, at once."""

    __slots__ = ("_client", "_limit", "_refused")

    def __init__(self, limit: Concurrency, client: str, refused: Counter[str]) -> None:
        self._limit = limit
        self._client = client
        self._refused = refused

    def open(self) -> bool:
        """Open one more, to be closed; returns whether the client may."""
        opened = self._limit.open(self._client)
        if not opened:
            self._refused["watches"] += 1
        return opened

    def close(self) -> None:
        self._limit.close(self._client)


class EndedConnections(Protocol):
    """What has ended connections of clients that had too many."""

    ended: int


class LimitsCollector(Collector):
    """What the limits have refused.

    Args:
        limited: None if there is no limit of requests, calls or watches.
        connections: None if there is none of connections.
    """

    def __init__(self, limited: LimitedApp | None, connections: EndedConnections | None) -> None:
        self._limited = limited
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        refused = CounterMetricFamily(
            "tianlu_registry_client_refused",
            "What was refused because its client had too much, by limit.",
            labels=["limit"],
        )
        for limit in ("requests", "streams", "watches"):
            count = 0 if self._limited is None else self._limited.refused[limit]
            refused.add_metric([limit], count)
        ended = 0 if self._connections is None else self._connections.ended
        refused.add_metric(["connections"], ended)
        yield refused
        yield GaugeMetricFamily(
            "tianlu_registry_clients_remembered",
            "Clients whose rate of requests is remembered.",
            value=0 if self._limited is None else self._limited.clients,
        )
