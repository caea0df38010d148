"""What the transport knows about another member: for metrics, `status` and the doctor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tianlu_registry.durations import Durations

ROUND_TRIP_BOUNDS_SECONDS: Final = tuple(0.0001 * 2**power for power in range(16))
"""0.1 ms to 3.3 s, doubling. Source: etcd server/etcdserver/api/rafthttp/metrics.go."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One member, as of now. Counters only grow, from the start of the process.

    Attributes:
        urls: where it is dialled.
        connected: whether our log connection to it is up.
        since: when that began or ended, in the loop's time.
        release: its program's; "" before it was ever connected.
        round_trip_seconds: of the newest ping; None before the first.
        round_trips: of all pings; the transport's own, which goes on counting.
        bytes_sent, bytes_received: on all connections with it, dialled or accepted.
        messages_sent, messages_received: the consensus core's.
        dropped: messages that could not be sent.
        queue_bytes, queue_messages: what waits to be sent.
        connects: how often the log connection came up.
        snapshots_sent, snapshots_failed: how `send_snapshot` ended.
        last_error: why the last connection or attempt failed; "" while connected.
    """

    urls: tuple[str, ...]
    connected: bool
    since: float
    release: str
    round_trip_seconds: float | None
    round_trips: Durations
    bytes_sent: int
    bytes_received: int
    messages_sent: int
    messages_received: int
    dropped: int
    queue_bytes: int
    queue_messages: int
    connects: int
    snapshots_sent: int
    snapshots_failed: int
    last_error: str


@dataclass(slots=True)
class PeerCounters:
    """The growing figures of one member; see PeerStatus."""

    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    dropped: int = 0
    connects: int = 0
    snapshots_sent: int = 0
    snapshots_failed: int = 0
    round_trips: Durations = field(default_factory=lambda: Durations(ROUND_TRIP_BOUNDS_SECONDS))
