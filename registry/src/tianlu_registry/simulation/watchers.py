"""Clients that watch: from a revision on, at any member, over crashes and compactions.

watch completeness       a watcher is told of every event in its range from its first revision
                         on, once, in order and in whole revisions; or that it was compacted
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu_registry.errors import Compacted
from tianlu_registry.mvcc import WatchBatch, Watcher, WatchSpec
from tianlu_registry.simulation.model import ModelEvent
from tianlu_registry.simulation.violation import require

if TYPE_CHECKING:
    from tianlu_registry.simulation.cluster import Cluster
    from tianlu_registry.simulation.member import SimulatedMember

CHANCE_REFUSED: Final = 0.1
"""That a client takes no more events for a while."""

RESUME_UNITS_MAX: Final = 40


class SimulatedWatcher:
    """One client's watch. Implements `mvcc.WatchSink`.

    Attributes:
        next_revision: everything before it has been seen, or is known to be compacted.
        member: where it watches; None while it is nowhere.
    """

    def __init__(self, cluster: Cluster, name: str, key: bytes, range_end: bytes) -> None:
        self._cluster = cluster
        self._chance: random.Random = cluster.scenario.chance("watcher", name)
        self._name = name
        self._key = key
        self._range_end = range_end
        self._handle: Watcher | None = None
        self._place = 0  # in the history's events: those before it are seen
        self.next_revision = 1
        self.member: SimulatedMember | None = None
        self._incarnation = 0
        self._told: list[tuple[Sequence[Event], int]] = []

    @property
    def is_connected(self) -> bool:
        member = self.member
        return member is not None and member.running and member.incarnation == self._incarnation

    def connect(self, member: SimulatedMember) -> None:
        """Watch at this member, from where the last one left off."""
        self.disconnect()
        spec = WatchSpec(self._key, self._range_end, start_revision=self.next_revision)
        self.member, self._incarnation = member, member.incarnation
        try:
            self._handle = member.service.watch(spec, self)
        except Compacted as error:
            self.ended(error)
            return
        self._cluster.seen["watches begun"] += 1
        self._cluster.trace(f"{self._name} watches at {member.id} from {self.next_revision}")

    def disconnect(self) -> None:
        handle, self._handle, self.member = self._handle, None, None
        if handle is not None:
            handle.cancel()

    def note_progress(self) -> None:
        """Ask how far the member has told all: what a progress notification says."""
        if self._handle is not None and self.is_connected:
            self._see((), self._handle.synced_revision)

    # What the hub calls

    def deliver(self, batch: WatchBatch) -> bool:
        if self._cluster.faulty and self._chance.random() < CHANCE_REFUSED:
            self._resume_later()
            return False
        self._told.append((batch.events, batch.revision))
        self._cluster.seen["events told"] += len(batch.events)
        self.judge()
        return True

    def ended(self, error: Exception) -> None:
        self._handle = self.member = None
        if not isinstance(error, Compacted):
            return
        self._cluster.history.check_compacted(self.next_revision, error)
        self._cluster.seen["watches compacted"] += 1
        self._skip_to(error.compact_revision)

    def _resume_later(self) -> None:
        member, handle = self.member, self._handle
        if member is None:
            return

        def resume() -> None:
            current = self._handle
            if current is not None and (handle is None or current is handle):
                current.resume()

        member.later(self._chance.randint(1, RESUME_UNITS_MAX), resume)

    # What must have happened

    def judge(self) -> None:
        """Compare what was told with what has happened. The first member to apply an entry tells
        its watchers before anybody else knows what has happened."""
        while self._told and self._told[0][1] <= self._cluster.history.model.revision:
            self._see(*self._told.pop(0))

    def _see(self, told: Sequence[Event], through: int) -> None:
        """Compare what was told with what has happened through a revision."""
        expected = self._take_through(through)
        require(
            [(event.type == event.DELETE, event.kv) for event in told]
            == [(event.is_delete, event.kv) for event in expected],
            f"watch completeness: {self._name}, from revision {self.next_revision} and told "
            f"through {through}, hears of [{', '.join(map(_text, told))}], not of "
            f"[{', '.join(map(str, expected))}]",
        )
        self.next_revision = max(self.next_revision, through + 1)

    def _take_through(self, revision: int) -> list[ModelEvent]:
        """Return the events in the range that have not been seen, through a revision."""
        events, found = self._cluster.history.events, []
        while self._place < len(events) and events[self._place].revision <= revision:
            event = events[self._place]
            self._place += 1
            if event.revision >= self.next_revision and self._is_in_range(event.key):
                found.append(event)
        return found

    def _skip_to(self, revision: int) -> None:
        self._take_through(revision - 1)
        self.next_revision = max(self.next_revision, revision)

    def _is_in_range(self, key: bytes) -> bool:
        return key == self._key if not self._range_end else self._key <= key < self._range_end

    @property
    def is_complete(self) -> bool:
        """Whether nothing in the range has happened that it was not told of."""
        events = self._cluster.history.events
        return not any(
            event.revision >= self.next_revision and self._is_in_range(event.key)
            for event in events[self._place :]
        )


def _text(event: Event) -> str:
    what = "delete" if event.type == event.DELETE else "put"
    return f"{event.kv.mod_revision}: {what} {event.kv.key.decode()}"
