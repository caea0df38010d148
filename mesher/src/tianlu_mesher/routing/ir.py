"""The typed plan between the catalogue and Envoy: routes, Envoy clusters and their endpoints.

Words (docs/glossary.md): an *instance* belongs to the registry, an *endpoint* to Envoy; a bare
"cluster" would be the Raft group, so Envoy's are always *Envoy clusters*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tianlu import LoadBalancer, Rung, ServiceKey


class UpstreamProtocol(StrEnum):
    """What Envoy speaks to an Envoy cluster's endpoints, without TLS."""

    HTTP1 = "http1"
    HTTP2 = "http2"
    """With prior knowledge; gRPC is HTTP/2."""


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """One address that requests may be sent to.

    Attributes:
        instance_id: the instance behind it, shown to callers in `x-tianlu-served-by`.
        address: an IP address, never a name: Envoy refuses names in endpoint assignments.
        weight: 1 to 10000; instances of weight 0 are left out before.
        healthy: False for a suspect instance. Envoy passes it over unless more than half of the
            endpoints are unhealthy; then health is more likely misjudged than truly lost, and it
            uses all of them (its panic threshold).
    """

    instance_id: str
    address: str
    port: int
    weight: int
    healthy: bool


@dataclass(frozen=True, slots=True)
class EnvoyClusterSpec:
    """A group of endpoints that share one protocol: one port of one service."""

    name: str
    protocol: UpstreamProtocol
    load_balancer: LoadBalancer
    endpoints: tuple[EndpointSpec, ...]


@dataclass(frozen=True, slots=True)
class PortRoute:
    """Where requests for one authority go.

    Attributes:
        port_name: the port that the authority names; "" for the service's default authority.
        envoy_cluster: takes requests in general.
        grpc_envoy_cluster: takes requests of content type application/grpc; often the same.
    """

    port_name: str
    envoy_cluster: str
    grpc_envoy_cluster: str


@dataclass(frozen=True, slots=True)
class ServiceRoute:
    """All that a proxy has to know of one service.

    Attributes:
        routes: the default authority first, then one for each port, ordered by name.
        envoy_clusters: ordered by name, at least one: a service without a usable port keeps an
            empty one, so that callers are told "no instance" and not "unknown service".
        host_names: what has to be resolved to reach its instances.
        notes: what was left out and why, for the status page and the log.
    """

    key: ServiceKey
    routes: tuple[PortRoute, ...]
    envoy_clusters: tuple[EnvoyClusterSpec, ...]
    host_names: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoutingPlan:
    """What one view of the catalogue means for routing.

    Attributes:
        revision: of the view; 0 if no view has been loaded.
        rung: where the view came from; None if there is none yet. Proxies then answer "not
            ready" where they would have answered "unknown service".
    """

    revision: int
    rung: Rung | None
    services: Mapping[ServiceKey, ServiceRoute]

    @property
    def host_names(self) -> frozenset[str]:
        """What has to be resolved to reach all instances."""
        return frozenset[str]().union(*(each.host_names for each in self.services.values()))

    @property
    def loaded(self) -> bool:
        """Whether the plan stands on a view of the catalogue."""
        return self.rung is not None


def envoy_cluster_name(key: ServiceKey, port_name: str) -> str:
    """Return the name of the Envoy cluster for a port: "default/orders/http".

    Service names hold no slash, and our static clusters have none either, so names never clash.
    """
    return f"{key.namespace}/{key.name}/{port_name}"
