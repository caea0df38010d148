"""Values that the store's users and its core share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NewType, Protocol

from tianlu._proto.etcd.kv_pb2 import Event

Revision = NewType("Revision", int)
"""A main revision: the count of writing transactions so far. The empty store is at 1."""

WHOLE_KEYSPACE_FROM = b"\x00"
"""As `range_end`: all keys from `key` on. Source: etcd's RangeRequest.range_end."""


@dataclass(frozen=True, slots=True)
class WatchSpec:
    """What a watcher wants.

    Attributes:
        key: first key; with an empty `range_end` the only one.
        range_end: first key beyond the range; ``b"\\0"`` for no end.
        start_revision: first revision wanted; 0 for the next one to happen.
        prev_kv: events carry the key-value before the change, where history still has it.
        no_put, no_delete: leave those events out.
    """

    key: bytes
    range_end: bytes = b""
    start_revision: int = 0
    prev_kv: bool = False
    no_put: bool = False
    no_delete: bool = False


@dataclass(slots=True)
class WatchBatch:
    """All of one watcher's events of one or more whole revisions, in order.

    Watchers that want the same receive the same batch object, so that whoever encodes it may keep
    the result in `encodings` (keyed as the encoder likes) and serve all of them with one encoding.

    Attributes:
        revision: the store's revision that these events bring the watcher to. Nothing at or before
            it is still to come.
        events: never empty, never changed after delivery.
    """

    revision: int
    events: tuple[Event, ...]
    encodings: dict[object, bytes] = field(default_factory=dict)


class WatchSink(Protocol):
    """Where a watcher's batches go. Declared here because the store calls it."""

    def deliver(self, batch: WatchBatch) -> bool:
        """Take the batch, at once and without blocking.

        Returns:
            False if it cannot be taken now (the stream's backlog is full). The store then keeps
            nothing for this watcher but its revision, and delivers from history after
            `Watcher.resume`.
        """
        ...

    def ended(self, error: Exception) -> None:
        """The watcher is over: `Compacted` if history it needs is gone, `Stopped` if the store
        closes."""
        ...


class Watcher(Protocol):
    """A running watch, as its creator holds it."""

    @property
    def synced_revision(self) -> int:
        """Every event up to this revision has been delivered (what a progress notification may
        say)."""
        ...

    def resume(self) -> None:
        """Deliver again after a refused batch. Harmless when nothing was refused."""
        ...

    def cancel(self) -> None:
        """End the watch; nothing is delivered after this returns. May be called twice."""
        ...


Clock = Callable[[], float]
"""Monotonic seconds, passed in wherever a core needs the time."""
