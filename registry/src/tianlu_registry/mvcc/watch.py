"""Watches: every watcher gets every event that it asked for exactly once, in order, in whole
revisions.

A watcher is in one state:

    SYNCED    it has everything up to the hub's revision; `publish` delivers to it
    LAGGING   it wants history; `catch_up` reads that from the backend
    BLOCKED   its sink refused a batch; nothing happens until `resume`
    ENDED     cancelled, or told that it is over

    watch    -> SYNCED (from the next revision, or a later one) | LAGGING (from the past)
    SYNCED   -> BLOCKED by a refused batch
    LAGGING  -> SYNCED at the end of history | BLOCKED by a refused batch
    BLOCKED  -> LAGGING by resume
    any      -> ENDED by cancel, close, or compaction of what it still needed

For one that is not synced the hub keeps only the next revision it needs, never events: a slow
watcher costs no memory. Watchers that want the same form a group; events are matched, built and
batched once per group. Watchers that lag from different places share one reading of history:
catch_up reads on from the one furthest behind and serves the others as it comes by them.

Source: etcd server/storage/mvcc/watchable_store.go, watcher_group.go (which keeps refused batches
in memory; we do not).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu_registry.errors import Compacted, EmptyWatchRange, InvariantBroken
from tianlu_registry.mvcc.revision import MAIN_SHIFT, Change
from tianlu_registry.mvcc.types import (
    WHOLE_KEYSPACE_FROM,
    WatchBatch,
    Watcher,
    WatchSink,
    WatchSpec,
)
from tianlu_registry.mvcc.watch_groups import Batches, Group, History, Membership, Wish

GATHERED_BYTES_MAX: Final = 256 * 1024
"""What is gathered is delivered when its records are larger than that: clients refuse messages of
4 MiB."""

HISTORY_BYTES_MAX: Final = 1024 * 1024
"""History read at a time ends when its records are larger than that: a watcher that lags gets as
much in one batch, whatever its backlog allows."""


class _State(Enum):
    SYNCED = auto()
    LAGGING = auto()
    BLOCKED = auto()
    ENDED = auto()


class _HubWatcher:
    """A watcher as its creator holds it; the hub moves it through the states.

    Attributes:
        next_revision: first revision not delivered (SYNCED: nothing before it is wanted).
    """

    __slots__ = ("_hub", "next_revision", "sink", "state", "wish")

    def __init__(self, hub: WatchHub, wish: Wish, sink: WatchSink, next_revision: int) -> None:
        self._hub = hub
        self.wish = wish
        self.sink = sink
        self.next_revision = next_revision
        self.state = _State.ENDED  # until the hub has placed it

    @property
    def synced_revision(self) -> int:
        if self.state is _State.SYNCED:
            return self._hub.revision
        return self.next_revision - 1

    def resume(self) -> None:
        self._hub._resume(self)

    def cancel(self) -> None:
        self._hub._leave(self)


class WatchHub:
    """All watches of a node.

    Threading: the applying thread only. Sinks may watch, cancel and resume from within `deliver`.

    Args:
        history: the store; its changes are published here in order of revision. on_lagging:
        called when `catch_up` has become worth calling, from within `watch` or `resume`.
    """

    def __init__(self, history: History, on_lagging: Callable[[], None] | None = None) -> None:
        self._history = history
        self._on_lagging = on_lagging
        self._synced: Membership[_HubWatcher] = Membership()
        self._lagging: Membership[_HubWatcher] = Membership()
        self._blocked: dict[_HubWatcher, None] = {}
        self._gathers = False
        self._gathered: list[Change] = []
        self._gathered_bytes = 0
        self._compact_revision_seen = history.compact_revision
        self.revision = history.revision

    @property
    def has_lagging(self) -> bool:
        """Whether `catch_up` would bring a watcher forward."""
        return bool(self._lagging.watchers)

    @property
    def synced_count(self) -> int:
        return len(self._synced.watchers)

    @property
    def slow_count(self) -> int:
        """Watchers that lag or are blocked."""
        return len(self._lagging.watchers) + len(self._blocked)

    def watch(self, spec: WatchSpec, sink: WatchSink) -> Watcher:
        """Start a watch. An empty key means the smallest one, as etcd's API has it.

        Raises:
            EmptyWatchRange: no key can be in the range.
            Compacted: `start_revision` is older than the history kept.
        """
        wish = Wish(spec.key or b"\x00", spec.range_end, spec.prev_kv, spec.no_put, spec.no_delete)
        has_end = wish.range_end and wish.range_end != WHOLE_KEYSPACE_FROM
        if has_end and wish.range_end <= wish.key:
            raise EmptyWatchRange
        start = spec.start_revision
        if start and start < self._history.compact_revision:
            raise Compacted(compact_revision=self._history.compact_revision)
        watcher = _HubWatcher(self, wish, sink, max(start, 1) if start else self.revision + 1)
        self._place(watcher)
        return watcher

    def publish(self, revision: int, changes: Sequence[Change]) -> None:
        """Deliver the changes of the next revision to the synced watchers, at once or, after
        `gather`, with those of others.

        Every revision must be published, once, in order, before anything else happens.
        """
        if revision != self.revision + 1:
            raise InvariantBroken(f"published revision {revision} after {self.revision}")
        self.revision = revision
        if not self._synced.watchers:
            return
        self._gathered.extend(changes)
        self._gathered_bytes += sum(len(change.record) for change in changes)
        if not self._gathers or self._gathered_bytes >= GATHERED_BYTES_MAX:
            self.flush()

    def gather(self) -> None:
        """Keep what is published until `deliver`, so that a watcher gets the changes of many
        revisions in one batch. Between the two nothing but publishing may happen."""
        self._gathers = True

    def deliver(self) -> None:
        """Deliver what was gathered, and from now on at once."""
        self._gathers = False
        self.flush()

    def flush(self) -> None:
        """Deliver what was gathered so far: its history is about to go."""
        if not self._gathered:
            return
        changes, self._gathered, self._gathered_bytes = self._gathered, [], 0
        while changes:
            found, count = self._synced.events_of(changes, self._history)
            is_cut = count < len(changes)
            through = changes[count - 1].packed >> MAIN_SHIFT if is_cut else self.revision
            self._deliver_synced(found, changes[0].packed >> MAIN_SHIFT, through)
            changes = changes[count:] if is_cut else []

    def _deliver_synced(
        self, found: dict[Group[_HubWatcher], list[tuple[int, Event]]], first: int, through: int
    ) -> None:
        """Deliver the events of the revisions from `first` to `through`."""
        batches = Batches(through, found)
        for group in found:
            for watcher in tuple(group.members):
                # Another's sink may have cancelled it meanwhile, or it waits for a later revision.
                if watcher.state is not _State.SYNCED or watcher.next_revision > through:
                    continue
                start = max(watcher.next_revision, first)
                batch = batches.of(watcher.wish, start)
                if batch is not None and not watcher.sink.deliver(batch):
                    self._block(watcher, start)

    def catch_up(self, events_max: int) -> bool:
        """Read the next part of history and deliver it to the watchers that are at or in it.

        Args:
            events_max: read no more changes than that, nor more than `HISTORY_BYTES_MAX`, apart
            from completing a revision.

        Returns:
            Whether there is more to do. Call again when other work has had its turn.
        """
        self._end_compacted()
        lagging = tuple(self._lagging.watchers)
        if not lagging:
            return False
        start = min(watcher.next_revision for watcher in lagging)
        changes, through = self._history.changes_since(
            start, self.revision, events_max, HISTORY_BYTES_MAX
        )
        found, count = self._lagging.events_of(changes, self._history)
        if count < len(changes):
            through = changes[count - 1].packed >> MAIN_SHIFT
        batches = Batches(through, found)
        for watcher in lagging:
            if watcher.state is _State.LAGGING and watcher.next_revision <= through:
                self._bring_through(watcher, through, batches)
        return self.has_lagging

    def resync(self) -> None:
        """Go on with a store that has been replaced by a later state of itself.

        The watchers read from its history what they have not seen; those whose history is gone
        are told so, as after a compaction.
        """
        wanted = {
            watcher: max(watcher.next_revision, self.revision + 1)
            for watcher in self._synced.watchers
        }
        for watcher in wanted:
            self._leave(watcher)
        self.revision = self._history.revision
        for watcher, next_revision in wanted.items():
            watcher.next_revision = next_revision
            self._place(watcher)
        self._end_compacted()

    def close(self, error: Exception) -> None:
        """End every watch with `error`."""
        for group in (self._synced.watchers, self._lagging.watchers, self._blocked):
            for watcher in tuple(group):
                self._end(watcher, error)

    # Transitions

    def _place(self, watcher: _HubWatcher) -> None:
        if watcher.next_revision > self.revision:
            watcher.state = _State.SYNCED
            self._synced.add(watcher)
            return
        watcher.state = _State.LAGGING
        is_first = not self._lagging.watchers
        self._lagging.add(watcher)
        if is_first and self._on_lagging is not None:
            self._on_lagging()

    def _leave(self, watcher: _HubWatcher) -> None:
        if watcher.state is _State.SYNCED:
            # What it has seen must remain readable in synced_revision.
            watcher.next_revision = self.revision + 1
            self._synced.remove(watcher)
        elif watcher.state is _State.LAGGING:
            self._lagging.remove(watcher)
        elif watcher.state is _State.BLOCKED:
            del self._blocked[watcher]
        watcher.state = _State.ENDED

    def _end(self, watcher: _HubWatcher, error: Exception) -> None:
        if watcher.state is not _State.ENDED:
            self._leave(watcher)
            watcher.sink.ended(error)

    def _resume(self, watcher: _HubWatcher) -> None:
        if watcher.state is not _State.BLOCKED:
            return
        compact_revision = self._history.compact_revision
        if watcher.next_revision < compact_revision:
            self._end(watcher, Compacted(compact_revision=compact_revision))
            return
        del self._blocked[watcher]
        self._place(watcher)

    def _deliver(self, watcher: _HubWatcher, batch: WatchBatch) -> bool:
        """Return whether a lagging watcher took the batch and still runs; block it if it
        refused."""
        is_taken = watcher.sink.deliver(batch)
        if not is_taken:
            self._block(watcher, watcher.next_revision)
        return is_taken and watcher.state is not _State.ENDED

    def _block(self, watcher: _HubWatcher, first_missed: int) -> None:
        """Set aside a watcher that refused a batch, unless its sink ended it."""
        if watcher.state is not _State.ENDED:
            self._leave(watcher)
            watcher.next_revision = first_missed
            watcher.state = _State.BLOCKED
            self._blocked[watcher] = None

    def _bring_through(self, watcher: _HubWatcher, through: int, batches: Batches) -> None:
        batch = batches.of(watcher.wish, watcher.next_revision)
        if batch is not None and not self._deliver(watcher, batch):
            return
        watcher.next_revision = through + 1
        if through == self.revision:
            self._lagging.remove(watcher)
            self._place(watcher)

    def _end_compacted(self) -> None:
        """End watchers whose history is gone, if there was a compaction since the last look."""
        compact_revision = self._history.compact_revision
        if compact_revision == self._compact_revision_seen:
            return
        self._compact_revision_seen = compact_revision
        for group in (self._lagging.watchers, self._blocked):
            for watcher in tuple(group):
                if watcher.next_revision < compact_revision:
                    self._end(watcher, Compacted(compact_revision=compact_revision))
