from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry
from registry.engine.calls import put, until
from registry.node.nodes import running, small

from tianlu._proto.etcd.rpc_pb2 import LeaseGrantRequest
from tianlu_registry.durations import BOUNDS_SECONDS, Durations
from tianlu_registry.node.metrics import NodeCollector


def test_durations_fall_into_cumulative_buckets() -> None:
    durations = Durations()
    for seconds in (0.0005, 0.001, 0.0011, 5.0, 100.0):
        durations.add(seconds)
    buckets = dict(durations.buckets())
    assert buckets["0.001"] == 2
    assert buckets["0.002"] == 3
    assert buckets["4.096"] == 3
    assert buckets["8.192"] == 4
    assert buckets["+Inf"] == 5
    assert len(buckets) == len(BOUNDS_SECONDS) + 1
    assert round(durations.total_seconds, 4) == 105.0026


async def test_a_node_counts_what_it_does(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    async with running(small(tmp_path)) as node:
        registry.register(NodeCollector(node.node))

        def value(name: str) -> float:
            return registry.get_sample_value(name) or 0.0

        synced = value("etcd_disk_wal_fsync_duration_seconds_count")
        for number in range(10):
            await put(node.store, b"%d" % number)
        await node.store.lease_grant(LeaseGrantRequest(TTL=60))
        assert value("etcd_disk_wal_fsync_duration_seconds_count") >= synced + 11
        assert value("etcd_disk_wal_fsync_duration_seconds_sum") > 0
        assert value("etcd_server_leader_changes_seen_total") == 1
        assert value("etcd_server_proposals_pending") == 0
        assert value("etcd_server_proposals_failed_total") == 0
        assert value("tianlu_registry_node_proposals_pending_bytes") == 0
        assert value("tianlu_registry_node_apply_backlog_entries") == 0
        assert value("etcd_debugging_mvcc_keys_total") == 10
        assert value("tianlu_registry_node_leases") == 1
        await until(lambda: value("etcd_disk_backend_commit_duration_seconds_count") > 0)
        await until(lambda: value("tianlu_registry_node_commit_backlog_operations") == 0)
