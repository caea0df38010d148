"""Proposals on their way through the log: who waits for what, and how many may.

A proposal lives from `open` until its entry is applied (or the node stops). Whoever asked may stop
waiting earlier, by cancellation or by the timeout; the proposal still counts against the backlog
until its entry is applied, because until then its bytes are held by the log. So a disk that hangs
makes callers see `RequestTimeout` and then `TooManyRequests`; it never makes the node grow. One
that was passed on to another member holds nothing here, and goes with its waiter.

A proposal becomes an entry of the term that it was made in, or none (raft/DESIGN.md, duty 9). So
once an entry of a later term is applied, those of earlier terms that are still open are in no log
and will be in none: `overtaken` gives them out to be proposed again, at no risk of a second
effect. Until a leader is known, proposals wait here in the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from tianlu_registry.errors import NoLeader, RegistryError, RequestTimeout, TooManyRequests
from tianlu_registry.node import command
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.raft.types import NO_TERM, Term


class Proposal:
    """One command between its request and its answer. A class of slots: the hot path makes one.

    Attributes:
        kind, request: the command, as parsed by whoever asked.
        data: its log entry's bytes.
        answered: done with the response message, or with the error that the caller shall see.
        deadline: event-loop time at which `answered` fails with `RequestTimeout`.
        term: in which it was proposed; NO_TERM while it waits for a leader.
        is_forwarded: another member was asked to append it.
        is_bound: it is what the leader of one term has decided, and must not be proposed in
            another (docs/adr/0014).
    """

    __slots__ = (
        "answered",
        "data",
        "deadline",
        "is_bound",
        "is_forwarded",
        "kind",
        "request",
        "term",
    )

    def __init__(
        self,
        kind: CommandKind,
        request: Request,
        data: bytes,
        answered: asyncio.Future[Any],
        deadline: float,
    ) -> None:
        self.kind = kind
        self.request = request
        self.data = data
        self.answered = answered
        self.deadline = deadline
        self.term = NO_TERM
        self.is_forwarded = False
        self.is_bound = False

    def succeed(self, response: object) -> None:
        """Answer, if anybody still waits."""
        if not self.answered.done():
            self.answered.set_result(response)

    def fail(self, error: Exception) -> None:
        """Answer with an error, if anybody still waits."""
        if not self.answered.done():
            self.answered.set_exception(error)


class ProposalTable:
    """All proposals of this node that are not applied yet, by their number.

    Args:
        loop: the event loop that the waiters run on; everything here runs on it.
        first_id: where numbering starts. Entries of an earlier run may still be in the log, so a
            fresh random number: `claim` compares the bytes too, so a repeat does no harm.
        count_max, bytes_max: the backlog beyond which `open` refuses.
        timeout_seconds: how long a waiter waits.

    Attributes:
        failed_count: proposals refused at the maximum, or not answered in time, since the start.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        first_id: int,
        count_max: int,
        bytes_max: int,
        timeout_seconds: float,
    ) -> None:
        self._loop = loop
        self._next_id = first_id & command.ID_MAX
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._timeout_seconds = timeout_seconds
        self._open: dict[int, Proposal] = {}
        self._bytes = 0
        self.failed_count = 0
        # Equal timeouts, so deadlines end in the order of opening, which is that of claiming.
        self._deadlines: deque[Proposal] = deque()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def bytes_open(self) -> int:
        """Log bytes of all open proposals."""
        return self._bytes

    def open(self, kind: CommandKind, request: Request, payload: bytes) -> Proposal:
        """Number and keep a new proposal.

        Args:
            kind: what it does.
            request: the parsed message; belongs to the table from now on.
            payload: the same, serialized.

        Raises:
            TooManyRequests: the backlog is at its maximum.
        """
        size = len(payload) + command.ENVELOPE_BYTES
        if len(self._open) >= self._count_max or self._bytes + size > self._bytes_max:
            self.failed_count += 1
            raise TooManyRequests
        proposal_id = self._next_id
        self._next_id = (proposal_id + 1) & command.ID_MAX
        data = command.encode(kind, proposal_id, payload)
        loop = self._loop
        proposal = Proposal(
            kind, request, data, loop.create_future(), loop.time() + self._timeout_seconds
        )
        self._open[proposal_id] = proposal
        self._bytes += size
        self._deadlines.append(proposal)
        return proposal

    def claim(self, data: bytes) -> Proposal | None:
        """Take out the proposal that became the log entry `data`; None if it is not from here."""
        proposal_id = command.proposal_id_of(data)
        proposal = self._open.get(proposal_id)
        if proposal is None or proposal.data != data:
            return None
        del self._open[proposal_id]
        self._bytes -= len(data)
        deadlines = self._deadlines
        if deadlines and deadlines[0] is proposal:
            deadlines.popleft()
        return proposal

    def withdraw(self, proposal: Proposal) -> None:
        """Forget a proposal that did not get into the log. Nobody may wait for it any more."""
        self.claim(proposal.data)
        proposal.answered.cancel()

    def expire(self, now: float) -> int:
        """Fail the waiters whose time is up; returns how many. What this member's own log may hold
        stays in the backlog."""
        expired = 0
        deadlines = self._deadlines
        while deadlines and (deadlines[0].answered.done() or deadlines[0].deadline <= now):
            proposal = deadlines.popleft()
            if not proposal.answered.done():
                proposal.fail(RequestTimeout())
                expired += 1
            if proposal.is_forwarded or proposal.term == NO_TERM:
                self._forget(proposal)
        self.failed_count += expired
        return expired

    def waiting(self) -> list[Proposal]:
        """Return the proposals that are in no log because no leader was known, in their order."""
        return [proposal for proposal in self._open.values() if proposal.term == NO_TERM]

    def overtaken(self, term: Term) -> None:
        """Take note that an entry of `term` was applied: what was proposed in an earlier one, and
        is still open, is in no log. It waits to be proposed again, if anybody still wants it;
        what is bound to its term fails with `NoLeader`."""
        for proposal in list(self._open.values()):
            if NO_TERM < proposal.term < term:
                proposal.term = NO_TERM
                if proposal.is_bound:
                    proposal.fail(NoLeader())
                if proposal.answered.done():
                    self._forget(proposal)

    def replaced(self, term: Term) -> None:
        """Take note that a raft_snapshot that ends in `term` has replaced the state. It may hold
        what was proposed up to that term; nobody can tell, so it must not be proposed again."""
        for proposal in list(self._open.values()):
            if NO_TERM < proposal.term <= term:
                proposal.fail(RequestTimeout())
                self._forget(proposal)

    def _forget(self, proposal: Proposal) -> None:
        """Take a proposal out of the backlog, if it is there."""
        proposal_id = command.proposal_id_of(proposal.data)
        if self._open.get(proposal_id) is proposal:
            del self._open[proposal_id]
            self._bytes -= len(proposal.data)

    def waiters(self) -> list[asyncio.Future[Any]]:
        """Return the futures that somebody may still wait for."""
        return [p.answered for p in self._open.values() if not p.answered.done()]

    def fail_all(self, make_error: type[RegistryError]) -> None:
        """Fail every waiter and forget the proposals: the node stops."""
        proposals, self._open, self._bytes = self._open, {}, 0
        self._deadlines.clear()
        for proposal in proposals.values():
            proposal.fail(make_error())
