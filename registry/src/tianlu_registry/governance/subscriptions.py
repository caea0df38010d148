"""Subscribers: who watches what, what each is sent next, and what each has applied.

A subscriber is a position, a revision. What it is sent next is read from the view's history, so
there is no queue to grow: one that reads slowly gets, at its next turn, everything since, in few
messages; one that fell behind the history gets a snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence

from tianlu_registry.catalog import messages
from tianlu_registry.catalog.entries import ServiceSnapshot
from tianlu_registry.catalog.history import RevisionChanges, WatchFilter
from tianlu_registry.errors import NoLeader, Stopped, TooManyRequests
from tianlu_registry.governance.config import GovernanceConfig
from tianlu_registry.governance.feed import ViewFeed
from tianlu_registry.governance.groups import Encoding, Group, GroupIndex
from tianlu_registry.governance.wallclock import now_ms

logger = logging.getLogger(__name__)


class Subscription:
    """One subscriber's stream. Made by `Subscriptions.open`, which also ends it.

    Attributes:
        sent_revision: everything up to it has been handed to the connection.
        applied_revision: the newest one that the subscriber says is in effect there; 0: it has
            never said so.
    """

    def __init__(
        self, owner: Subscriptions, group: Group, resume_revision: int, subscriber: str, peer: str
    ) -> None:
        self.subscriber = subscriber
        self.peer = peer
        self.since_unix_ms = now_ms()
        self.sent_revision = 0
        self.applied_revision = 0
        self._owner = owner
        self._group = group
        self._resume_revision = resume_revision
        self._position = -1  # it holds every change up to here; -1: nothing, send a snapshot
        self._quiet = True  # nothing was sent since the last tick
        self._tick_due = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def wanted(self) -> WatchFilter:
        return self._group.wanted

    @property
    def label(self) -> str:
        """What people are shown: the name that it gave itself, or where it comes from."""
        return self.subscriber or self.peer

    def acknowledge(self, revision: int) -> None:
        """Take the subscriber's word for what is in effect there, never more than it was sent."""
        self.applied_revision = max(self.applied_revision, min(revision, self.sent_revision))
        self._owner.wake_appliers()

    async def frames(self, encoding: Encoding) -> AsyncGenerator[bytes, None]:
        """Yield encoded messages until the registry stops.

        Ask for the next one when the connection has taken the last one: this is all the
        back-pressure there is, and all that is needed.

        Raises:
            Unavailable: the catalogue is not ready in time, or behind what the subscriber holds.
            NoLeader: this node has lost the others; what it knows may be old.
            Stopped: the registry stops; the subscriber resumes at another node.
        """
        self._position = await self._resumed_position()
        self._schedule_tick()
        while True:
            self._owner.check_open()
            due = self._due(encoding)
            if due is None:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._group.wait(self._waiter)
                continue
            for revision, data in due:
                self._quiet = False
                self.sent_revision = max(self.sent_revision, revision)
                yield data

    def end(self) -> None:
        """The stream is over: no more ticks."""
        if self._timer is not None:
            self._timer.cancel()

    def _due(self, encoding: Encoding) -> Iterable[tuple[int, bytes]] | None:
        """Return what is to be sent now, as (revision held afterwards, bytes), and move the
        position behind it. None: nothing.

        The cases, in order: a snapshot is needed; there are changes; it is time for a bookmark.
        """
        feed, group, position = self._owner.feed, self._group, self._position
        start = group.start_for(position)
        changed = group.newest > position
        if position < 0 or (changed and not feed.reaches(start)):
            self._position = feed.revision
            services = messages.selected(feed.view.services(), group.wanted)
            return _encoded_snapshot(services, self._position, encoding)
        if changed:
            self._tick_due = False
            self._position = group.newest
            return group.encoded(start, encoding, lambda: feed.delta(start, group.wanted))
        if self._tick_due:
            self._tick_due = False
            revision = max(position, feed.revision)
            return [(revision, encoding.encode(messages.bookmark(revision)))]
        return None

    async def _resumed_position(self) -> int:
        """Return the revision that the subscriber holds, or -1 if it needs a snapshot.

        Raises:
            Unavailable: this node is behind the node that the subscriber was at.
        """
        feed, revision = self._owner.feed, self._resume_revision
        await feed.wait_ready()
        if revision > feed.revision and not await feed.will_reach(revision):
            return -1  # what it holds was lost with the data
        if not revision or not feed.reaches(revision):
            return -1
        self.sent_revision = revision
        # It counts as out of touch until it hears from us: a first bookmark must not wait.
        self._tick_due = True
        return revision

    def _schedule_tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(
            self._owner.config.bookmark_seconds, self._tick
        )

    def _tick(self) -> None:
        """Let a quiet subscriber have a bookmark, unless it is still busy with the last data."""
        if self._quiet and self._waiter is not None and not self._waiter.done():
            self._tick_due = True
            self._waiter.set_result(None)
        self._quiet = True
        self._schedule_tick()


