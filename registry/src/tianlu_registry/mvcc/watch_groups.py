"""Groups of watchers: those that want the same are matched, and their batches made, once.

What a group's members have in common is its `Wish`; its members are whatever the hub holds for a
watcher, which nothing here looks into.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from tianlu._proto.etcd.kv_pb2 import Event
from tianlu_registry.mvcc.record import event_of
from tianlu_registry.mvcc.revision import MAIN_SHIFT, TOMBSTONE, Change
from tianlu_registry.mvcc.types import WatchBatch
from tianlu_registry.mvcc.watch_index import RangeIndex

PREVIOUS_BYTES_MAX: Final = 1024 * 1024
"""Values before changes that one delivery carries: small deletions can each bring a large one."""

WatcherT = TypeVar("WatcherT", bound="HasWish")


class HasWish(Protocol):
    """What a group asks of its members."""

    @property
    def wish(self) -> Wish: ...


class History(Protocol):
    """What the hub reads of the past. `MvccStore` is one."""

    @property
    def revision(self) -> int: ...

    @property
    def compact_revision(self) -> int: ...

    def changes_since(
        self, revision: int, until: int, changes_max: int, bytes_max: int
    ) -> tuple[list[Change], int]: ...

    def record_before(self, change: Change) -> bytes | None: ...


class Wish(NamedTuple):
    """What the watchers of a group have in common."""

    key: bytes
    range_end: bytes
    prev_kv: bool
    no_put: bool
    no_delete: bool


class Group(Generic[WatcherT]):
    __slots__ = ("members", "wish")  # no dataclass: mypyc cannot compile a generic one

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.members: dict[WatcherT, None] = {}


class Membership(Generic[WatcherT]):
    """Watchers of one state, in groups, findable by key."""

    __slots__ = ("_groups", "_index", "watchers")

    def __init__(self) -> None:
        self.watchers: dict[WatcherT, None] = {}
        self._groups: dict[Wish, Group[WatcherT]] = {}
        self._index: RangeIndex[Group[WatcherT]] = RangeIndex()

    def add(self, watcher: WatcherT) -> None:
        wish = watcher.wish
        group = self._groups.get(wish)
        if group is None:
            group = self._groups[wish] = Group(wish)
            self._index.add(wish.key, wish.range_end, group)
        group.members[watcher] = None
        self.watchers[watcher] = None

    def remove(self, watcher: WatcherT) -> None:
        wish = watcher.wish
        group = self._groups[wish]
        del group.members[watcher]
        del self.watchers[watcher]
        if not group.members:
            del self._groups[wish]
            self._index.remove(wish.key, wish.range_end, group)

    def events_of(
        self, changes: Sequence[Change], history: History
    ) -> tuple[dict[Group[WatcherT], list[tuple[int, Event]]], int]:
        """Return, per group that they concern, the first changes' main revisions and events, in
        order; and how many changes these are: not all if more than `PREVIOUS_BYTES_MAX` of values
        before them were read. Revisions come whole.
        """
        events: dict[Group[WatcherT], list[tuple[int, Event]]] = {}
        previous_bytes = 0
        for count, change in enumerate(changes):
            if previous_bytes > PREVIOUS_BYTES_MAX and _begins_revision(changes, count):
                return events, count
            groups = self._index.match(change.key)
            if groups:
                previous_bytes += _add_events(events, groups, change, history)
        return events, len(changes)


def _begins_revision(changes: Sequence[Change], position: int) -> bool:
    """Whether the change there, not the first, is of another revision than that before it."""
    before, change = changes[position - 1], changes[position]
    return before.packed >> MAIN_SHIFT != change.packed >> MAIN_SHIFT


def _add_events(
    events: dict[Group[WatcherT], list[tuple[int, Event]]],
    groups: list[Group[WatcherT]],
    change: Change,
    history: History,
) -> int:
    """Build the event of a change at most twice, with and without the value before, for all
    groups. Returns the size of that value, if it was read."""
    previous_bytes = 0
    plain: Event | None = None
    with_previous: Event | None = None
    main = change.packed >> MAIN_SHIFT
    is_delete = change.packed & TOMBSTONE
    for group in groups:
        wish = group.wish
        if wish.no_delete if is_delete else wish.no_put:
            continue
        if wish.prev_kv:
            if with_previous is None:
                previous = history.record_before(change)
                previous_bytes = 0 if previous is None else len(previous)
                with_previous = event_of(change, previous)
            event = with_previous
        else:
            if plain is None:
                plain = event_of(change)
            event = plain
        events.setdefault(group, []).append((main, event))
    return previous_bytes


class Batches:
    """The batches of one delivery: one per group and position, made when first wanted."""

    __slots__ = ("_batches", "_events", "_through")

    def __init__(
        self, through: int, events: dict[Group[WatcherT], list[tuple[int, Event]]]
    ) -> None:
        self._through = through
        self._events = {group.wish: found for group, found in events.items()}
        self._batches: dict[tuple[Wish, int], WatchBatch | None] = {}

    def of(self, wish: Wish, start: int) -> WatchBatch | None:
        """Return what a watcher gets that has everything before revision `start`; None if nothing
        concerned it."""
        position = (wish, start)
        if position not in self._batches:
            self._batches[position] = self._make(*position)
        return self._batches[position]

    def _make(self, wish: Wish, start: int) -> WatchBatch | None:
        events = tuple(event for main, event in self._events.get(wish, ()) if main >= start)
        return WatchBatch(self._through, events) if events else None
