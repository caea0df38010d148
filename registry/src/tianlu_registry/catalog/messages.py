"""What subscribers are sent: a snapshot in parts, changes by whole revisions, bookmarks.

A message is bounded in events and in bytes, so that it stays below what gRPC clients accept by
default (4 MiB). One revision is never split, whatever its size: the store bounds that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tianlu._proto.v1.catalog_pb2 import WatchResponse
from tianlu_registry.catalog import events, wire
from tianlu_registry.catalog.entries import ServiceSnapshot
from tianlu_registry.catalog.history import RevisionChanges, WatchFilter, matching

EVENTS_MAX = 500
BYTES_MAX = 1024 * 1024

_REVISION = wire.tag(WatchResponse, "revision")
_SNAPSHOT = wire.tag(WatchResponse, "snapshot")
_SNAPSHOT_END = wire.tag(WatchResponse, "snapshot_end")
_EVENTS = wire.tag(WatchResponse, "events")


@dataclass(slots=True)
class Part:
    """One message to subscribers: the fields of `WatchResponse`, its events encoded."""

    revision: int
    snapshot: bool = False
    snapshot_end: bool = False
    events: list[bytes] = field(default_factory=list)
    events_bytes: int = 0

    def full_for(self, count: int, size: int) -> bool:
        """Whether that much more does not fit. An empty message takes anything."""
        return bool(self.events) and (
            len(self.events) + count > EVENTS_MAX or self.events_bytes + size > BYTES_MAX
        )

    def add(self, events: Iterable[bytes], size: int) -> None:
        self.events.extend(events)
        self.events_bytes += size

    def encode(self) -> bytes:
        """Return the encoded `WatchResponse`."""
        return b"".join(
            [
                wire.number(_REVISION, self.revision),
                wire.number(_SNAPSHOT, self.snapshot),
                wire.number(_SNAPSHOT_END, self.snapshot_end),
                *(wire.embedded(_EVENTS, event) for event in self.events),
            ]
        )

    def message(self) -> WatchResponse:
        """Return the `WatchResponse` itself, for those who need its fields."""
        return WatchResponse.FromString(self.encode())


def selected(services: Iterable[ServiceSnapshot], wanted: WatchFilter) -> list[ServiceSnapshot]:
    """Return the services that a subscriber wants."""
    return [service for service in services if wanted.matches(service.namespace, service.name)]


def snapshot(services: Iterable[ServiceSnapshot], revision: int) -> Iterator[Part]:
    """Yield the full state at `revision`; the last part says that it is the last.

    There is always at least one part, so that a subscriber of nothing learns that it is nothing.
    """
    part = Part(revision, snapshot=True)
    for event in _events(services, revision):
        if part.full_for(1, len(event)):
            yield part
            part = Part(revision, snapshot=True)
        part.add((event,), len(event))
    part.snapshot_end = True
    yield part


def delta(revisions: Iterable[RevisionChanges], wanted: WatchFilter) -> Iterator[Part]:
    """Yield what concerns a subscriber in `revisions`; nothing if nothing does."""
    part = Part(0)
    for revision, found in matching(revisions, wanted):
        size = sum(map(len, found))
        if part.full_for(len(found), size):
            yield part
            part = Part(0)
        part.add(found, size)
        part.revision = revision
    if part.events:
        yield part


def bookmark(revision: int) -> Part:
    """Return the message that says that there is nothing new up to `revision`."""
    return Part(revision)


def _events(services: Iterable[ServiceSnapshot], revision: int) -> Iterator[bytes]:
    for service in services:
        if service.described:
            yield events.service_put(service.service, revision)
        for instance in service.instances:
            yield events.instance_put(instance, revision)
