"""A part of the catalogue in memory, fed by a watch: what `pick`, `discover` and mirrors read.

Pure: messages and times in, changes out. The rules that it keeps:

1. *Whole revisions.* `revision` names the newest revision of which everything is in. A snapshot
   takes effect at its end, all at once.
2. *Silence empties nothing.* A watch that breaks, a registry that is gone, restarts or answers an
   error changes no list. The view gets older, and says so.
3. *Lost history empties nothing.* If a snapshot is older than what is held, then the registry has
   lost data (a restored backup, a wiped disk, a wrong address), and its silence about an instance
   is no proof that the instance is gone. The snapshot is taken, and instances that it does not
   name are *retained* beside it until
     - the instance itself is put or removed in the new history, or
     - REWIND_GRACE_SECONDS have passed, in which every live owner has had time to register again,
       and at least one instance of the same service has: the new history knows that service, or
     - RETAIN_SECONDS_MAX have passed.
   So a service that had instances is emptied by such a snapshot only after the longest time.
4. Only an event or a snapshot of the same or a newer history removes: that is the truth.

A history that was lost and has since grown past the revision held here cannot be told from the old
one, because the wire carries no name for a history.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from tianlu._errors import ProtocolError
from tianlu._model import Instance, Rung, Service
from tianlu._view import Change, ChangeKind, ServiceKey, ServiceView

REWIND_GRACE_SECONDS: Final = 60.0
"""Six default session lives: every live owner has noticed and registered again."""

RETAIN_SECONDS_MAX: Final = 3600.0
"""A service of which nothing came back within an hour is gone."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of a watch, decoded.

    Attributes:
        revision: held after applying the message.
        snapshot: the changes are a part of the full state; all are puts.
        snapshot_end: it is the last part.
    """

    revision: int
    changes: tuple[Change, ...] = ()
    snapshot: bool = False
    snapshot_end: bool = False


@dataclass(slots=True)
class _Entry:
    """One service. `service` is None while it has instances only."""

    service: Service | None = None
    instances: dict[str, Instance] = field(default_factory=dict)


@dataclass(slots=True)
class _Retention:
    """Instances that only the lost history knew. `since` is when it was found lost."""

    since: float
    held: set[tuple[ServiceKey, str]]


class CatalogCache:
    """What is known of a part of the catalogue. One writer; readers take immutable views.

    Attributes:
        revision: everything up to here is in; 0 while nothing is held.
        rung: SNAPSHOT while what is held was read from disk and no registry has spoken yet.
        synced: whether a registry has ever given the full state.
    """

    def __init__(self) -> None:
        self.revision = 0
        self.rung: Rung = Rung.PROCESS
        self.synced = False
        self._entries: dict[ServiceKey, _Entry] = {}
        self._views: dict[ServiceKey, ServiceView] = {}
        self._shared: Mapping[ServiceKey, ServiceView] | None = None
        self._collecting: dict[ServiceKey, _Entry] | None = None
        self._retention: _Retention | None = None
        self._confirmed_at: float | None = None
        self._live = False
        self._trouble = "no registry has answered yet"

    # Reading.

    @property
    def filled(self) -> bool:
        """Whether there is anything to answer from."""
        return self.synced or self.rung is Rung.SNAPSHOT

    def services(self) -> Mapping[ServiceKey, ServiceView]:
        """Return all services; an immutable copy, made anew only after a change."""
        if self._shared is None:
            self._shared = MappingProxyType(dict(self._views))
        return self._shared

    def service(self, key: ServiceKey) -> ServiceView | None:
        return self._views.get(key)

    def age_seconds(self, now: float) -> float:
        """Return for how long nobody has confirmed what is held; 0 while the watch holds."""
        if self._live or self._confirmed_at is None:
            return 0.0
        return max(0.0, now - self._confirmed_at)

    @property
    def degraded(self) -> str:
        """Why what is held may be stale; "" if it is not."""
        if not self._live:
            return self._trouble
        if self._retention is not None:
            count = len(self._retention.held)
            return f"the registry lost history; {count} instances that it does not name are kept"
        return ""

    @property
    def retaining(self) -> bool:
        """Whether instances of a lost history are kept, so that `expire` must be called."""
        return self._retention is not None

    # Writing.

    def restore(
        self, services: Iterable[ServiceView], revision: int, age_seconds: float, now: float
    ) -> None:
        """Fill an empty cache from the host snapshot. Does nothing once anything is held."""
        if self.filled:
            return
        for view in services:
            key = ServiceKey(view.service.namespace, view.service.name)
            held = {instance.id: instance for instance in view.instances}
            self._entries[key] = _Entry(view.service, held)
            self._rebuild(key)
        self.revision = revision
        self.rung = Rung.SNAPSHOT
        self._confirmed_at = now - age_seconds

    def apply(self, batch: Batch, now: float) -> tuple[Change, ...]:
        """Take a message of the watch. Returns what it changed, in order.

        Raises:
            ProtocolError: the message cannot follow what came before. After this call `restart`
                and ask for a snapshot.
        """
        if batch.snapshot:
            return self._collect(batch, now)
        if self._collecting is not None:
            raise ProtocolError("the registry mixed events into a snapshot")
        if not self.synced and self.rung is not Rung.SNAPSHOT:
            raise ProtocolError("the registry sent events before a snapshot")
        if batch.revision < self.revision:
            raise ProtocolError(
                f"the registry went back from revision {self.revision} to {batch.revision}"
            )
        changes = tuple(self._resolve(change) for change in batch.changes)
        for key in {change.key for change in changes}:
            self._rebuild(key)
        self.revision = batch.revision
        self._confirm(now)
        return changes

    def resume_at(self, revision: int) -> None:
        """Take an empty state as complete up to `revision`: the caller holds what came before."""
        self.revision = revision
        self.synced = True

    def restart(self) -> None:
        """Forget a half-received snapshot: the stream that carried it is gone."""
        self._collecting = None

    def lost(self, trouble: str, now: float) -> None:
        """Say that the watch broke. What is held stays and ages.

        Args:
            trouble: why, for `degraded`.
        """
        self.restart()
        if self._live:
            self._confirmed_at = now
        self._live = False
        self._trouble = trouble

    def expire(self, now: float) -> tuple[Change, ...]:
        """Let go of retained instances whose time is over. Returns the removals."""
        retention = self._retention
        if retention is None or now - retention.since < REWIND_GRACE_SECONDS:
            return ()
        over = now - retention.since >= RETAIN_SECONDS_MAX
        gone = [one for one in sorted(retention.held) if over or self._known_anew(one[0])]
        changes = tuple(self._remove(key, id_, self.revision) for key, id_ in gone)
        for key in {key for key, _ in gone}:
            self._rebuild(key)
        return changes

    # Private parts.

    def _collect(self, batch: Batch, now: float) -> tuple[Change, ...]:
        if self._collecting is None:
            self._collecting = {}
        for change in batch.changes:
            entry = self._collecting.setdefault(change.key, _Entry())
            if change.instance is not None:
                entry.instances[change.instance_id] = change.instance
            else:
                entry.service = change.service
        if not batch.snapshot_end:
            return ()
        fresh, self._collecting = self._collecting, None
        if batch.revision < self.revision:
            self._retain(fresh, now)
        elif self._retention is not None:
            self._keep_retained(fresh)
        changes = tuple(_difference(self._entries, fresh, batch.revision))
        self._entries = fresh
        for key in {change.key for change in changes}:
            self._rebuild(key)
        self.revision = batch.revision
        self._confirm(now)
        return changes

    def _confirm(self, now: float) -> None:
        self.synced = True
        self.rung = Rung.PROCESS
        self._live = True
        self._confirmed_at = now

    def _retain(self, fresh: dict[ServiceKey, _Entry], now: float) -> None:
        """Carry over what the lost history knew and `fresh` does not."""
        held = {
            (key, id_)
            for key, entry in self._entries.items()
            for id_ in entry.instances
            if key not in fresh or id_ not in fresh[key].instances
        }
        self._retention = _Retention(now, held) if held else None
        if held:
            self._keep_retained(fresh)

    def _keep_retained(self, fresh: dict[ServiceKey, _Entry]) -> None:
        for key, id_ in sorted(self._retention.held if self._retention else ()):
            entry = fresh.setdefault(key, _Entry())
            if entry.service is None:
                entry.service = self._entries[key].service
            if id_ in entry.instances:
                self._release(key, id_)
            else:
                entry.instances[id_] = self._entries[key].instances[id_]

    def _release(self, key: ServiceKey, id_: str) -> None:
        if self._retention is not None:
            self._retention.held.discard((key, id_))
            if not self._retention.held:
                self._retention = None

    def _known_anew(self, key: ServiceKey) -> bool:
        held = self._retention.held if self._retention else set()
        return any((key, id_) not in held for id_ in self._entries[key].instances)

    def _resolve(self, change: Change) -> Change:
        """Do one change. A removal is completed with what was there."""
        if change.instance_id:
            self._release(change.key, change.instance_id)
        if change.kind is ChangeKind.PUT:
            entry = self._entries.setdefault(change.key, _Entry())
            if change.instance is not None:
                entry.instances[change.instance_id] = change.instance
            else:
                entry.service = change.service
            return change
        return self._remove(change.key, change.instance_id, change.revision)

    def _remove(self, key: ServiceKey, id_: str, revision: int) -> Change:
        entry = self._entries.setdefault(key, _Entry())
        if not id_:
            service, entry.service = entry.service, None
            return Change(ChangeKind.REMOVED, revision, key, service=service)
        self._release(key, id_)
        instance = entry.instances.pop(id_, None)
        return Change(ChangeKind.REMOVED, revision, key, id_, instance=instance)

    def _rebuild(self, key: ServiceKey) -> None:
        """Renew the immutable view of one service."""
        self._shared = None
        entry = self._entries.get(key)
        if entry is None or (entry.service is None and not entry.instances):
            self._entries.pop(key, None)
            self._views.pop(key, None)
            return
        self._views[key] = ServiceView(
            entry.service or Service(key.namespace, key.name),
            tuple(entry.instances[id_] for id_ in sorted(entry.instances)),
        )


def _difference(
    before: Mapping[ServiceKey, _Entry], after: Mapping[ServiceKey, _Entry], revision: int
) -> Iterator[Change]:
    """Yield what turns `before` into `after`, service by service, in order."""
    nothing = _Entry()
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key, nothing), after.get(key, nothing)
        if new.service is not None and new.service != old.service:
            changed = new.service.mod_revision or revision
            yield Change(ChangeKind.PUT, changed, key, service=new.service)
        if new.service is None and old.service is not None:
            yield Change(ChangeKind.REMOVED, revision, key, service=old.service)
        for id_, instance in sorted(new.instances.items()):
            if old.instances.get(id_) != instance:
                changed = instance.mod_revision or revision
                yield Change(ChangeKind.PUT, changed, key, id_, instance=instance)
        for id_ in sorted(old.instances.keys() - new.instances.keys()):
            gone = old.instances[id_]
            yield Change(ChangeKind.REMOVED, revision, key, id_, instance=gone)
