"""What a member is told once, at its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tianlu_registry.errors import InvalidArgument
from tianlu_registry.raft.types import NO_INDEX, NO_MEMBER, Index, MemberId


class RandomSource(Protocol):
    """Where election timeouts come from. `random.Random` is one; a simulation gives a seeded
    one."""

    def randrange(self, stop: int, /) -> int:
        """Return an integer in [0, stop), each equally likely."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A member's settings. Sizes count entries' data only.

    Attributes:
        id: this member; never 0, never used again after the member's removal.
        random: source of the random part of election timeouts. Members must draw differently.
        applied: the newest index that the state machine holds, from its own durable state; only
            entries after it are handed out as committed.
        election_timeout_ticks: a follower that hears nothing from a leader for this many ticks,
            plus a random number of ticks below it, campaigns. A leader that hears nothing from a
            quorum for this long steps down. Above `heartbeat_ticks`; ten times it is usual, so
            that a lost heartbeat or two cost no election.
        heartbeat_ticks: a leader sends heartbeats this often. At least 1.
        uncommitted_bytes_max: a leader refuses proposals while entries of this total size wait
            to be committed, so that a cluster without a quorum does not fill its memory. One
            proposal is always accepted, whatever its size.
        append_bytes_max: entries in one AppendEntries message; at least one entry is sent.
        append_messages_in_flight_max: unacknowledged AppendEntries messages per follower.
        append_bytes_in_flight_max: unacknowledged bytes per follower; no smaller than
            `append_bytes_max`.
        applying_bytes_max: committed entries handed out but not yet applied. Further ones wait;
            one entry is always handed out.
        reads_pending_max: read requests that wait for a quorum's confirmation.
    """

    id: MemberId
    random: RandomSource
    applied: Index = NO_INDEX
    election_timeout_ticks: int = 10
    heartbeat_ticks: int = 1
    uncommitted_bytes_max: int = 64 * 1024 * 1024
    append_bytes_max: int = 1024 * 1024
    append_messages_in_flight_max: int = 256
    append_bytes_in_flight_max: int = 16 * 1024 * 1024
    applying_bytes_max: int = 16 * 1024 * 1024
    reads_pending_max: int = 4096

    def __post_init__(self) -> None:
        """Check the whole.

        Raises:
            InvalidArgument: a field, or the relation of two, is out of range.
        """
        if self.id == NO_MEMBER or self.id < 0:
            raise InvalidArgument("id", "must be positive")
        for name in (
            "heartbeat_ticks",
            "uncommitted_bytes_max",
            "append_bytes_max",
            "append_messages_in_flight_max",
            "applying_bytes_max",
            "reads_pending_max",
        ):
            if getattr(self, name) < 1:
                raise InvalidArgument(name, "must be at least 1")
        if self.applied < 0:
            raise InvalidArgument("applied", "must not be negative")
        if self.election_timeout_ticks <= self.heartbeat_ticks:
            raise InvalidArgument("election_timeout_ticks", "must be above heartbeat_ticks")
        if self.append_bytes_in_flight_max < self.append_bytes_max:
            raise InvalidArgument(
                "append_bytes_in_flight_max", "must not be below append_bytes_max"
            )
