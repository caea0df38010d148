"""Envoy's bootstrap: what stays for as long as Envoy runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tianlu_mesher.resources.bootstrap import BootstrapPlan, StaticCluster, bootstrap
from tianlu_mesher.resources.socket_address import SocketAddress
from tianlu_mesher.routing.ir import UpstreamProtocol
from tianlu_mesher.routing.role import Role

UNIX = SocketAddress(path="/run/x.sock")


def made(*addresses: SocketAddress, role: Role = Role("mesher")) -> Any:  # noqa: B008
    cluster = StaticCluster("tianlu_registry", UpstreamProtocol.HTTP2, addresses or (UNIX,))
    return bootstrap(
        BootstrapPlan(
            role, "node-1", SocketAddress("127.0.0.1", 80), Path("/a.sock"), Path("/x.sock"),
            (cluster,),
        )
    )  # fmt: skip


def test_the_administration_interface_is_out_of_the_networks_reach() -> None:
    admin = made().admin
    assert (admin.address.pipe.path, admin.address.pipe.mode) == ("/a.sock", 0o600)


def test_two_envoys_never_share_a_port() -> None:
    (listener,) = made().static_resources.listeners
    assert listener.HasField("enable_reuse_port")
    assert not listener.enable_reuse_port.value


def test_watches_do_not_use_up_envoys_default_limit() -> None:
    for cluster in made().static_resources.clusters:
        (limits,) = cluster.circuit_breakers.thresholds
        assert limits.max_requests.value == 65536


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (UNIX, "STATIC"),
        (SocketAddress("10.0.0.1", 1), "STATIC"),
        (SocketAddress("::1", 1), "STATIC"),
        (SocketAddress("registry-1", 1), "STRICT_DNS"),
    ],
)
def test_only_host_names_are_resolved(address: SocketAddress, kind: str) -> None:
    registry = made(address).static_resources.clusters[1]
    assert registry.DiscoveryType.Name(registry.type) == kind


def test_several_addresses_are_judged_and_one_is_always_used() -> None:
    two = made(SocketAddress("10.0.0.1", 1), SocketAddress("10.0.0.2", 1))
    assert two.static_resources.clusters[1].HasField("outlier_detection")
    assert not made().static_resources.clusters[1].HasField("outlier_detection")
