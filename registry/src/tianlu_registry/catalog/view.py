"""The catalogue in memory: services and instances at a revision, and what changed on the way.

The view is a function of the stored keys. It is loaded from a range at one revision and fed with
the store's events of later ones, each revision whole, so at any time it shows exactly one
revision, and it says which.

Invariants:
- `revision` never falls;
- every visible change after `history.floor` is in `history`, once, under its revision;
- a message that was handed out is never changed.

A value that cannot be read counts as missing and is counted in `unreadable`: one broken key,
written past the API, must not take the catalogue down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from google.protobuf.message import DecodeError

from tianlu._proto.etcd.kv_pb2 import Event, KeyValue
from tianlu._proto.v1.model_pb2 import Health, Instance, Override, Service
from tianlu_registry.catalog import events, keys
from tianlu_registry.catalog.entries import InstanceEntry, Joined, ServiceSnapshot
from tianlu_registry.catalog.history import Change, ChangeHistory, RevisionChanges
from tianlu_registry.catalog.keys import CatalogKey, InstanceName, Kind
from tianlu_registry.errors import check

HISTORY_EVENTS_MAX = 20_000

_Value = TypeVar("_Value", Instance, Override, Health, Service)


class _ServiceEntry:
    """A service: its description, if there is one, and its instances' entries by id."""

    __slots__ = ("described", "entries", "name", "namespace", "present_count", "snapshot")

    def __init__(self, namespace: str, name: str) -> None:
        self.namespace = namespace
        self.name = name
        self.described: Service | None = None
        self.entries: dict[str, InstanceEntry] = {}
        self.present_count = 0
        self.snapshot: ServiceSnapshot | None = None  # None: to be made when asked for

    @property
    def listed(self) -> bool:
        return self.described is not None or self.present_count > 0

    def take_snapshot(self) -> ServiceSnapshot:
        if self.snapshot is None:
            self.snapshot = ServiceSnapshot(
                self.described or Service(namespace=self.namespace, name=self.name),
                self.described is not None,
                tuple(
                    self.entries[id_].joined
                    for id_ in sorted(self.entries)
                    if self.entries[id_].present
                ),
            )
        return self.snapshot


