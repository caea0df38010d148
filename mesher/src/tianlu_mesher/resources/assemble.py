"""Routing plan -> xds_snapshot, service by service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tianlu import ServiceKey
from tianlu_mesher.errors import InconsistentPlan
from tianlu_mesher.resources.clusters import cluster_resource
from tianlu_mesher.resources.endpoints import endpoint_resource
from tianlu_mesher.resources.route_table import RouteTable
from tianlu_mesher.resources.snapshot import Resource, XdsSnapshot
from tianlu_mesher.routing.ir import EnvoyClusterSpec, RoutingPlan, ServiceRoute
from tianlu_mesher.routing.role import Role


@dataclass(frozen=True, slots=True)
class _Built:
    """What one service was built into; both tuples in the order of its Envoy clusters."""

    route: ServiceRoute
    clusters: tuple[Resource, ...]
    endpoints: tuple[Resource, ...]
    targets: frozenset[str]


class Assembler:
    """Assembles plans one after the other and reuses what has not changed.

    Like `Planner` it gives for any sequence what assembling each from nothing would give.

    Args:
        role: which proxy the resources are for.
        static_clusters: Envoy clusters of the bootstrap that control routes may use.
    """

    def __init__(self, role: Role, static_clusters: frozenset[str] = frozenset()) -> None:
        self._static_clusters = static_clusters
        self._control_targets = frozenset(
            each.envoy_cluster for each in role.control_routes if not each.redirect
        )
        self._built: Mapping[ServiceKey, _Built] = {}
        self._route_table = RouteTable(role)

    def assemble(self, plan: RoutingPlan) -> XdsSnapshot:
        """Return every resource of `plan`.

        Raises:
            InconsistentPlan: two resources have one name.
        """
        self._built = {
            key: self._build(route, self._built.get(key)) for key, route in plan.services.items()
        }
        built = self._built.values()
        routes = self._route_table.build(plan)
        return XdsSnapshot(
            revision=plan.revision,
            loaded=plan.loaded,
            clusters=_by_name(each for one in built for each in one.clusters),
            endpoints=_by_name(each for one in built for each in one.endpoints),
            routes={routes.name: routes},
            route_targets=self._control_targets.union(*(one.targets for one in built)),
            static_clusters=self._static_clusters,
            domains=self._route_table.domains,
        )

    def _build(self, route: ServiceRoute, before: _Built | None) -> _Built:
        if before is not None and before.route is route:
            return before
        old: Mapping[EnvoyClusterSpec, tuple[Resource, Resource]] = {}
        if before is not None:
            resources = zip(before.clusters, before.endpoints, strict=True)
            old = dict(zip(before.route.envoy_clusters, resources, strict=True))
        made = [
            old.get(spec) or (cluster_resource(spec), endpoint_resource(spec))
            for spec in route.envoy_clusters
        ]
        return _Built(
            route,
            clusters=tuple(cluster for cluster, _ in made),
            endpoints=tuple(endpoints for _, endpoints in made),
            targets=frozenset(
                name
                for each in route.routes
                for name in (each.envoy_cluster, each.grpc_envoy_cluster)
            ),
        )


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