class Subscriptions:
    """All subscribers of this node."""

    def __init__(self, feed: ViewFeed, config: GovernanceConfig) -> None:
        self.feed = feed
        self.config = config
        self._index = GroupIndex()
        self._subscriptions: dict[Subscription, None] = {}
        self._appliers: set[asyncio.Future[None]] = set()
        self._closed = False
        self._leaderless_since: float | None = None
        self._lost = False
        feed.on_changes(self._changed)
        feed.on_reload(self._reloaded)

    def __len__(self) -> int:
        return len(self._subscriptions)

    @contextlib.contextmanager
    def open(
        self, wanted: WatchFilter, resume_revision: int, subscriber: str, peer: str
    ) -> Iterator[Subscription]:
        """Subscribe for the length of a `with` block.

        Args:
            resume_revision: the newest one that the subscriber holds; 0 for none.
            subscriber: its name for people.
            peer: where it comes from.

        Raises:
            TooManyRequests: this node has as many subscribers as it takes.
        """
        self.check_open()
        if len(self._subscriptions) >= self.config.subscribers_max:
            raise TooManyRequests("tianlu: this node has its maximum of subscribers; try another")
        group = self._index.join(wanted, self.feed.view.revision)
        subscription = Subscription(self, group, resume_revision, subscriber, peer)
        self._subscriptions[subscription] = None
        try:
            yield subscription
        finally:
            subscription.end()
            del self._subscriptions[subscription]
            self._index.leave(group)
            self.wake_appliers()

    def check_open(self) -> None:
        """Raises: Stopped: this node is stopping; NoLeader: it has had no leader for long."""
        if self._closed:
            raise Stopped
        if self._lost:
            raise NoLeader

    def close(self) -> None:
        """End all streams with `Stopped`."""
        self._closed = True
        for group in self._index.all():
            group.wake()
        self.wake_appliers()

    def note_leader(self, known: bool, now: float) -> None:
        """Say whether this node knows a leader; call it every second or so.

        After `leaderless_seconds` without one all subscribers are sent away, and further ones
        refused until there is one: a node that has lost the others would go on telling them, with
        every bookmark, that an old view is current.
        """
        if known:
            self._leaderless_since = None
        elif self._leaderless_since is None:
            self._leaderless_since = now
        lost = self._leaderless_since is not None and (
            now - self._leaderless_since >= self.config.leaderless_seconds
        )
        if lost and not self._lost:
            logger.warning("subscribers.sent_away count=%d reason=no_leader", len(self))
            for group in self._index.all():
                group.wake()
        self._lost = lost

    def matching(self, namespace: str, service: str) -> list[Subscription]:
        """Return the subscribers of a service; an empty name stands for any."""
        return [
            subscription
            for subscription in self._subscriptions
            if _concerns(subscription.wanted, namespace, service)
        ]

    # Applied revisions

    def wake_appliers(self) -> None:
        """Let those who wait for acknowledgements count again."""
        waiting, self._appliers = self._appliers, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def wait_acknowledgement(self) -> None:
        """Wait until an acknowledgement came or a subscriber left."""
        self.check_open()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._appliers.add(waiter)
        try:
            await waiter
        finally:
            self._appliers.discard(waiter)

    # The feed's side

    def _changed(self, revisions: Sequence[RevisionChanges]) -> None:
        spans: dict[Group, tuple[int, int]] = {}
        for revision in revisions:
            for subject in {(change.namespace, change.service) for change in revision.changes}:
                for group in self._index.concerned(*subject):
                    first, _ = spans.get(group, (revision.revision, 0))
                    spans[group] = (first, revision.revision)
        for group, (first, last) in spans.items():
            group.changed(first, last)

    def _reloaded(self) -> None:
        for group in self._index.all():
            group.reset(self.feed.view.revision)


def _encoded_snapshot(
    services: Iterable[ServiceSnapshot], revision: int, encoding: Encoding
) -> Iterator[tuple[int, bytes]]:
    """Yield the parts of a snapshot; only after the last one its revision is held."""
    for part in messages.snapshot(services, revision):
        yield revision if part.snapshot_end else 0, encoding.encode(part)


def _concerns(wanted: WatchFilter, namespace: str, service: str) -> bool:
    in_namespace = not namespace or not wanted.namespace or namespace == wanted.namespace
    of_service = not service or not wanted.services or service in wanted.services
    return in_namespace and of_service
