"""What subscribers are sent: a snapshot in parts, changes by whole revisions, bookmarks.

A message is bounded in events and in bytes, so that it stays below what gRPC clients accept by
default (4 MiB). One revision is never split, whatever its size: the store bounds that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tianlu._proto.v1.catalog_pb2 import CatalogEvent, WatchResponse
from tianlu_registry.catalog.entries import ServiceSnapshot
from tianlu_registry.catalog.history import RevisionChanges, WatchFilter, matching

EVENTS_MAX = 500
BYTES_MAX = 1024 * 1024


def selected(services: Iterable[ServiceSnapshot], wanted: WatchFilter) -> list[ServiceSnapshot]:
    """Return the services that a subscriber wants."""
    return [service for service in services if wanted.matches(service.namespace, service.name)]


def snapshot(services: Iterable[ServiceSnapshot], revision: int) -> Iterator[WatchResponse]:
    """Yield the full state at `revision`; the last part says that it is the last.

    There is always at least one part, so that a subscriber of nothing learns that it is nothing.
    """
    part = WatchResponse(revision=revision, snapshot=True)
    size = 0
    for event in _events(services, revision):
        event_size = event.ByteSize()
        if part.events and (len(part.events) >= EVENTS_MAX or size + event_size > BYTES_MAX):
            yield part
            part, size = WatchResponse(revision=revision, snapshot=True), 0
        part.events.append(event)
        size += event_size
    part.snapshot_end = True
    yield part


def delta(revisions: Iterable[RevisionChanges], wanted: WatchFilter) -> Iterator[WatchResponse]:
    """Yield what concerns a subscriber in `revisions`; nothing if nothing does."""
    part: WatchResponse | None = None
    size = 0
    for revision, events in matching(revisions, wanted):
        events_size = sum(event.ByteSize() for event in events)
        if part is not None and (
            len(part.events) + len(events) > EVENTS_MAX or size + events_size > BYTES_MAX
        ):
            yield part
            part = None
        if part is None:
            part, size = WatchResponse(), 0
        part.events.extend(events)
        part.revision = revision
        size += events_size
    if part is not None:
        yield part


def bookmark(revision: int) -> WatchResponse:
    """Return the message that says that there is nothing new up to `revision`."""
    return WatchResponse(revision=revision)


def _events(services: Iterable[ServiceSnapshot], revision: int) -> Iterator[CatalogEvent]:
    for service in services:
        if service.described:
            yield CatalogEvent(service_put=service.service, revision=revision)
        for instance in service.instances:
            yield CatalogEvent(instance_put=instance, revision=revision)
