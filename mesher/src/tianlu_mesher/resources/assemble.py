"""Routing plan -> xds_snapshot, service by service.

Domains are shared by all services, and Envoy refuses a whole route configuration in which one
occurs twice ("http.orders.default" may be the port http of orders, and a service "http.orders").
They are handed out in this order: default authorities, ports, bare names; within each by service.
Who comes second goes without, and the snapshot says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tianlu import ServiceKey
from tianlu_mesher.errors import InconsistentPlan
from tianlu_mesher.resources import routes
from tianlu_mesher.resources.clusters import cluster_resource
from tianlu_mesher.resources.endpoints import endpoint_resource
from tianlu_mesher.resources.snapshot import Resource, XdsSnapshot
from tianlu_mesher.routing.ir import EnvoyClusterSpec, PortRoute, RoutingPlan, ServiceRoute
from tianlu_mesher.routing.role import Role

_NOT_READY = "no view of the registry yet; ask again shortly"
_UNKNOWN_SERVICE = "no service of this name is registered; ask for SERVICE.NAMESPACE"
_UNKNOWN_UNDER_PREFIX = "no service of this name is registered; ask for {}/NAMESPACE/SERVICE/"
_UNKNOWN_PLACE = "no registered service has this host name, and nothing else stands at this path"


@dataclass(frozen=True, slots=True)
class _Domain:
    name: str
    precedence: int
    key: ServiceKey
    route: PortRoute


@dataclass(frozen=True, slots=True)
class _Built:
    """What one service's route was built into."""

    route: ServiceRoute
    clusters: tuple[Resource, ...]
    endpoints: tuple[Resource, ...]
    path_fragment: bytes


