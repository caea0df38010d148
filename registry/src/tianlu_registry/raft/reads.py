"""Serving read indexes: the steps between `ReadOnly`'s bookkeeping and the member's messages.

Source: Raft dissertation, section 6.4.
"""

from __future__ import annotations

import contextlib

from tianlu_registry.errors import TooManyRequests
from tianlu_registry.raft.messages import ReadIndexRequest, ReadIndexResponse
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.read_only import ReadRequest
from tianlu_registry.raft.types import Index, ReadState


def request_read(raft: Raft, request: ReadRequest) -> None:
    """Begin a read at the leader.

    Raises:
        TooManyRequests: the backlog is full.
    """
    if not raft.committed_in_term:
        raft.read_only.postpone(request)
        return
    raft.read_only.add(request, raft.log.committed)
    raft.read_only.acknowledge(raft.id, raft.read_only.newest_round)
    answer_confirmed_reads(raft)
    if raft.read_only.newest_round:
        raft.heartbeats_due = True


def on_forwarded_read(raft: Raft, message: ReadIndexRequest) -> None:
    """Begin a follower's read. With a full backlog it is dropped; the follower asks again."""
    with contextlib.suppress(TooManyRequests):
        request_read(raft, ReadRequest(message.sender, message.context))


def start_postponed_reads(raft: Raft) -> None:
    """Begin the reads that waited for the leader's first commit."""
    if raft.committed_in_term:
        for request in raft.read_only.take_postponed():
            request_read(raft, request)


def answer_confirmed_reads(raft: Raft) -> None:
    for request, index in raft.read_only.take_confirmed(raft.tracker.quorum):
        _answer(raft, request, index)


def _answer(raft: Raft, request: ReadRequest, index: Index) -> None:
    if request.requester == raft.id:
        raft.read_states.append(ReadState(index, request.context))
    else:
        raft.messages.append(
            ReadIndexResponse(request.requester, raft.id, raft.term, index, request.context)
        )
