"""The newest changes, kept for subscribers that resume.

A ring of whole revisions with a bounded number of events. A subscriber is nothing here: it holds
a revision and asks what came after it, so a slow one costs no memory, and one that is too far
behind is told to take a snapshot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Change:
    """One visible change and the service that it concerns.

    Attributes:
        event: an encoded `CatalogEvent`.
        suspected_session: the session of an instance that is suspect now; else 0.
    """

    namespace: str
    service: str
    event: bytes
    suspected_session: int = 0


@dataclass(frozen=True, slots=True)
class RevisionChanges:
    """All visible changes of one revision; never empty."""

    revision: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class WatchFilter:
    """What a subscriber wants: a namespace (empty: all) and services (empty: all)."""

    namespace: str = ""
    services: frozenset[str] = frozenset()

    def matches(self, namespace: str, service: str) -> bool:
        return (not self.namespace or self.namespace == namespace) and (
            not self.services or service in self.services
        )


class ChangeHistory:
    """Changes of revisions after `floor`.

    Invariants: revisions rise; every visible change after `floor` is here.
    """

    def __init__(self, events_max: int, bytes_max: int = BYTES_MAX) -> None:
        """Args:
        events_max: events kept, at least 1.
        bytes_max: bytes that they may have together. The newest revision is kept whatever its
            size.
        """
        self._events_max = events_max
        self._bytes_max = bytes_max
        self._ring: deque[RevisionChanges] = deque()
        self._events_count = 0
        self._bytes_count = 0
        self.floor = 0

    def reset(self, revision: int) -> None:
        """Forget everything; from here on changes after `revision` are known."""
        self._ring.clear()
        self._events_count = self._bytes_count = 0
        self.floor = revision

    def append(self, changes: RevisionChanges) -> None:
        """Take the next revision; the oldest ones leave when there is no room."""
        self._ring.append(changes)
        self._count(changes, 1)
        while self._overfull() and len(self._ring) > 1:
            oldest = self._ring.popleft()
            self._count(oldest, -1)
            self.floor = oldest.revision

    def _overfull(self) -> bool:
        return self._events_count > self._events_max or self._bytes_count > self._bytes_max

    def _count(self, changes: RevisionChanges, sign: int) -> None:
        self._events_count += sign * len(changes.changes)
        self._bytes_count += sign * sum(len(change.event) for change in changes.changes)

    def reaches(self, revision: int) -> bool:
        """Whether a subscriber that holds `revision` can go on from it."""
        return revision >= self.floor

    def since(self, revision: int) -> list[RevisionChanges]:
        """Return what came after `revision`, oldest first. Ask `reaches` before.

        Costs time in proportion to what is returned, not to what is kept.
        """
        newer: list[RevisionChanges] = []
        for changes in reversed(self._ring):
            if changes.revision <= revision:
                break
            newer.append(changes)
        newer.reverse()
        return newer


def matching(
    revisions: Iterable[RevisionChanges], wanted: WatchFilter
) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the revisions that have something for a filter, with those events."""
    for changes in revisions:
        events = [
            change.event
            for change in changes.changes
            if wanted.matches(change.namespace, change.service)
        ]
        if events:
            yield changes.revision, events
