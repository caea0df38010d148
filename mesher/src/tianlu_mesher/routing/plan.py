"""Catalogue view -> routing plan, service by service.

Rules, each the answer to one question:

1. *Who is an endpoint?* An instance that is UP, not isolated and of weight above 0. A suspect one
   stays, marked unhealthy (see `EndpointSpec.healthy`).
2. *Which ports does a service have?* Those of its eligible instances; if none is eligible, those of
   all, so that isolating the last instance changes endpoints and not routes.
3. *Which port is the default?* The one that most of these instances name first, tcp ports aside
   (ties: the first by name). Requests of content type application/grpc go to the grpc port that
   most name first, else to an http2 port found likewise, else to the default port.
4. *What if instances disagree on a port's protocol?* The majority's protocol is spoken, and the
   others are left out and noted: speaking the wrong protocol to them would fail every request.
5. *What if two instances have one address and port?* The one registered last is real (a process
   that came back under a new id); the other is left out.
6. *What of host names?* Envoy takes addresses only: the caller hands in what names resolve to. An
   instance whose name has no known address is left out and noted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from types import MappingProxyType

from tianlu import CatalogView, Instance, LoadBalancer, Port, ServiceKey, ServiceView
from tianlu_mesher.routing.ir import (
    EndpointSpec,
    EnvoyClusterSpec,
    PortRoute,
    RoutingPlan,
    ServiceRoute,
    UpstreamProtocol,
    envoy_cluster_name,
)

Addresses = Mapping[str, str]
"""Host name -> IP address, for those host names that have been resolved."""

NO_ADDRESSES: Addresses = MappingProxyType({})
UNLOADED = RoutingPlan(revision=0, rung=None, services=MappingProxyType({}))
NO_PORT = "-"
"""Stands for the port in the name of an Envoy cluster of a service that has no usable port."""

_PROTOCOLS = {
    "http": UpstreamProtocol.HTTP1,
    "http2": UpstreamProtocol.HTTP2,
    "grpc": UpstreamProtocol.HTTP2,
}


class Planner:
    """Plans views one after the other and reuses what has not changed.

    Not a cache with a life of its own: it holds the last view and its plan, nothing else, and
    gives for any sequence of views what planning each from nothing would give.
    """

    def __init__(self) -> None:
        self._views: Mapping[ServiceKey, ServiceView] = {}
        self._addresses: Addresses = NO_ADDRESSES
        self._plan = UNLOADED

    def plan(self, view: CatalogView, addresses: Addresses = NO_ADDRESSES) -> RoutingPlan:
        """Return the plan of `view`.

        A service whose view is the same object as before, or whose route comes out equal, keeps
        its route object: later stages skip by identity.

        Args:
            view: the newest view.
            addresses: what host names among the instances' addresses resolve to.
        """
        kept = self._plan.services if addresses == self._addresses else {}
        services: dict[ServiceKey, ServiceRoute] = {}
        for key, service in view.services.items():
            before = self._plan.services.get(key)
            if key in kept and self._views.get(key) is service:
                services[key] = kept[key]
                continue
            route = plan_service(key, service, addresses)
            services[key] = before if before == route and before is not None else route
        self._views, self._addresses = view.services, addresses
        self._plan = RoutingPlan(view.revision, view.rung, MappingProxyType(services))
        return self._plan


def plan_service(key: ServiceKey, view: ServiceView, addresses: Addresses) -> ServiceRoute:
    """Plan one service by the rules above."""
    eligible = tuple(instance for instance in view.instances if instance.eligible)
    known = eligible or view.instances
    balancer = _load_balancer(view.service.load_balancer)
    default = _majority(_first_port(instance, tuple(_PROTOCOLS)) for instance in known)
    if default is None:
        return _without_port(key, balancer, known)
    grpc = _majority(_first_port(instance, ("grpc",)) for instance in known) or _majority(
        _first_port(instance, ("http2",)) for instance in known
    )
    clusters: list[EnvoyClusterSpec] = []
    notes: list[str] = []
    for name in _port_names(known):
        cluster, left_out = _plan_port(key, name, known, eligible, balancer, addresses)
        clusters.append(cluster)
        notes.extend(left_out)
    grpc_cluster = envoy_cluster_name(key, grpc or default)
    routes = [PortRoute("", envoy_cluster_name(key, default), grpc_cluster)]
    routes += [
        PortRoute(name, (own := envoy_cluster_name(key, name)), own) for name in _port_names(known)
    ]
    return ServiceRoute(key, tuple(routes), tuple(clusters), _host_names(eligible), tuple(notes))


def _without_port(
    key: ServiceKey, balancer: LoadBalancer, known: Iterable[Instance]
) -> ServiceRoute:
    name = envoy_cluster_name(key, NO_PORT)
    cluster = EnvoyClusterSpec(name, UpstreamProtocol.HTTP1, balancer, ())
    notes = tuple(
        f"instance {instance.id} has no port of protocol http, http2 or grpc" for instance in known
    )
    return ServiceRoute(key, (PortRoute("", name, name),), (cluster,), notes=notes)


def _plan_port(
    key: ServiceKey,
    name: str,
    known: tuple[Instance, ...],
    eligible: tuple[Instance, ...],
    balancer: LoadBalancer,
    addresses: Addresses,
) -> tuple[EnvoyClusterSpec, list[str]]:
    """Return the Envoy cluster of one port, and notes on what was left out of it."""
    protocols = Counter(_PROTOCOLS[port.protocol] for port in _usable(known, name))
    protocol = min(protocols, key=lambda each: (-protocols[each], each))
    notes: list[str] = []
    by_address: dict[tuple[str, int], tuple[Instance, str, int]] = {}
    for instance in sorted(eligible, key=lambda each: (each.create_revision, each.id)):
        port = instance.port(name)
        if port is None or port.protocol not in _PROTOCOLS:
            continue
        if _PROTOCOLS[port.protocol] is not protocol:
            notes.append(f"instance {instance.id}: port {name} is {port.protocol}, not {protocol}")
            continue
        address = _ip_address(instance.address, addresses)
        if address is None:
            notes.append(f"instance {instance.id}: {instance.address} has no known IP address")
            continue
        by_address[address, port.number] = (instance, address, port.number)
    endpoints = sorted(
        (
            EndpointSpec(instance.id, address, number, instance.weight, not instance.suspect)
            for instance, address, number in by_address.values()
        ),
        key=lambda each: (each.instance_id, each.address, each.port),
    )
    name = envoy_cluster_name(key, name)
    return EnvoyClusterSpec(name, protocol, balancer, tuple(endpoints)), notes


def _load_balancer(asked: LoadBalancer) -> LoadBalancer:
    return LoadBalancer.LEAST_REQUEST if asked is LoadBalancer.UNSPECIFIED else asked


def _usable(instances: Iterable[Instance], name: str) -> list[Port]:
    ports = (instance.port(name) for instance in instances)
    return [port for port in ports if port is not None and port.protocol in _PROTOCOLS]


def _port_names(instances: Iterable[Instance]) -> list[str]:
    return sorted(
        {
            port.name
            for instance in instances
            for port in instance.ports
            if port.protocol in _PROTOCOLS
        }
    )


def _first_port(instance: Instance, protocols: tuple[str, ...]) -> str | None:
    return next((port.name for port in instance.ports if port.protocol in protocols), None)


def _majority(names: Iterable[str | None]) -> str | None:
    """Return the name met most often, None aside; the first by name if several are."""
    counts = Counter(name for name in names if name is not None)
    return min(counts, key=lambda name: (-counts[name], name)) if counts else None


def _host_names(instances: Iterable[Instance]) -> frozenset[str]:
    return frozenset(each.address for each in instances if not _is_ip_address(each.address))


@lru_cache(maxsize=1 << 16)
def _is_ip_address(address: str) -> bool:
    try:
        ip_address(address)
    except ValueError:
        return False
    return True


def _ip_address(address: str, addresses: Addresses) -> str | None:
    return address if _is_ip_address(address) else addresses.get(address)
