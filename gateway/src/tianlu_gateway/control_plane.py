"""The control plane behind the gateway: which of its paths lead where. Pure.

    /console/                     the console
    gRPC of etcd v3, tianlu.v1    the registry, and its health and reflection services
    /v3/ /v1/ /version /health    the registry, JSON
    /healthz /readyz /metrics     who supervises all parts; without one, the gateway's own agent
    /                             to the console, if there is one

All but the console may be called by browsers from pages of the gateway's own host only; the
console guards itself. None is served under a host name that nobody listed: it may be a page's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tianlu_mesher.addresses import RegistryAddress
from tianlu_mesher.resources.bootstrap import StaticCluster
from tianlu_mesher.resources.socket_address import SocketAddress
from tianlu_mesher.resources.upstream_tls import UpstreamTls
from tianlu_mesher.routing.ir import UpstreamProtocol
from tianlu_mesher.routing.role import ControlRoute, Repeat, Role, Stream

REGISTRY_CLUSTER: Final = "tianlu_registry"
CONSOLE_CLUSTER: Final = "tianlu_console"
STATUS_CLUSTER: Final = "tianlu_status"
PATH_PREFIX: Final = "/s"

_REGISTRY_PATHS: Final = (
    "/etcdserverpb.",
    "/v3lockpb.",
    "/v3electionpb.",
    "/tianlu.v1.",
    "/grpc.health.v1.",
    "/grpc.reflection.",
    "/v3/",
    "/v1/",
)
_CATALOG: Final = "/tianlu.v1.Catalog/"
_REPEATABLE: Final = {
    Repeat.READS: (
        "/etcdserverpb.KV/Range",
        "/etcdserverpb.Lease/LeaseTimeToLive",
        "/etcdserverpb.Lease/LeaseLeases",
        "/etcdserverpb.Cluster/MemberList",
        "/v3/kv/range",
        "/v3/lease/timetolive",
        "/v3/lease/leases",
        "/v3/cluster/member/list",
        f"{_CATALOG}GetService",
        f"{_CATALOG}ListNamespaces",
        f"{_CATALOG}ListServices",
        f"{_CATALOG}ListInstances",
        f"{_CATALOG}ListSubscribers",
        f"{_CATALOG}Discover",
    ),
    # A session opened twice leaves one that ends by itself. Removals are not here: the second one
    # answers that there is nothing to remove, which only the SDK can tell from a mistake.
    Repeat.WRITES: (
        f"{_CATALOG}OpenSession",
        f"{_CATALOG}RenewSession",
        f"{_CATALOG}Register",
        f"{_CATALOG}UpdateInstance",
        f"{_CATALOG}OverrideInstance",
        f"{_CATALOG}PutService",
    ),
}
"""Calls that may be made twice: prefixes of their paths."""

_REGISTRY_EXACT_PATHS: Final = ("/version", "/health")
_STATUS_PATHS: Final = ("/healthz", "/readyz", "/metrics")


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Where the parts of the control plane are.

    Attributes:
        registry: at least one address.
        registry_ca_file: PEM, the authorities of those that speak TLS; "" for the system's.
        registry_server_name: the name in their certificates; "" for the host of each address.
        console: None without a console.
        status: None: the gateway's own agent answers for itself.
        hosts: names, in lower case, under which all of it is served besides IP addresses and
            localhost.
    """

    registry: tuple[RegistryAddress, ...]
    registry_ca_file: str = ""
    registry_server_name: str = ""
    console: SocketAddress | None = None
    status: SocketAddress | None = None
    hosts: tuple[str, ...] = ()

    def role(self) -> Role:
        """Return the gateway's role towards the stages that it shares with the mesher."""
        return Role(
            name="gateway",
            edge=True,
            path_prefix=PATH_PREFIX,
            control_routes=tuple(self._routes()),
            control_hosts=self.hosts,
        )

    def static_clusters(self) -> tuple[StaticCluster, ...]:
        """Return the Envoy clusters that the routes lead to, the agent's own status page aside."""
        clusters = [
            StaticCluster(
                REGISTRY_CLUSTER,
                UpstreamProtocol.HTTP2,
                tuple(each.address for each in self.registry),
                ready_path="/readyz",
                tls=tuple(self._registry_tls()),
            )
        ]
        if self.console is not None:
            clusters.append(StaticCluster(CONSOLE_CLUSTER, UpstreamProtocol.HTTP1, (self.console,)))
        if self.status is not None:
            clusters.append(StaticCluster(STATUS_CLUSTER, UpstreamProtocol.HTTP1, (self.status,)))
        return tuple(clusters)

    def _registry_tls(self) -> Iterator[UpstreamTls]:
        # No certificate of ours: the registry would take callers without a token for the gateway.
        for each in self.registry:
            if each.tls:
                name = self.registry_server_name or each.address.host
                yield UpstreamTls(each.address, name, self.registry_ca_file)

    def _routes(self) -> Iterator[ControlRoute]:
        if self.console is not None:
            yield ControlRoute("/", exact=True, redirect="/console/")
            yield ControlRoute("/console", exact=True, redirect="/console/")
            yield ControlRoute("/console/", CONSOLE_CLUSTER)
        for path, repeat in _registry_paths():
            yield ControlRoute(path, REGISTRY_CLUSTER, same_origin_only=True, repeat=repeat)
        for path in _REGISTRY_EXACT_PATHS:
            yield ControlRoute(
                path,
                REGISTRY_CLUSTER,
                exact=True,
                same_origin_only=True,
                repeat=Repeat.GETS,
            )
        for path in _STATUS_PATHS:
            yield ControlRoute(
                path, STATUS_CLUSTER, Stream.BRIEF, exact=True, same_origin_only=True
            )


def _registry_paths() -> Iterator[tuple[str, Repeat]]:
    for path in _REGISTRY_PATHS:
        yield path, Repeat.GETS if path == "/v1/" else Repeat.UNSENT
    for repeat, paths in _REPEATABLE.items():
        for path in paths:
            yield path, repeat
