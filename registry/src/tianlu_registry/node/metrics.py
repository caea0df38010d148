"""The node's metrics, under etcd's names where they mean the same.

Collected when asked; what must be counted as it happens is a few additions per sync or commit.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tianlu_registry.durations import Durations
from tianlu_registry.node.counts import NodeCounts
from tianlu_registry.node.node import Node
from tianlu_registry.node.state_audit import AuditCounts


class NodeCollector(Collector):
    """What a node says of its disks, its proposals and its state."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        counts = self._node.counts()
        yield _histogram(
            "etcd_disk_wal_fsync_duration_seconds",
            "Time of one write and sync of the log.",
            counts.wal_sync_seconds,
        )
        yield _histogram(
            "etcd_disk_backend_commit_duration_seconds",
            "Time of one synced commit of the database.",
            counts.backend_commit_seconds,
        )
        audit = self._node.others.audit.counts
        for name, text, count in (*_counters(counts), *_audit_counters(audit)):
            yield CounterMetricFamily(name, text, value=count)
        for name, text, value in (*_gauges(counts), *_audit_gauges(audit)):
            yield GaugeMetricFamily(name, text, value=value)


def _histogram(name: str, text: str, durations: Durations) -> HistogramMetricFamily:
    return HistogramMetricFamily(
        name, text, buckets=durations.buckets(), sum_value=durations.total_seconds
    )


def _counters(counts: NodeCounts) -> tuple[tuple[str, str, float], ...]:
    return (
        (
            "etcd_server_proposals_failed",
            "Proposals refused for a full backlog, or not answered in time.",
            counts.proposals_failed,
        ),
        (
            "etcd_server_leader_changes_seen",
            "How often this member saw another leader than before.",
            counts.leader_changes,
        ),
        (
            "tianlu_registry_node_auto_compactions",
            "Compactions done because the retention says so.",
            counts.auto_compactions,
        ),
        (
            "tianlu_registry_node_auto_compactions_failed",
            "Those that did not come about; tried again later.",
            counts.auto_compactions_failed,
        ),
    )


def _gauges(counts: NodeCounts) -> tuple[tuple[str, str, float], ...]:
    return (
        ("etcd_server_proposals_pending", "Proposals not applied yet.", counts.proposals_pending),
        (
            "tianlu_registry_node_proposals_pending_bytes",
            "Log bytes of the proposals not applied yet.",
            counts.proposals_pending_bytes,
        ),
        (
            "tianlu_registry_node_apply_backlog_entries",
            "Committed entries not applied yet.",
            counts.apply_backlog,
        ),
        (
            "tianlu_registry_node_commit_backlog_operations",
            "Applied operations that the database file does not hold yet.",
            counts.commit_backlog,
        ),
        ("etcd_debugging_mvcc_keys_total", "Keys that have a value.", counts.keys),
        ("tianlu_registry_node_leases", "Leases.", counts.leases),
        (
            "etcd_debugging_mvcc_slow_watcher_total",
            "Watches that are behind: they wait for room, or read history.",
            counts.watches_slow,
        ),
    )


def _audit_counters(counts: AuditCounts) -> tuple[tuple[str, str, float], ...]:
    return (
        (
            "tianlu_registry_state_audit_rounds",
            "How often this member asked all others for their state hash.",
            counts.rounds,
        ),
        (
            "tianlu_registry_state_audit_mismatches",
            "Answers and questions of another member whose state hash differed from ours.",
            counts.mismatches,
        ),
    )


def _audit_gauges(counts: AuditCounts) -> tuple[tuple[str, str, float], ...]:
    return (
        (
            "tianlu_registry_state_audit_agreed_index",
            "Newest log index at which this member saw a majority hold the same state.",
            counts.agreed_index,
        ),
        (
            "tianlu_registry_state_audit_disputed",
            "1 while members hold different states and no majority says which is right.",
            float(counts.disputed_index != 0),
        ),
        (
            "tianlu_registry_state_audit_diverged_members",
            "Other members whose state was found to be wrong.",
            counts.diverged,
        ),
        (
            "tianlu_registry_state_audit_incomparable_members",
            "Other members whose state hash began elsewhere, so that nothing can be said.",
            counts.incomparable,
        ),
    )
