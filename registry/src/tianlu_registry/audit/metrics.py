"""What /metrics says of the audit log."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tianlu_registry.audit.log import AuditLog


class AuditCollector(Collector):
    """Counts of lines."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def collect(self) -> Iterator[Metric]:
        counts = self._log.counts()
        yield CounterMetricFamily("tianlu_audit_lines", "Lines written.", value=counts.written)
        yield CounterMetricFamily("tianlu_audit_dropped", "Lines lost.", value=counts.dropped)
        yield CounterMetricFamily(
            "tianlu_audit_failures", "Writes and syncs that failed.", value=counts.failures
        )
        yield GaugeMetricFamily(
            "tianlu_audit_queue_bytes", "Bytes of lines that wait.", value=counts.queue_bytes
        )
