"""What a pre-candidate or candidate does with a message.

Source: Raft, section 5.2; dissertation, section 9.6.
"""

from __future__ import annotations

from tianlu_registry.raft import follower
from tianlu_registry.raft.election import count_vote, learn_commit
from tianlu_registry.raft.messages import (
    AppendEntries,
    Heartbeat,
    InstallSnapshot,
    RequestVoteResponse,
)
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.types import Role


def on_append_entries(raft: Raft, message: AppendEntries) -> None:
    """Another has won this term: follow it."""
    raft.become_follower(raft.term, message.sender)
    follower.on_append_entries(raft, message)


def on_heartbeat(raft: Raft, message: Heartbeat) -> None:
    raft.become_follower(raft.term, message.sender)
    follower.on_heartbeat(raft, message)


def on_install_snapshot(raft: Raft, message: InstallSnapshot) -> None:
    raft.become_follower(raft.term, message.sender)
    follower.on_install_snapshot(raft, message)


def on_pre_vote_response(raft: Raft, message: RequestVoteResponse) -> None:
    """Count a pre-vote. A grant names the term that was asked for; one for another is stale."""
    learn_commit(raft, message)
    if raft.role is not Role.PRE_CANDIDATE:
        return
    if message.pre_vote and (not message.granted or message.term == raft.term + 1):
        count_vote(raft, message.sender, granted=message.granted)


def on_vote_response(raft: Raft, message: RequestVoteResponse) -> None:
    learn_commit(raft, message)
    if raft.role is Role.CANDIDATE and not message.pre_vote:
        count_vote(raft, message.sender, granted=message.granted)
