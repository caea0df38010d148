"""Metrics in Prometheus' text format.

etcd's names where we measure the same thing, `tianlu_registry_` names for the rest. Collected when
asked: nothing is added to the hot path but the counts that calls keep anyway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    UntypedMetricFamily,
)
from prometheus_client.registry import Collector

from tianlu_registry.api.etcd_maintenance import ETCD_VERSION, raised_alarms
from tianlu_registry.api.etcd_watch import WatchServicer
from tianlu_registry.api.grpc_asgi import GrpcApp
from tianlu_registry.api.health import HealthPages
from tianlu_registry.api.http import HttpRequest, HttpResponse, HttpRouter
from tianlu_registry.cores import kind_of_cores
from tianlu_registry.engine.store import Store

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricsPage:
    """GET /metrics.

    Args:
        collectors: further sources, such as the node's storage.
        refresh: awaited before they are asked.
    """

    def __init__(
        self,
        collectors: Iterable[Collector],
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._refresh = refresh
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        for collector in collectors:
            self._registry.register(collector)

    def add_to(self, router: HttpRouter) -> None:
        router.add("GET", "/metrics", self._page)

    async def _page(self, request: HttpRequest) -> HttpResponse:
        if self._refresh is not None:
            await self._refresh()
        return HttpResponse(200, generate_latest(self._registry), _CONTENT_TYPE)


class ServerCollector(Collector):
    """The store's state as etcd names it."""

    def __init__(self, store: Store, version: str) -> None:
        self._store = store
        self._version = version

    def collect(self) -> Iterator[Metric]:
        status = self._store.status()
        gauges = (
            ("etcd_server_has_leader", "1 if a leader is known.", status.leader_id != 0),
            (
                "etcd_server_is_leader",
                "1 if this member leads.",
                status.leader_id == status.member_id and status.leader_id != 0,
            ),
            ("etcd_server_is_learner", "1 if this member is a learner.", status.is_learner),
            (
                "etcd_server_quota_backend_bytes",
                "Database size above which writes are refused.",
                status.db_size_quota,
            ),
            (
                "etcd_mvcc_db_total_size_in_bytes",
                "Size of the database file.",
                status.db_size,
            ),
            (
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "Bytes in use within the database file.",
                status.db_size_in_use,
            ),
            ("etcd_debugging_mvcc_current_revision", "The store's revision.", status.revision),
            (
                "etcd_debugging_mvcc_compact_revision",
                "The newest revision compacted away.",
                status.compact_revision,
            ),
            ("tianlu_registry_raft_term", "The Raft term.", status.raft_term),
            ("tianlu_registry_alarms", "Alarms raised.", len(raised_alarms(status))),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(name, text, value=float(value))
        yield CounterMetricFamily(
            "etcd_server_proposals_committed",
            "Newest Raft index known committed.",
            value=status.raft_index,
        )
        yield CounterMetricFamily(
            "etcd_server_proposals_applied",
            "Newest Raft index applied.",
            value=status.raft_applied_index,
        )
        yield _labelled(
            "etcd_server_version",
            "The etcd release whose API is served.",
            "server_version",
            ETCD_VERSION,
        )
        yield _labelled(
            "etcd_cluster_version",
            "The etcd release that the cluster speaks.",
            "cluster_version",
            ".".join(ETCD_VERSION.split(".")[:2]),
        )
        yield _labelled("tianlu_registry_version", "This release.", "version", self._version)
        yield _labelled(
            "tianlu_registry_cores",
            "How this node's cores run: compiled or interpreted.",
            "kind",
            kind_of_cores(),
        )
        yield _labelled("etcd_server_id", "This member's id.", "server_id", f"{status.member_id:x}")


def _labelled(name: str, text: str, label: str, value: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    family.add_metric([value], 1.0)
    return family


class ApiCollector(Collector):
    """Calls, watches and health checks."""

    def __init__(self, grpc: GrpcApp, watch: WatchServicer, health: HealthPages) -> None:
        self._grpc = grpc
        self._watch = watch
        self._health = health

    def collect(self) -> Iterator[Metric]:
        labels = ["grpc_type", "grpc_service", "grpc_method"]
        started = CounterMetricFamily("grpc_server_started", "Calls started.", labels=labels)
        handled = CounterMetricFamily(
            "grpc_server_handled", "Calls ended, by status.", labels=[*labels, "grpc_code"]
        )
        for method in self._grpc.methods.values():
            values = [method.kind, method.service, method.name]
            started.add_metric(values, method.started)
            for code, count in method.ended.items():
                if count:
                    handled.add_metric([*values, code_label(code.name)], count)
        yield started
        yield handled
        yield GaugeMetricFamily(
            "etcd_debugging_mvcc_watch_stream_total",
            "Watch streams open.",
            value=self._watch.streams,
        )
        yield GaugeMetricFamily(
            "etcd_debugging_mvcc_watcher_total", "Watches open.", value=self._watch.watchers
        )
        yield GaugeMetricFamily(
            "tianlu_registry_watch_backlog_bytes",
            "What watch streams have written and their connections have not taken.",
            value=self._watch.backlog.bytes,
        )
        yield GaugeMetricFamily(
            "tianlu_registry_watch_streams_behind",
            "Watch streams with watches that wait for room, to go on from history then.",
            value=self._watch.streams_behind,
        )
        yield self._health_checks()
        yield from self._health_answers()

    def _health_checks(self) -> Metric:
        family = CounterMetricFamily(
            "etcd_server_healthchecks", "Health checks made.", labels=["type", "name", "status"]
        )
        for (page, name, passed), count in self._health.outcomes.items():
            family.add_metric([page, name, "success" if passed else "error"], count)
        return family

    def _health_answers(self) -> Iterator[Metric]:
        """etcd 3.5's counts of what /health said; without ``_total``, as etcd has them."""
        for name, passed in (("success", True), ("failures", False)):
            yield UntypedMetricFamily(
                f"etcd_server_health_{name}",
                f"Answers of /health: {name}.",
                value=self._health.outcomes["health", "health", passed],
            )


def code_label(name: str) -> str:
    """Return a status code's name as go-grpc-prometheus writes it: `InvalidArgument`."""
    if name == "OK":
        return name
    if name == "CANCELLED":
        return "Canceled"  # Go spells it so, and dashboards match it
    return "".join(part.capitalize() for part in name.split("_"))
