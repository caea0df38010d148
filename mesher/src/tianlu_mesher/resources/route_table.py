"""The route configuration: virtual hosts of all services, and one for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tianlu import ServiceKey
from tianlu_mesher.resources import routes
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
        self._control = routes.routes_fragment(map(routes.control_route, role.control_routes))
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
            content = (routes.head(), *self._hosts.values(), self._default_host(plan.loaded))
            self._resource = Resource.of_bytes(routes.ROUTE_CONFIGURATION, b"".join(content))
        return self._resource

    def _host(self, group: HostGroup) -> bytes:
        route = PortRoute("", group.envoy_cluster, group.grpc_envoy_cluster)
        made = routes.routes_fragment(routes.host_routes(route, tunnels=not self._role.edge))
        return routes.virtual_host(group.domains[0], group.domains, made)

    def _path_fragments(self, plan: RoutingPlan) -> dict[tuple[str, PortRoute], bytes]:
        if not self._role.path_prefix:
            return {}
        wanted = [
            (f"{self._role.path_prefix}/{key.namespace}/{key.name}", service.routes[0])
            for key, service in sorted(plan.services.items())
        ]
        return {
            each: self._paths.get(each) or routes.routes_fragment(routes.path_routes(*each))
            for each in wanted
        }

    def _default_host(self, loaded: bool) -> bytes:
        answers = routes.routes_fragment(self._answers(loaded))
        fragments = b"".join((self._control, *self._paths.values(), answers))
        return routes.virtual_host("everything-else", (_EVERYTHING_ELSE,), fragments)

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
