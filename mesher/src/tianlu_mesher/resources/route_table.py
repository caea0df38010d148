"""The route configuration: virtual hosts of all services, and one for everything else."""

from __future__ import annotations

from collections.abc import Mapping

from tianlu import ServiceKey
from tianlu_mesher.resources import routes
from tianlu_mesher.resources.control_hosts import authority_pattern
from tianlu_mesher.resources.domains import HostGroup, host_groups
from tianlu_mesher.resources.snapshot import Resource
from tianlu_mesher.routing.ir import PortRoute, RoutingPlan
from tianlu_mesher.routing.role import Role

_NOT_READY = "no view of the registry yet; ask again shortly"
_UNKNOWN_SERVICE = "no service of this name is registered; ask for SERVICE.NAMESPACE"
_UNKNOWN_UNDER_PREFIX = "no service of this name is registered; ask for {}/NAMESPACE/SERVICE/"
_UNKNOWN_PLACE = "no registered service has this host name, and nothing else stands at this path"
_EVERYTHING_ELSE = "*"

_Routing = Mapping[ServiceKey, tuple[PortRoute, ...]]


class RouteTable:
    """Builds route configurations one after the other and reuses what has not changed: all of it
    while no service, port or target comes or goes, else the virtual hosts that stay.
    """

    def __init__(self, role: Role) -> None:
        self._role = role
        self._authorities = authority_pattern(role)
        self._basis: tuple[bool, _Routing] | None = None
        self._hosts: dict[HostGroup, bytes] = {}
        self._paths: dict[tuple[str, PortRoute], bytes] = {}
        self._resource: Resource
        self.domains: tuple[str, ...] = ()

    def build(self, plan: RoutingPlan) -> Resource:
        """Return the route configuration of `plan`; `domains` are its domains then."""
        basis = (plan.loaded, {key: service.routes for key, service in plan.services.items()})
        if basis != self._basis:
            self._basis = basis
            groups = host_groups(self._role, plan)
            self._hosts = {each: self._hosts.get(each) or self._host(each) for each in groups}
            self._paths = self._path_fragments(plan)
            self.domains = (*(name for each in groups for name in each.domains), _EVERYTHING_ELSE)
            content = (
                routes.head(edge=self._role.edge),
                *self._hosts.values(),
                self._default_host(plan.loaded),
            )
            self._resource = Resource.of_bytes(routes.ROUTE_CONFIGURATION, b"".join(content))
        return self._resource

    def _host(self, group: HostGroup) -> bytes:
        route = PortRoute("", group.envoy_cluster, group.grpc_envoy_cluster)
        made = routes.routes_fragment(routes.host_routes(route, tunnels=not self._role.edge))
        return routes.virtual_host(group.domains[0], group.domains, made)

    def _path_fragments(self, plan: RoutingPlan) -> dict[tuple[str, PortRoute], bytes]:
        prefix = self._role.path_prefix
        if not prefix:
            return {}
        wanted = [
            (f"{prefix}/{key.namespace}/{key.name}", service.routes[0])
            for key, service in sorted(plan.services.items())
        ]
        return {each: self._paths.get(each) or self._path(*each) for each in wanted}

    def _path(self, path: str, route: PortRoute) -> bytes:
        unknown = routes.answer_route("/", *self._unknown_under_prefix())
        return routes.path_fragment(path, [*routes.path_routes(path, route), unknown])

    def _default_host(self, loaded: bool) -> bytes:
        """Build the virtual host of the control plane, of services' paths, and of what is unknown.

        Each path that matters is a prefix in one tree, and answers whatever begins with it.
        """
        last = routes.answer_route("/", *self._unknown(loaded))
        answers = {"/": [last]}
        if self._role.path_prefix and loaded:
            unknown = routes.answer_route("/", *self._unknown_under_prefix())
            answers[f"{self._role.path_prefix}/"] = [unknown]
        for each in self._role.control_routes:
            answers[each.path] = [*routes.control_routes(each, self._authorities), last]
        fixed = (routes.path_fragment(*each) for each in answers.items())
        content = b"".join((routes.path_tree(), *fixed, *self._paths.values()))
        return routes.virtual_host("everything-else", (_EVERYTHING_ELSE,), content)

    def _unknown(self, loaded: bool) -> tuple[int, str]:
        """Return what Envoy says to requests for what is not there."""
        if not loaded:
            return 503, _NOT_READY
        return 404, _UNKNOWN_PLACE if self._role.edge else _UNKNOWN_SERVICE

    def _unknown_under_prefix(self) -> tuple[int, str]:
        return 404, _UNKNOWN_UNDER_PREFIX.format(self._role.path_prefix)