class Assembler:
    """Assembles plans one after the other and reuses what has not changed.

    Like `Planner` it gives for any sequence what assembling each from nothing would give.

    Args:
        role: which proxy the resources are for.
        static_clusters: Envoy clusters of the bootstrap that control routes may use.
    """

    def __init__(self, role: Role, static_clusters: frozenset[str] = frozenset()) -> None:
        self._role = role
        self._static_clusters = static_clusters
        self._built: Mapping[ServiceKey, _Built] = {}
        self._routing: Mapping[ServiceKey, tuple[PortRoute, ...]] | None = None
        self._routes: Resource | None = None
        self._domains: tuple[str, ...] = ()
        self._loaded = False

    def assemble(self, plan: RoutingPlan) -> XdsSnapshot:
        """Return every resource of `plan`."""
        built = {
            key: self._build(route, self._built.get(key)) for key, route in plan.services.items()
        }
        self._built = built
        return XdsSnapshot(
            revision=plan.revision,
            loaded=plan.loaded,
            clusters=_by_name(each for one in built.values() for each in one.clusters),
            endpoints=_by_name(each for one in built.values() for each in one.endpoints),
            routes=_by_name(iter((self._route_configuration(plan),))),
            route_targets=frozenset(self._targets(plan)),
            static_clusters=self._static_clusters,
            domains=self._domains,
        )

    def _targets(self, plan: RoutingPlan) -> Iterator[str]:
        for control in self._role.control_routes:
            if not control.redirect:
                yield control.envoy_cluster
        for service in plan.services.values():
            for route in service.routes:
                yield route.envoy_cluster
                yield route.grpc_envoy_cluster

    def _build(self, route: ServiceRoute, before: _Built | None) -> _Built:
        if before is not None and before.route is route:
            return before
        old: Mapping[EnvoyClusterSpec, tuple[Resource, Resource]] = {}
        if before is not None:
            old = dict(
                zip(
                    before.route.envoy_clusters,
                    zip(before.clusters, before.endpoints, strict=True),
                    strict=True,
                )
            )
        made = [
            old.get(spec) or (cluster_resource(spec), endpoint_resource(spec))
            for spec in route.envoy_clusters
        ]
        if before is not None and before.route.routes == route.routes:
            fragment = before.path_fragment
        else:
            fragment = self._path_fragment(route)
        return _Built(
            route, tuple(each[0] for each in made), tuple(each[1] for each in made), fragment
        )

    def _path_fragment(self, route: ServiceRoute) -> bytes:
        if not self._role.path_prefix:
            return b""
        path = f"{self._role.path_prefix}/{route.key.namespace}/{route.key.name}"
        return routes.routes_fragment(routes.path_routes(path, route.routes[0]))

    def _route_configuration(self, plan: RoutingPlan) -> Resource:
        """Build the route configuration anew only if a service, port or target came or went."""
        routing = {key: service.routes for key, service in plan.services.items()}
        if self._routes is not None and (routing, plan.loaded) == (self._routing, self._loaded):
            return self._routes
        self._routing, self._loaded = routing, plan.loaded
        hosts = list(self._virtual_hosts(plan))
        content = b"".join((routes.head(), *hosts, self._default_virtual_host(plan)))
        self._routes = Resource.of_bytes(routes.ROUTE_CONFIGURATION, content)
        return self._routes

    def _virtual_hosts(self, plan: RoutingPlan) -> Iterator[bytes]:
        granted = _granted(self._role, plan)
        self._domains = (*sorted(granted), "*")
        hosts: dict[tuple[ServiceKey, PortRoute], list[str]] = {}
        for domain in granted.values():
            hosts.setdefault((domain.key, domain.route), []).append(domain.name)
        for (key, route), domains in sorted(hosts.items(), key=lambda each: min(each[1])):
            name = f"{key.namespace}/{key.name}/{route.port_name}"
            yield routes.virtual_host(
                name, sorted(domains), routes.host_routes(route, tunnels=not self._role.edge)
            )

    def _default_virtual_host(self, plan: RoutingPlan) -> bytes:
        control = routes.routes_fragment(map(routes.control_route, self._role.control_routes))
        paths = b"".join(self._built[key].path_fragment for key in sorted(plan.services))
        fragments = control + paths + routes.routes_fragment(self._answers(plan.loaded))
        return routes.virtual_host_of_fragments("default", ["*"], fragments)

    def _answers(self, loaded: bool) -> list[dict[str, Any]]:
        """Return what Envoy says to requests for services that are not there."""
        if not loaded:
            return [routes.answer_route("/", 503, _NOT_READY)]
        prefix = self._role.path_prefix
        unknown = _UNKNOWN_PLACE if self._role.edge else _UNKNOWN_SERVICE
        answers = [routes.answer_route("/", 404, unknown)]
        if prefix:
            text = _UNKNOWN_UNDER_PREFIX.format(prefix)
            answers.insert(0, routes.answer_route(f"{prefix}/", 404, text))
        return answers


def _granted(role: Role, plan: RoutingPlan) -> dict[str, _Domain]:
    """Return who has which domain (see the module's docstring)."""
    wanted = sorted(
        _wanted(role, plan), key=lambda each: (each.precedence, each.key, each.route.port_name)
    )
    granted: dict[str, _Domain] = {}
    for domain in wanted:
        granted.setdefault(domain.name, domain)
    return granted


def _wanted(role: Role, plan: RoutingPlan) -> Iterator[_Domain]:
    for key, service in plan.services.items():
        authority = f"{key.name}.{key.namespace}".lower()
        for route in service.routes:
            if route.port_name:
                yield _Domain(f"{route.port_name.lower()}.{authority}", 1, key, route)
                continue
            yield _Domain(authority, 0, key, route)
            if key.namespace == role.bare_namespace:
                yield _Domain(key.name.lower(), 2, key, route)


def _by_name(resources: Iterator[Resource]) -> Mapping[str, Resource]:
    """File resources by name.

    Raises:
        InconsistentPlan: two have one name.
    """
    filed: dict[str, Resource] = {}
    for resource in resources:
        if resource.name in filed:
            raise InconsistentPlan((f"two resources are named {resource.name}",))
        filed[resource.name] = resource
    return MappingProxyType(filed)
