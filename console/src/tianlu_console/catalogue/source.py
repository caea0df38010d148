"""How fresh what the pages show is, in words a person can act on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tianlu import CatalogView, Rung


class SourceState(StrEnum):
    """Where the console stands towards the registry."""

    LIVE = "live"
    """A watch holds: what is shown is what is."""
    STALE = "stale"
    """The registry is away: pages show the last known view."""
    WAITING = "waiting"
    """Nothing has been received yet and nothing is on disk: pages are empty for that reason alone.
    """


@dataclass(frozen=True, slots=True)
class Source:
    """What every page says about the view that it was made from.

    Attributes:
        revision: catalogue revision of the view; 0 while waiting.
        rung: "process" or "snapshot": where the view is held.
        since_unix_ms: when the registry last confirmed it; None while live or waiting.
    """

    state: SourceState
    revision: int
    rung: str
    since_unix_ms: int | None


def describe_source(view: CatalogView, now_unix_ms: int) -> Source:
    """Return the description of `view` as of `now_unix_ms`."""
    rung = Rung(view.rung).name.lower()
    if view.age_seconds <= 0 and view.revision > 0:
        return Source(SourceState.LIVE, view.revision, rung, None)
    if view.revision == 0:
        return Source(SourceState.WAITING, 0, rung, None)
    return Source(
        SourceState.STALE, view.revision, rung, now_unix_ms - int(view.age_seconds * 1000)
    )
