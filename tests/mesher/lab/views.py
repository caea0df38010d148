"""Catalogue values for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tianlu import (
    CatalogView,
    Health,
    Instance,
    Liveness,
    LoadBalancer,
    Override,
    Port,
    Rung,
    Service,
    ServiceKey,
    ServiceView,
)

SUSPECT = Health(Liveness.SUSPECT, "its session's stream broke")
ISOLATED = Override(isolated=True, reason="a test")


def instance(
    id: str,  # noqa: A002 -- as the model names it
    port: int | tuple[Port, ...],
    *,
    service: str = "orders",
    namespace: str = "default",
    address: str = "127.0.0.1",
    **more: Any,
) -> Instance:
    ports = (Port("http", port),) if isinstance(port, int) else port
    return Instance(namespace, service, id, address, ports, **more)


def view(
    *instances: Instance,
    revision: int = 1,
    rung: Rung = Rung.PROCESS,
    described: Iterable[Service] = (),
) -> CatalogView:
    services: dict[ServiceKey, ServiceView] = {
        ServiceKey(each.namespace, each.name): ServiceView(each, ()) for each in described
    }
    for each in instances:
        key = ServiceKey(each.namespace, each.service)
        known = services.get(key, ServiceView(Service(*key), ()))
        services[key] = ServiceView(known.service, (*known.instances, each))
    return CatalogView(revision, services, rung, 0.0)


def changed(base: CatalogView, services: Mapping[ServiceKey, ServiceView]) -> CatalogView:
    """Return a newer view; services that stay keep their objects, as the SDK's mirror does it."""
    return CatalogView(base.revision + 1, dict(services), base.rung, 0.0)


__all__ = ["ISOLATED", "SUSPECT", "LoadBalancer", "changed", "instance", "view"]
