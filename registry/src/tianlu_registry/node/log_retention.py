"""How much of the log stays behind the database, for members that lag."""

from __future__ import annotations

from typing import Final

from tianlu_registry.node.config import MIB
from tianlu_registry.raft import Index, Status

LOG_BYTES_KEPT_MAX: Final = 64 * MIB
"""Above this the log in memory keeps nothing behind the database, whoever lags: a raft_snapshot
then costs less than the memory."""


def releasable(
    committed: Index, *, log_bytes: int, entries_kept: int, leader_status: Status | None
) -> Index:
    """Return up to where the log is not needed any more.

    Args:
        committed: what the database holds.
        log_bytes: size of the log in memory.
        entries_kept: the margin that stays in any case.
        leader_status: None on a follower. A leader keeps what members that are connected have not
            got, and what follows a raft_snapshot that is on its way.
    """
    if log_bytes > LOG_BYTES_KEPT_MAX:
        return committed
    up_to = max(committed - entries_kept, 0)
    if leader_status is not None:
        for peer in leader_status.peers.values():
            # One that has just taken its first raft_snapshot has not acknowledged it yet.
            position = peer.pending_snapshot or peer.match or peer.next - 1
            if peer.recent_active and position:
                up_to = min(up_to, position)
    return Index(up_to)
