"""A node's figures at one moment, for metrics."""

from __future__ import annotations

from dataclasses import dataclass

from tianlu_registry.durations import Durations


@dataclass(frozen=True, slots=True)
class NodeCounts:
    """What a node has done and what it still has to do, at one moment."""

    wal_sync_seconds: Durations
    backend_commit_seconds: Durations
    proposals_failed: int
    proposals_pending: int
    proposals_pending_bytes: int
    apply_backlog: int  # committed entries
    commit_backlog: int  # operations
    leader_changes: int
    keys: int
    leases: int
    watches_slow: int
    auto_compactions: int
    auto_compactions_failed: int
