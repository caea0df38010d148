"""Who answers to which host name.

Domains are shared by all services, and Envoy refuses a whole route configuration in which one
occurs twice ("http.orders.default" may be the port http of orders, and a service "http.orders").
They are handed out in this order: default authorities, ports, bare names; within each by service.
Who comes second goes without, and nobody gets a name of the control plane.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tianlu import ServiceKey
from tianlu_mesher.resources.control_hosts import reserved
from tianlu_mesher.routing.ir import PortRoute, RoutingPlan
from tianlu_mesher.routing.role import Role


@dataclass(frozen=True, slots=True, order=True)
class HostGroup:
    """Domains that lead to the same place: one virtual host.

    Attributes:
        domains: sorted, at least one; no other group has any of them.
    """

    domains: tuple[str, ...]
    envoy_cluster: str
    grpc_envoy_cluster: str


def host_groups(role: Role, plan: RoutingPlan) -> tuple[HostGroup, ...]:
    """Return every virtual host of `plan`, sorted."""
    granted: dict[str, PortRoute] = {}
    for _, _, domain, route in sorted(_wanted(role, plan), key=lambda each: each[:3]):
        if not reserved(role, domain):
            granted.setdefault(domain, route)
    targets: dict[tuple[str, str], list[str]] = {}
    for domain, route in granted.items():
        targets.setdefault((route.envoy_cluster, route.grpc_envoy_cluster), []).append(domain)
    return tuple(
        sorted(HostGroup(tuple(sorted(domains)), *target) for target, domains in targets.items())
    )


def _wanted(role: Role, plan: RoutingPlan) -> Iterator[tuple[int, ServiceKey, str, PortRoute]]:
    """Yield precedence, service, domain and where it should lead."""
    for key, service in plan.services.items():
        authority = f"{key.name}.{key.namespace}".lower()
        for route in service.routes:
            if route.port_name:
                yield 1, key, f"{route.port_name.lower()}.{authority}", route
                continue
            yield 0, key, authority, route
            if key.namespace == role.bare_namespace:
                yield 2, key, key.name.lower(), route
