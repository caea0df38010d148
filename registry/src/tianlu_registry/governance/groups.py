"""Subscribers with equal filters, grouped so that a change is encoded once for all of them."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from tianlu_registry.catalog.history import WatchFilter
from tianlu_registry.catalog.messages import Part

_STEPS_MAX = 64
_ENCODED_MAX = 16
"""Encoded deltas kept, from different positions; more positions than that encode their own."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How messages become bytes. Equal names must mean equal bytes: groups share them."""

    name: str
    encode: Callable[[Part], bytes]


class Group:
    """The subscribers of one filter.

    Attributes:
        newest: no revision after it, up to the view's, has anything for the group.
        members_count: subscriptions of the group.
    """

    __slots__ = (
        "_before",
        "_encoded",
        "_ends",
        "_starts",
        "_waiting",
        "members_count",
        "newest",
        "wanted",
    )

    def __init__(self, wanted: WatchFilter, newest: int) -> None:
        self.wanted = wanted
        self.newest = newest
        self.members_count = 0
        # Step k brought changes of revisions within (_starts[k], _ends[k]]. Between two steps,
        # and between _before and the first one, there was nothing for the group.
        self._before = newest
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self._encoded: dict[tuple[int, str], list[tuple[int, bytes]]] = {}

    def changed(self, first: int, last: int) -> None:
        """The view has changes for the group in revisions `first` to `last`."""
        self._starts.append(first - 1)
        self._ends.append(last)
        if len(self._ends) > 2 * _STEPS_MAX:
            self._before = self._ends[_STEPS_MAX - 1]
            del self._starts[:_STEPS_MAX], self._ends[:_STEPS_MAX]
        self.newest = last
        self._encoded.clear()
        self.wake()

    def reset(self, revision: int) -> None:
        """The view was loaded anew at `revision`; what changed on the way is not known."""
        self._starts.clear()
        self._ends.clear()
        self._before = self.newest = revision
        self._encoded.clear()
        self.wake()

    def start_for(self, position: int) -> int:
        """Return the latest revision from which a subscriber at `position` misses nothing.

        Positions differ by what lies between steps; those that miss the same get the same start,
        so that they share an encoding and do not depend on history that has nothing for them.
        """
        step = bisect_right(self._ends, position)
        if step == len(self._ends) or (step == 0 and position < self._before):
            return position  # it has everything, or is behind what is remembered here
        return max(position, self._starts[step])

    def encoded(
        self, start: int, encoding: Encoding, made: Callable[[], Iterator[Part]]
    ) -> Iterable[tuple[int, bytes]]:
        """Return the messages from `start` to `newest` as (revision, bytes).

        A single message, the usual case, is encoded once for all. Several are for somebody who
        is far behind: they are encoded one by one as they are taken, and not kept.
        """
        key = (start, encoding.name)
        found = self._encoded.get(key)
        if found is not None:
            return found
        parts = made()
        first, second = next(parts, None), next(parts, None)
        if first is not None and second is not None:
            return _encode_lazily(chain((first, second), parts), encoding)
        found = [] if first is None else [(first.revision, encoding.encode(first))]
        if len(self._encoded) < _ENCODED_MAX:
            self._encoded[key] = found
        return found

    async def wait(self, waiter: asyncio.Future[None]) -> None:
        """Wait until the next change, or until somebody else sets `waiter`."""
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def wake(self) -> None:
        """Let all members look again."""
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


def _encode_lazily(parts: Iterable[Part], encoding: Encoding) -> Iterator[tuple[int, bytes]]:
    for part in parts:
        yield part.revision, encoding.encode(part)


class GroupIndex:
    """Groups by filter, and by what must change for them to care."""

    def __init__(self) -> None:
        self._groups: dict[WatchFilter, Group] = {}
        self._by_subject: dict[tuple[str, str], dict[Group, None]] = {}

    def join(self, wanted: WatchFilter, newest: int) -> Group:
        """Return the filter's group, with one member more."""
        group = self._groups.get(wanted)
        if group is None:
            group = self._groups[wanted] = Group(wanted, newest)
            for subject in _subjects(wanted):
                self._by_subject.setdefault(subject, {})[group] = None
        group.members_count += 1
        return group

    def leave(self, group: Group) -> None:
        """Take one member away; a group without members is gone."""
        group.members_count -= 1
        if group.members_count:
            return
        del self._groups[group.wanted]
        for subject in _subjects(group.wanted):
            groups = self._by_subject[subject]
            del groups[group]
            if not groups:
                del self._by_subject[subject]

    def concerned(self, namespace: str, service: str) -> list[Group]:
        """Return the groups that want to hear of a service."""
        return [
            group
            for subject in ((namespace, service), (namespace, ""), ("", service), ("", ""))
            for group in self._by_subject.get(subject, ())
        ]

    def all(self) -> list[Group]:
        return list(self._groups.values())


def _subjects(wanted: WatchFilter) -> list[tuple[str, str]]:
    """Return the (namespace, service) pairs, empty meaning any, that a filter is filed under."""
    return [(wanted.namespace, service) for service in wanted.services or ("",)]