class CatalogView:
    """Services, instances, overrides and health at `revision`. Used from one thread."""

    def __init__(self, history_events_max: int = HISTORY_EVENTS_MAX) -> None:
        self.revision = 0
        self.unreadable = 0
        self.history = ChangeHistory(history_events_max)
        self._services: dict[tuple[str, str], _ServiceEntry] = {}
        self._sessions: dict[int, set[InstanceEntry]] = {}
        self._overridden: dict[InstanceEntry, None] = {}

    # Feeding

    def load(self, kvs: Iterable[KeyValue]) -> None:
        """Take a page of the keys under `keys.PREFIX`, all of one revision. Call `finish_load`
        after the last one; until then the view must not be asked."""
        for kv in kvs:
            key = keys.parse(kv.key)
            if key is not None:
                self._take(key, kv, deleted=False)

    def finish_load(self, revision: int) -> None:
        """Say that everything of `revision` has been loaded."""
        self.revision = revision
        self.history.reset(revision)

    def apply(self, stored: Sequence[Event], revision: int) -> list[RevisionChanges]:
        """Take the store's events of one or more whole revisions, in order.

        Args:
            stored: under `keys.PREFIX`; others are skipped.
            revision: the store's revision that they lead to; the view shows it afterwards.

        Returns:
            what changed visibly, per revision. It has been added to the history.

        Raises:
            InvariantBroken: an event is not newer than the view.
        """
        visible = []
        for at, of_revision in groupby(stored, lambda event: int(event.kv.mod_revision)):
            check(at > self.revision, f"catalogue at {self.revision} was fed revision {at}")
            changes = self._apply_revision(of_revision, at)
            self.revision = at
            if changes:
                visible.append(RevisionChanges(at, changes))
                self.history.append(visible[-1])
        self.advance(revision)
        return visible

    def advance(self, revision: int) -> None:
        """Say that nothing of the catalogue changed up to `revision`. Older ones are ignored."""
        self.revision = max(self.revision, revision)

    # Asking

    def namespaces(self) -> list[str]:
        """Names of the namespaces that have a service, sorted."""
        return sorted({entry.namespace for entry in self._services.values() if entry.listed})

    def service(self, namespace: str, name: str) -> ServiceSnapshot | None:
        """Return a service that is described or has instances, or None."""
        entry = self._services.get((namespace, name))
        return entry.take_snapshot() if entry is not None and entry.listed else None

    def services(self, namespace: str = "") -> list[ServiceSnapshot]:
        """Return the services of a namespace (empty: of all), by namespace and name."""
        return [
            self._services[key].take_snapshot()
            for key in sorted(self._services)
            if self._services[key].listed and (not namespace or key[0] == namespace)
        ]

    def entry(self, name: InstanceName) -> InstanceEntry | None:
        """Return an instance's entry, present or only overridden. Not to be changed."""
        service = self._services.get((name.namespace, name.service))
        return service.entries.get(name.id) if service is not None else None

    def instance(self, name: InstanceName) -> Instance | None:
        """Return a registered instance, or None. Owned by the caller."""
        entry = self.entry(name)
        return entry.message() if entry is not None and entry.present else None

    def of_session(self, session_id: int) -> list[InstanceEntry]:
        """Return the entries on a session's lease, in no particular order. Not to be changed."""
        return list(self._sessions.get(session_id, ()))

    def overridden(self) -> Iterator[InstanceEntry]:
        """Yield every entry that has an override. The view must not be fed meanwhile."""
        return iter(self._overridden)

    def sizes(self) -> tuple[int, int, int]:
        """Return how many services, instances and sessions with instances there are."""
        services = [entry for entry in self._services.values() if entry.listed]
        instances = sum(entry.present_count for entry in services)
        return len(services), instances, len(self._sessions)

    # Private

    def _apply_revision(self, stored: Iterable[Event], revision: int) -> tuple[Change, ...]:
        """Apply one revision; return the net changes, one per service or instance."""
        before: dict[CatalogKey, Joined | Service | None] = {}
        for each in stored:
            key = keys.parse(each.kv.key)
            if key is None:
                continue
            subject = key if key.kind is Kind.SERVICE else key._replace(kind=Kind.INSTANCE)
            if subject not in before:
                before[subject] = self._visible(subject)
            self._take(key, each.kv, deleted=each.type == Event.DELETE)
        changes = []
        for subject, old in before.items():
            new = self._visible(subject)
            if _differ(old, new):
                event = _event(subject, new, revision)
                suspected = new.session_id if isinstance(new, Joined) and new.suspect else 0
                changes.append(Change(subject.namespace, subject.service, event, suspected))
        return tuple(changes)

    def _visible(self, subject: CatalogKey) -> Joined | Service | None:
        service = self._services.get((subject.namespace, subject.service))
        if service is None:
            return None
        if subject.kind is Kind.SERVICE:
            return service.described
        entry = service.entries.get(subject.instance)
        return entry.joined if entry is not None and entry.present else None

    def _take(self, key: CatalogKey, kv: KeyValue, *, deleted: bool) -> None:
        """Bring one stored key into the view."""
        service_id = (key.namespace, key.service)
        service = self._services.get(service_id)
        if service is None:
            if deleted:
                return
            service = self._services[service_id] = _ServiceEntry(*service_id)
        service.snapshot = None
        if key.kind is Kind.SERVICE:
            service.described = None if deleted else self._read_service(key, kv)
        else:
            self._take_part(service, key, kv, deleted=deleted)
        if service.described is None and not service.entries:
            del self._services[service_id]

    def _take_part(
        self, service: _ServiceEntry, key: CatalogKey, kv: KeyValue, *, deleted: bool
    ) -> None:
        """Bring one of an instance's keys into its entry, and keep the indexes right."""
        entry = service.entries.get(key.instance)
        if entry is None:
            entry = InstanceEntry(InstanceName(key.namespace, key.service, key.instance))
            service.entries[key.instance] = entry
        was_present, session_before = entry.present, entry.joined.session_id
        if key.kind is Kind.INSTANCE:
            owner = None if deleted else self._read(Instance, kv)
            if owner is None:
                entry.delete_instance()
            else:
                entry.put_instance(owner, kv)
        elif key.kind is Kind.OVERRIDE:
            override = None if deleted else self._read(Override, kv)
            entry.put_override(override, kv.mod_revision if override is not None else 0)
        else:
            health = None if deleted else self._read(Health, kv)
            entry.put_health(health, kv.mod_revision if health is not None else 0)
        service.present_count += entry.present - was_present
        self._index_session(entry, session_before)
        self._index_override(entry)
        if entry.empty:
            del service.entries[key.instance]

    def _index_session(self, entry: InstanceEntry, before: int) -> None:
        now = entry.joined.session_id if entry.present else 0
        if now == before:
            return
        if before:
            members = self._sessions[before]
            members.discard(entry)
            if not members:
                del self._sessions[before]
        if now:
            self._sessions.setdefault(now, set()).add(entry)

    def _index_override(self, entry: InstanceEntry) -> None:
        if entry.override_revision:
            self._overridden[entry] = None
        else:
            self._overridden.pop(entry, None)

    def _read_service(self, key: CatalogKey, kv: KeyValue) -> Service | None:
        service = self._read(Service, kv)
        if service is not None:
            service.namespace, service.name = key.namespace, key.service
            service.create_revision = kv.create_revision
            service.mod_revision = kv.mod_revision
        return service

    def _read(self, kind: type[_Value], kv: KeyValue) -> _Value | None:
        try:
            return kind.FromString(kv.value)
        except DecodeError:
            self.unreadable += 1
            return None


def _differ(old: Joined | Service | None, new: Joined | Service | None) -> bool:
    if isinstance(old, Joined) and isinstance(new, Joined):
        return old.wire != new.wire
    return old is not new and old != new


def _event(subject: CatalogKey, now: Joined | Service | None, revision: int) -> bytes:
    """Return the event that says what a service or an instance is now."""
    if isinstance(now, Joined):
        return events.instance_put(now, revision)
    if isinstance(now, Service):
        return events.service_put(now, revision)
    if subject.kind is Kind.SERVICE:
        return events.service_removed(subject.namespace, subject.service, revision)
    return events.instance_removed(subject.namespace, subject.service, subject.instance, revision)
