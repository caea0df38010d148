"""Limits and periods of the catalogue's service."""

from __future__ import annotations

from dataclasses import dataclass

from tianlu_registry.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class GovernanceConfig:
    """How long the catalogue waits and how much it keeps.

    Attributes:
        ready_wait_seconds: how long a request waits for the view's first load before it is
            refused as unavailable.
        revision_wait_seconds: how long a read waits for its `min_revision`, unless its own
            deadline is nearer.
        stream_grace_seconds: between the break of a session's last stream and its instances
            turning suspect. Long enough for a client to reconnect, short enough to be noticed.
        mass_break_seconds: what is waited instead when most of this node's streams broke
            together, because then the node is the likelier cause and may be about to stop.
        bookmark_seconds: how often a quiet subscriber is told the revision.
        leaderless_seconds: for how long this node may know no leader before its subscribers are
            sent to other nodes; well above the time of an election.
        sweep_seconds: how often expired overrides are looked for.
        history_events_max: events kept for subscribers that resume.
        history_revisions: how far back a starting node looks for changes, of whatever keys, so
            that subscribers can resume after its restart.
        subscribers_max: watch streams on this node; further ones are refused.
        load_page_keys: keys read at a time while the view loads.
    """

    ready_wait_seconds: float = 5.0
    revision_wait_seconds: float = 5.0
    stream_grace_seconds: float = 0.3
    mass_break_seconds: float = 1.0
    bookmark_seconds: float = 3.0
    leaderless_seconds: float = 5.0
    sweep_seconds: float = 1.0
    history_events_max: int = 20_000
    history_revisions: int = 5_000
    subscribers_max: int = 20_000
    load_page_keys: int = 2_000

    def __post_init__(self) -> None:
        for name in ("stream_grace_seconds", "bookmark_seconds", "sweep_seconds"):
            if getattr(self, name) <= 0:
                raise InvalidArgument(name, "must be positive")
        for name in ("history_events_max", "subscribers_max", "load_page_keys"):
            if getattr(self, name) < 1:
                raise InvalidArgument(name, "must be at least 1")
        if self.history_revisions < 0:
            raise InvalidArgument("history_revisions", "must not be negative")
        if self.mass_break_seconds < self.stream_grace_seconds:
            raise InvalidArgument("mass_break_seconds", "must not be below stream_grace_seconds")
