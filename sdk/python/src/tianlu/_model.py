"""What Tianlu governs, as applications see it: services, instances, and views of the catalogue.

All types are immutable values. They mirror proto/tianlu/v1/model.proto; `tianlu._convert` turns one
into the other. A value read from the registry is shown as the registry gave it, so a newer
registry's answer never fails to decode: numbers that this release does not know become the
enumeration's UNSPECIFIED member.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final

NO_METADATA: Final[Mapping[str, str]] = MappingProxyType({})
WEIGHT_DEFAULT: Final = 100
WEIGHT_MAX: Final = 10_000


def _no_metadata() -> Mapping[str, str]:
    return NO_METADATA


class InstanceStatus(StrEnum):
    """What the owner of an instance says of it. Only UP instances are sent traffic."""

    UNSPECIFIED = "unspecified"
    STARTING = "starting"
    UP = "up"
    DRAINING = "draining"
    """Finishes what it has, takes nothing new."""
    DOWN = "down"


class Liveness(StrEnum):
    """What the registry has noticed about an instance, apart from what its owner says."""

    UNSPECIFIED = "unspecified"
    """Nothing noticed: taken as alive."""
    ALIVE = "alive"
    SUSPECT = "suspect"
    """Its session's stream broke. It is removed when the session's lease ends."""


class LoadBalancer(StrEnum):
    """How `pick` and the proxies choose among a service's instances."""

    UNSPECIFIED = "unspecified"
    """Not set: least request."""
    LEAST_REQUEST = "least_request"
    ROUND_ROBIN = "round_robin"
    """Weighted."""


class Rung(IntEnum):
    """Where an answer came from: a rung of the cache ladder. Lower is nearer.

    Source: ARCHITECTURE.md section 3, cache ladder. Rung 3 (a zone's Redis) and rung 5 (the
    leader) are not used by this release.
    """

    PROCESS = 1
    """This process's own view, kept current by a watch, or last known if the watch is down."""
    SNAPSHOT = 2
    """The host snapshot on disk, because no registry could be reached since the process began."""
    REGISTRY = 4
    """A registry node answered this very call."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of an instance.

    Attributes:
        name: unique within the instance, such as "http", "grpc", "admin".
        number: 1 to 65535.
        protocol: "http", "http2", "grpc" or "tcp". WebSocket rides on "http".
    """

    name: str
    number: int
    protocol: str = "http"


@dataclass(frozen=True, slots=True)
class Override:
    """An operator's decision about an instance. It outlives the instance's registration.

    Attributes:
        expires_unix_ms: when the registry lifts it, in milliseconds since 1970; 0: until restored.
    """

    isolated: bool = False
    reason: str = ""
    actor: str = ""
    since_unix_ms: int = 0
    expires_unix_ms: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """What the registry has found out about an instance. Its owner cannot write it."""

    liveness: Liveness = Liveness.UNSPECIFIED
    reason: str = ""
    since_unix_ms: int = 0


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of a service.

    Attributes:
        id: unique within the service; an instance that registers anew under its id is the same.
        address: IP address or host name that callers on other hosts can reach.
        ports: the first one is the default port.
        weight: 0 to 10000, its share of traffic relative to the others; 0 takes none.
        session_id: the session (lease) that holds it.
        registered_unix_ms: when it registered, in milliseconds since 1970.
        override: what an operator decided, or None.
        create_revision: catalogue revision of its registration.
        mod_revision: newest revision of it, of its override or of its health.
    """

    namespace: str
    service: str
    id: str
    address: str
    ports: tuple[Port, ...] = ()
    version: str = ""
    weight: int = WEIGHT_DEFAULT
    zone: str = ""
    metadata: Mapping[str, str] = field(default_factory=_no_metadata)
    status: InstanceStatus = InstanceStatus.UP
    session_id: int = 0
    registered_unix_ms: int = 0
    override: Override | None = None
    health: Health = field(default=Health())
    create_revision: int = 0
    mod_revision: int = 0

    @property
    def isolated(self) -> bool:
        """Whether an operator keeps traffic away from it."""
        return self.override is not None and self.override.isolated

    @property
    def suspect(self) -> bool:
        """Whether the registry has lost contact with its owner."""
        return self.health.liveness is Liveness.SUSPECT

    @property
    def eligible(self) -> bool:
        """Whether it may be sent traffic if it is alive: UP, not isolated, weight above 0."""
        return self.status is InstanceStatus.UP and not self.isolated and self.weight > 0

    @property
    def serving(self) -> bool:
        """Whether it should be sent traffic now: eligible and not suspect."""
        return self.eligible and not self.suspect

    def port(self, name: str | None = None) -> Port | None:
        """Return the port called `name`, or the default (first) port; None if there is none."""
        if name is None:
            return self.ports[0] if self.ports else None
        return next((port for port in self.ports if port.name == name), None)

    def authority(self, port_name: str | None = None) -> str:
        """Return "address:port" for a URL, with brackets around an IPv6 address.

        Args:
            port_name: which port; None means the default one.

        Raises:
            ValueError: the instance has no such port.
        """
        port = self.port(port_name)
        if port is None:
            wanted = "no port" if port_name is None else f"no port named {port_name!r}"
            raise ValueError(f"instance {self.id} of {self.service}.{self.namespace} has {wanted}")
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{port.number}"


@dataclass(frozen=True, slots=True)
class Service:
    """The description of a service. A service may have instances without being described."""

    namespace: str
    name: str
    description: str = ""
    owner: str = ""
    load_balancer: LoadBalancer = LoadBalancer.UNSPECIFIED
    metadata: Mapping[str, str] = field(default_factory=_no_metadata)
    create_revision: int = 0
    mod_revision: int = 0


@dataclass(frozen=True, slots=True)
class ServiceSummary:
    """A service with the counts that a list shows."""

    service: Service
    instances: int = 0
    serving: int = 0
    isolated: int = 0
    suspect: int = 0
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Somebody who watches the catalogue.

    Attributes:
        services: the services it watches; empty: all of the namespace.
        sent_revision: newest revision that the registry has sent it.
        applied_revision: newest revision that it has said to be in effect.
    """

    subscriber: str
    peer: str
    namespace: str
    services: tuple[str, ...]
    sent_revision: int
    applied_revision: int
    since_unix_ms: int


@dataclass(frozen=True, slots=True)
class Applied:
    """How far a revision has got among a service's subscribers.

    Attributes:
        reached: whether the asked share had applied it in time.
        laggards: names of subscribers that had not, at most 100.
    """

    reached: bool
    subscribers: int
    applied: int
    laggards: tuple[str, ...] = ()
