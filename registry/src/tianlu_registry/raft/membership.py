"""Changing the membership: what a leader takes into its log, and what every member does when such
an entry is applied.

A configuration is in force from when its entry is *applied*, not from when it is appended. Three
rules make that safe, where Raft's own proof lets it be in force at once:

1. A leader takes no change while one may be unapplied at it: neither one of its own, nor any that
   its log held when it was elected. It must have applied an entry of its own term first.
2. Whoever stores the entry of a change stores with it a commit index that covers the change before
   (a leader sends its commit index with every append, and rule 1 puts it there).
3. A member does not campaign while it knows of a committed change that it has not applied.

So a candidate's configuration is at most one change older than the newest that anybody may use,
and any two majorities of neighbouring configurations have a member in common.

Source: Raft dissertation, chapter 4; etcd raft, raft.go (applyConfChange, switchToConfig).
"""

from __future__ import annotations

import contextlib

from tianlu_registry.errors import Conflict, InvariantBroken, Unavailable
from tianlu_registry.raft import replication, transfer
from tianlu_registry.raft.confchange import LEAVE_JOINT, ConfChange, ConfChangePending, changed
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.reads import answer_confirmed_reads
from tianlu_registry.raft.types import NO_MEMBER, ConfState, EntryType, Index, Role


def propose(raft: Raft, change: ConfChange) -> None:
    """Append a change to a leader's log.

    Raises:
        ConfChangePending: an earlier one may not have been applied.
        Conflict: it does not fit the present membership.
        TooManyRequests, NoLeader: as for any proposal.
    """
    if raft.pending_conf_index > raft.log.applied:
        raise ConfChangePending
    changed(raft.tracker.conf_state, change)
    raft.append(change.encode(), EntryType.CONF_CHANGE)
    raft.pending_conf_index = raft.log.last_index


def apply(raft: Raft, index: Index, change: ConfChange) -> ConfState:
    """Put a committed change into force; with that the entry at `index` is applied.

    Raises:
        InvariantBroken: it does not fit, though its leader saw that it would.
    """
    if raft.log.is_replaced(index):
        return raft.tracker.conf_state
    try:
        conf_state = changed(raft.tracker.conf_state, change)
    except Conflict as error:
        raise InvariantBroken(f"{InvariantBroken.text}: entry {index}: {error}") from error
    raft.log.applied_to(index)
    raft.tracker.switch(conf_state, Index(raft.log.last_index + 1))
    if raft.role is Role.LEADER:
        _lead_new_members(raft)
    return conf_state


def leave_joint_if_due(raft: Raft) -> None:
    """Let a leader end a joint configuration that was entered to be left by itself. If it cannot
    just now, it tries again with every tick and every applied entry."""
    if raft.role is Role.LEADER and raft.tracker.conf_state.auto_leave:
        with contextlib.suppress(Unavailable):
            propose(raft, LEAVE_JOINT)


def _lead_new_members(raft: Raft) -> None:
    raft.appends_due = True
    if not raft.tracker.is_promotable:
        # Those who stay should know that the change is committed before they must elect another.
        replication.send_due(raft)
        raft.become_follower(raft.term, NO_MEMBER)
        return
    if raft.transferee not in raft.tracker.quorum.members:
        transfer.cancel(raft)
    # A smaller quorum may already have what a larger one was waiting for.
    replication.commit_if_possible(raft)
    answer_confirmed_reads(raft)
    leave_joint_if_due(raft)
