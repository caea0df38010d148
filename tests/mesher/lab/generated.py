"""Hypothesis strategies for catalogue views."""

from __future__ import annotations

from hypothesis import strategies as st
from mesher.lab.views import ISOLATED, SUSPECT

from tianlu import (
    CatalogView,
    Instance,
    InstanceStatus,
    LoadBalancer,
    Port,
    Rung,
    Service,
    ServiceKey,
    ServiceView,
)

# Few names, so that views collide in every way; "http.orders" collides with the port of "orders".
SERVICES = ("orders", "inventory", "http.orders")
NAMESPACES = ("default", "shop")
PORTS = (
    Port("http", 9001, "http"),
    Port("http", 9002, "http2"),
    Port("grpc", 9003, "grpc"),
    Port("raw", 9004, "tcp"),
)


def instances(key: ServiceKey) -> st.SearchStrategy[Instance]:
    return st.builds(
        Instance,
        namespace=st.just(key.namespace),
        service=st.just(key.name),
        id=st.sampled_from(("a", "b", "c")),
        address=st.sampled_from(("10.0.0.1", "10.0.0.2", "::1", "host-1")),
        ports=st.lists(st.sampled_from(PORTS), max_size=3, unique_by=lambda port: port.name).map(
            tuple
        ),
        weight=st.sampled_from((0, 1, 100)),
        status=st.sampled_from((InstanceStatus.UP, InstanceStatus.DRAINING)),
        override=st.sampled_from((None, None, ISOLATED)),
        health=st.sampled_from((Instance("", "", "", "").health, SUSPECT)),
        create_revision=st.integers(1, 9),
    )


def service_views(key: ServiceKey) -> st.SearchStrategy[ServiceView]:
    return st.builds(
        ServiceView,
        st.builds(
            Service,
            namespace=st.just(key.namespace),
            name=st.just(key.name),
            load_balancer=st.sampled_from(LoadBalancer),
        ),
        st.lists(instances(key), max_size=3, unique_by=lambda each: each.id).map(tuple),
    )


KEYS = tuple(ServiceKey(namespace, name) for namespace in NAMESPACES for name in SERVICES)
service_maps: st.SearchStrategy[dict[ServiceKey, ServiceView]] = st.fixed_dictionaries(
    {}, optional={key: service_views(key) for key in KEYS}
)


@st.composite
def histories(draw: st.DrawFn, size_max: int = 5) -> list[CatalogView]:
    """Draw views that follow one another; unchanged services keep their objects."""
    services: dict[ServiceKey, ServiceView] = {}
    views = []
    for revision in range(1, draw(st.integers(1, size_max)) + 1):
        patch = draw(service_maps)
        gone = draw(st.sets(st.sampled_from(KEYS), max_size=3))
        services = {k: v for k, v in {**services, **patch}.items() if k not in gone}
        views.append(CatalogView(revision, services, Rung.PROCESS, 0.0))
    return views
