"""How much of the log a leader keeps for whom."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tianlu_registry.node.log_retention import LOG_BYTES_KEPT_MAX, releasable
from tianlu_registry.raft import Index


def peer(**fields: Any) -> SimpleNamespace:
    known = {"match": 0, "next": 1, "pending_snapshot": 0, "recent_active": True}
    return SimpleNamespace(**{**known, **fields})


def released(*peers: SimpleNamespace, log_bytes: int = 0) -> int:
    status: Any = SimpleNamespace(peers=dict(enumerate(peers)))
    return releasable(Index(1000), log_bytes=log_bytes, entries_kept=100, leader_status=status)


def test_a_margin_stays_in_any_case() -> None:
    assert releasable(Index(1000), log_bytes=0, entries_kept=100, leader_status=None) == 900
    assert releasable(Index(50), log_bytes=0, entries_kept=100, leader_status=None) == 0
    assert released(peer(match=950)) == 900


def test_what_a_connected_member_lacks_stays() -> None:
    assert released(peer(match=1000), peer(match=300)) == 300
    assert released(peer(match=300, recent_active=False)) == 900


def test_what_follows_a_raft_snapshot_stays_until_it_is_acknowledged() -> None:
    assert released(peer(pending_snapshot=400, match=2)) == 400
    assert released(peer(next=401)) == 400
    assert released(peer(match=401, next=402)) == 401


def test_nothing_stays_for_a_member_of_which_nothing_is_known() -> None:
    assert released(peer()) == 900


def test_a_large_log_is_kept_for_nobody() -> None:
    assert released(peer(match=300), log_bytes=LOG_BYTES_KEPT_MAX + 1) == 1000
