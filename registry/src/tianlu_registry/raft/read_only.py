"""Linearizable reads without writing to the log (ReadIndex).

A leader notes its commit index for each request, then makes sure by a round of heartbeats that it
was still the leader when the request came. An answer to a heartbeat confirms all requests up to
the round that the heartbeat named, so that any number of requests costs one exchange.

A new leader does not know what is committed until an entry of its own term is; requests that come
earlier wait for that.

Source: Raft dissertation, section 6.4.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tianlu_registry.errors import TooManyRequests
from tianlu_registry.raft.quorum import Quorum
from tianlu_registry.raft.types import Index, MemberId


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Who asked, and for what."""

    requester: MemberId
    context: int


class ReadOnly:
    """A leader's pending read requests.

    Args:
        pending_max: at this many, further ones are refused.
    """

    __slots__ = ("_acknowledged", "_confirmed_round", "_early", "_pending", "_pending_max")

    def __init__(self, pending_max: int) -> None:
        self._pending_max = pending_max
        self._early: list[ReadRequest] = []
        # The request at position i belongs to round _confirmed_round + i + 1.
        self._pending: deque[tuple[ReadRequest, Index]] = deque()
        self._confirmed_round = 0
        # Rounds are confirmed as indexes are committed: by what a majority has acknowledged.
        self._acknowledged: dict[MemberId, Index] = {}

    @property
    def newest_round(self) -> int:
        """The round that confirms all pending requests; 0 if there are none."""
        return self._confirmed_round + len(self._pending) if self._pending else 0

    def postpone(self, request: ReadRequest) -> None:
        """Keep a request until the leader has committed an entry of its term.

        Raises:
            TooManyRequests: the backlog is full.
        """
        self._check_room()
        self._early.append(request)

    def take_postponed(self) -> list[ReadRequest]:
        early, self._early = self._early, []
        return early

    def add(self, request: ReadRequest, commit: Index) -> None:
        """Start a round for a request that came while `commit` was the commit index.

        Raises:
            TooManyRequests: the backlog is full.
        """
        self._check_room()
        self._pending.append((request, commit))

    def acknowledge(self, member: MemberId, read_round: int) -> None:
        self._acknowledged[member] = max(
            self._acknowledged.get(member, Index(0)), Index(read_round)
        )

    def take_confirmed(self, quorum: Quorum) -> list[tuple[ReadRequest, Index]]:
        """Return the requests that a quorum has confirmed, with their read indexes."""
        confirmed_round = quorum.committed_index(self._acknowledged)
        taken = []
        while self._pending and self._confirmed_round < confirmed_round:
            taken.append(self._pending.popleft())
            self._confirmed_round += 1
        return taken

    def _check_room(self) -> None:
        if len(self._early) + len(self._pending) >= self._pending_max:
            raise TooManyRequests
