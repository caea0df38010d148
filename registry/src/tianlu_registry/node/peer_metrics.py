"""The metrics of the connections between members, under etcd's names where they mean the same.

Source: etcd server/etcdserver/api/rafthttp/metrics.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from tianlu_registry.node.node import Node
from tianlu_registry.raft import MemberId
from tianlu_registry.transport import PeerStatus

_Figure = tuple[str, str, Callable[[PeerStatus], float]]

_COUNTERS: Final[tuple[_Figure, ...]] = (
    ("etcd_network_peer_sent_bytes", "Bytes sent to a member.", lambda peer: peer.bytes_sent),
    (
        "etcd_network_peer_received_bytes",
        "Bytes received from a member.",
        lambda peer: peer.bytes_received,
    ),
    (
        "etcd_network_peer_sent_failures",
        "Messages to a member that were dropped.",
        lambda peer: peer.dropped,
    ),
    (
        "etcd_network_snapshot_send_success",
        "raft_snapshots that a member has installed.",
        lambda peer: peer.snapshots_sent,
    ),
    (
        "etcd_network_snapshot_send_failures",
        "raft_snapshots that a member did not get.",
        lambda peer: peer.snapshots_failed,
    ),
)

_LABELS: Final = {"etcd_network_peer_received_bytes": "From"}

_GAUGES: Final[tuple[_Figure, ...]] = (
    (
        "tianlu_registry_peer_round_trip_seconds",
        "Time of the newest ping to a member and back.",
        lambda peer: peer.round_trip_seconds or 0.0,
    ),
    (
        "tianlu_registry_peer_queue_bytes",
        "Messages that wait to be sent to a member.",
        lambda peer: peer.queue_bytes,
    ),
)


class PeerCollector(Collector):
    """What a node says of the others, and as a leader of how far they are."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        peers = self._node.others.peers.status()
        for name, text, figure in _COUNTERS:
            counter = CounterMetricFamily(name, text, labels=(_LABELS.get(name, "To"),))
            for member, status in peers.items():
                counter.add_metric((_label(member),), figure(status))
            yield counter
        for name, text, figure in _GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=("To",))
            for member, status in peers.items():
                gauge.add_metric((_label(member),), figure(status))
            yield gauge
        yield _active(self._node.identity.member_id, peers)
        yield _round_trips(peers)
        yield self._lags()
        yield CounterMetricFamily(
            "tianlu_registry_raft_snapshots_installed",
            "raft_snapshots that have replaced this member's state.",
            value=self._node.others.snapshots.installed_count,
        )

    def _lags(self) -> Metric:
        lags = GaugeMetricFamily(
            "tianlu_registry_peer_lag_entries",
            "On the leader: committed entries that a member does not have yet.",
            labels=("To",),
        )
        status = self._node.raft_status()
        for member, peer in status.peers.items():
            lags.add_metric((_label(member),), max(status.committed - peer.match, 0))
        return lags


def _active(local: MemberId, peers: Mapping[MemberId, PeerStatus]) -> Metric:
    family = GaugeMetricFamily(
        "etcd_network_active_peers",
        "1 while the connection to a member is up.",
        labels=("Local", "Remote"),
    )
    for member, status in peers.items():
        family.add_metric((_label(local), _label(member)), float(status.connected))
    return family


def _round_trips(peers: Mapping[MemberId, PeerStatus]) -> Metric:
    family = HistogramMetricFamily(
        "etcd_network_peer_round_trip_time_seconds",
        "Times of pings to a member and back.",
        labels=("To",),
    )
    for member, status in peers.items():
        trips = status.round_trips
        family.add_metric((_label(member),), trips.buckets(), trips.total_seconds)
    return family


def _label(member: MemberId) -> str:
    return f"{member:x}"
