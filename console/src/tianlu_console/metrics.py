"""The console's metrics, for `GET /metrics`. docs/console.md lists them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tianlu_console.catalogue.feed import CatalogueFeed
from tianlu_console.live.hub import LiveHub


class Metrics:
    """All of them, in a registry of their own so that two consoles in one process do not clash."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tianlu_console_requests_total",
            "Answers given, live streams included, by class of status.",
            ["status_class"],
            registry=self._registry,
        )
        self._actions = Counter(
            "tianlu_console_audited_actions_total",
            "Entries of the audit log that have an outcome.",
            ["action", "outcome"],
            registry=self._registry,
        )

    def observe(self, feed: CatalogueFeed, hub: LiveHub) -> None:
        """Add the gauges, which are read when somebody asks. Called once."""
        streams = Gauge(
            "tianlu_console_live_streams", "Open live streams.", registry=self._registry
        )
        streams.set_function(lambda: hub.clients)
        revision = Gauge(
            "tianlu_console_catalogue_revision",
            "Catalogue revision that pages show.",
            registry=self._registry,
        )
        revision.set_function(lambda: feed.view.revision)
        age = Gauge(
            "tianlu_console_catalogue_age_seconds",
            "For how long the registry has not confirmed what pages show; 0 while it is live.",
            registry=self._registry,
        )
        age.set_function(lambda: feed.view.age_seconds)

    def answered(self, status: int) -> None:
        """Count an answer."""
        self._requests.labels(f"{status // 100}xx").inc()

    def acted(self, action: str, outcome: str) -> None:
        """Count an action of the audit log. Any thread."""
        self._actions.labels(action, outcome).inc()

    def expose(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class CountAnswers:
    """ASGI middleware that counts every answer as it begins."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered(message["status"])
            await send(message)

        await self._app(scope, receive, send_counted)
