"""Answers: what a caller gets back, stamped with the revision, age and rung that it stands on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from tianlu._model import Instance, Rung, Service

T = TypeVar("T")


class ServiceKey(NamedTuple):
    """A service's place in the catalogue. Equal to the plain pair (namespace, name)."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.name}.{self.namespace}"


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list as of one revision of the catalogue."""

    items: tuple[T, ...]
    revision: int

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Discovery:
    """The instances of a service that may be sent traffic.

    Attributes:
        instances: eligible ones; a suspect one is listed (see `Instance.suspect`), because the
            caller decides what to do when few others are left.
        revision: catalogue revision of the answer.
        age_seconds: for how long nobody has confirmed the answer; 0 while a watch holds or when
            a registry answered this call.
        rung: where the answer came from.
    """

    service: Service
    instances: tuple[Instance, ...]
    revision: int
    age_seconds: float
    rung: Rung


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service and all its instances, whatever their state, ordered by id."""

    service: Service
    instances: tuple[Instance, ...]


@dataclass(frozen=True, slots=True)
class CatalogView:
    """Everything a mirror holds, at one revision. Immutable; a newer view is a new object.

    Attributes:
        services: by (namespace, name); includes services that have only a description.
        age_seconds: for how long nobody has confirmed it; 0 while the watch holds.
    """

    revision: int
    services: Mapping[ServiceKey, ServiceView]
    rung: Rung
    age_seconds: float


class ChangeKind(StrEnum):
    """What happened to an instance or a service description."""

    PUT = "put"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the catalogue.

    Attributes:
        revision: the catalogue revision that made it.
        key: the service that it concerns.
        instance_id: the instance that it concerns; "" if the description of the service changed.
        instance: the instance as it is now, or as it last was if removed; None if `instance_id`
            is "".
        service: the description as it is now, or as it last was if removed; None if an instance
            changed.
    """

    kind: ChangeKind
    revision: int
    key: ServiceKey
    instance_id: str = ""
    instance: Instance | None = None
    service: Service | None = None


@dataclass(frozen=True, slots=True)
class ClientStatus:
    """How a client stands towards the registry.

    Attributes:
        endpoint: the endpoint in use, or the one to be tried next.
        endpoints: all that may be used: those given, then those learnt.
        session_id: the session that holds this client's registrations; 0 if it has none.
        session: the session's state, in lower case, such as "held" or "broken".
        registered: ids of the instances that this client has registered.
        subscribed: the services that it keeps in its cache.
        revision: the oldest revision among its subscriptions; 0 without any.
        age_seconds: the age of the oldest subscription; 0 while all watches hold.
        degraded: why answers may be stale, "" if they are not: "" becomes a reason as soon as a
            watch breaks and returns to "" as soon as every watch has caught up.
    """

    endpoint: str
    endpoints: tuple[str, ...]
    session_id: int
    session: str
    registered: tuple[str, ...]
    subscribed: tuple[ServiceKey, ...]
    revision: int
    age_seconds: float
    degraded: str
