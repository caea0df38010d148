"""Handing leadership over to a chosen voter.

The leader takes no more proposals, waits until the other's log is as long as its own, and asks it
to campaign at once (TimeoutNow). Its election raises the term, and that ends the old leadership.
Should it not come about within an election timeout, the leader goes on as if nothing had been.

Nothing here is needed for safety: the other wins by an election like any other.

Source: Raft dissertation, section 3.10; etcd raft, raft.go (MsgTransferLeader).
"""

from __future__ import annotations

from tianlu_registry.raft.messages import ForwardedTransfer, TimeoutNow
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.types import NO_MEMBER, MemberId


def start(raft: Raft, transferee: MemberId) -> None:
    """Begin to hand over to a voter, instead of whom it was before. A leader's own number ends the
    attempt that is under way; one that is no voter is ignored."""
    if transferee == raft.id:
        cancel(raft)
    elif transferee != raft.transferee and transferee in raft.tracker.quorum.members:
        raft.transferee = transferee
        raft.transfer_elapsed = 0
        raft.appends_due = True
        finish_if_caught_up(raft)


def cancel(raft: Raft) -> None:
    raft.transferee = NO_MEMBER


def on_forwarded_transfer(raft: Raft, message: ForwardedTransfer) -> None:
    start(raft, message.transferee)


def finish_if_caught_up(raft: Raft) -> None:
    """Ask the transferee to campaign if it holds the whole log. Repeated with each of its answers,
    as the request may be lost."""
    progress = raft.tracker.progress[raft.transferee]
    if progress.match == raft.log.last_index:
        raft.messages.append(TimeoutNow(raft.transferee, raft.id, raft.term))


def tick(raft: Raft) -> None:
    """Give up after an election timeout: proposals have waited long enough."""
    if raft.transferee:
        raft.transfer_elapsed += 1
        if raft.transfer_elapsed >= raft.config.election_timeout_ticks:
            cancel(raft)
