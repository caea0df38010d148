"""The agent's metrics. Names: tianlu_PART_…, PART being mesher or gateway."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from tianlu_mesher.resources.snapshot import CLUSTER_TYPE, ENDPOINT_TYPE, ROUTE_TYPE

TYPE_LABELS = {CLUSTER_TYPE: "cluster", ENDPOINT_TYPE: "endpoint", ROUTE_TYPE: "route"}
"""Values of the label `type`: a closed set."""


class AgentMetrics:
    """All that is counted, in a registry of its own."""

    def __init__(self, part: str) -> None:
        self._registry = CollectorRegistry()

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"tianlu_{part}_{name}", text, registry=self._registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"tianlu_{part}_{name}", text, labels, registry=self._registry)

        self.view_revision = gauge("view_revision", "Catalogue revision of the newest view")
        self.applied_revision = gauge(
            "applied_revision", "Newest catalogue revision that Envoy has wholly in effect"
        )
        self.view_age = gauge(
            "view_age_seconds", "For how long no registry has confirmed the view; 0: it is current"
        )
        self.view_rung = gauge(
            "view_rung", "Rung of the cache ladder: 0 none, 1 watched, 2 host snapshot"
        )
        self.services = gauge("services", "Services in the view")
        self.endpoints = gauge("endpoints", "Endpoints that Envoy is given")
        self.streams = gauge("xds_streams", "Connected Envoys")
        self.refused = gauge(
            "xds_refused_resources", "Resources whose newest version Envoy refuses"
        )
        self.published = counter("xds_snapshots_published", "Snapshots given to the ADS server")
        self.failed = counter("xds_snapshots_failed", "Views or plans that were not published")
        self.acks = counter("xds_acks", "Responses that Envoy accepted", "type")
        self.nacks = counter("xds_nacks", "Responses that Envoy refused", "type")
        for label in TYPE_LABELS.values():
            self.acks.labels(label)
            self.nacks.labels(label)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
