"""The catalogue's metrics, collected when asked."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tianlu_registry.governance.service import Governance


class CatalogCollector(Collector):
    """Sizes of the catalogue, and what its sessions and subscribers do."""

    def __init__(self, governance: Governance) -> None:
        self._governance = governance

    def collect(self) -> Iterator[Metric]:
        feed, sessions = self._governance.feed, self._governance.sessions
        services, instances, holding = feed.view.sizes()
        gauges = (
            ("ready", "1 once the catalogue has been loaded.", feed.ready),
            ("revision", "The revision that the view shows.", feed.revision),
            ("services", "Services described or with instances.", services),
            ("instances", "Registered instances.", instances),
            ("sessions", "Sessions that hold an instance.", holding),
            ("session_streams", "Streams that renew sessions here.", sessions.streams_count),
            ("subscribers", "Watch streams here.", len(self._governance.subscriptions)),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"tianlu_catalog_{name}", text, value=float(value))
        marked = CounterMetricFamily(
            "tianlu_catalog_marks",
            "Instances that this node has marked suspect, or alive again.",
            labels=["liveness"],
        )
        for liveness, count in sessions.marked.items():
            marked.add_metric([liveness], float(count))
        yield marked
        yield CounterMetricFamily(
            "tianlu_catalog_unreadable_values",
            "Stored values of the catalogue that could not be read since it was loaded.",
            value=float(feed.view.unreadable),
        )
