"""Envoy's bootstrap: what never changes while Envoy runs.

One static listener, so that nothing we learn from the registry ever drains a connection; the
static Envoy clusters (our ADS server, and for the gateway the control plane's own parts); the
administration interface on a unix socket, out of reach of the network.

Source: Envoy, api/envoy/config/bootstrap/v3/bootstrap.proto, http_connection_manager.proto;
"Configuring Envoy as an edge proxy".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from google.protobuf.message import Message

from tianlu_mesher.envoy_api import message_class, packed
from tianlu_mesher.resources import routes
from tianlu_mesher.resources.clusters import (
    CONNECT_TIMEOUT,
    HTTP_PROTOCOL_OPTIONS,
    OUTLIER_DETECTION,
    TCP_KEEPALIVE,
    http_protocol_options,
)
from tianlu_mesher.resources.local_replies import local_reply_config
from tianlu_mesher.resources.same_origin import LUA
from tianlu_mesher.resources.socket_address import SocketAddress
from tianlu_mesher.resources.upstream_tls import (
    UpstreamTls,
    endpoint_metadata,
    transport_socket_match,
)
from tianlu_mesher.routing.ir import UpstreamProtocol
from tianlu_mesher.routing.role import Role

_DownstreamConnections = message_class(
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
)
# Above this new connections are closed at once: a bound on memory, about 2 GB if all are busy.
DOWNSTREAM_CONNECTIONS_MAX: Final = 50_000
# Envoy's default of 1,024 requests would be used up by as many watches, which last for ever.
_CONTROL_CIRCUIT_BREAKERS: Final = {
    "thresholds": [
        {
            "max_connections": {"value": 4096},
            "max_pending_requests": {"value": 16384},
            "max_requests": {"value": 65536},
            "max_retries": {"value": 64},
        }
    ]
}
XDS_CLUSTER: Final = "tianlu_xds"
LISTENER: Final = "tianlu"
_HTTP_CONNECTION_MANAGER: Final = "envoy.filters.network.http_connection_manager"
_XDS_RECONNECT_MAX = timedelta(seconds=2)
_INITIAL_FETCH_TIMEOUT = timedelta(seconds=15)
# What Envoy's edge proxy guide advises for clients that nobody knows.
_EDGE: Final = {
    "use_remote_address": {"value": True},
    "normalize_path": {"value": True},
    "merge_slashes": True,
    "request_headers_timeout": timedelta(seconds=30),
}
# The applications of this host are no strangers: what they say of the caller stays.
_HOST: Final = {"skip_xff_append": True}


@dataclass(frozen=True, slots=True)
class StaticCluster:
    """An Envoy cluster whose addresses are known at the start. Host names are resolved by Envoy.

    Attributes:
        ready_path: asked of each address, if there are several: only those that answer 200 are
            used, or all of them while none does. "" asks nothing.
        tls: how those of the addresses that speak TLS are spoken to.
    """

    name: str
    protocol: UpstreamProtocol
    addresses: tuple[SocketAddress, ...]
    ready_path: str = ""
    tls: tuple[UpstreamTls, ...] = ()


@dataclass(frozen=True, slots=True)
class BootstrapPlan:
    """What distinguishes one Envoy's bootstrap from another's.

    Attributes:
        node_id: this Envoy's name towards our ADS server and in its statistics.
        static_clusters: besides the one of our ADS server.
    """

    role: Role
    node_id: str
    listen: SocketAddress
    admin_socket: Path
    xds_socket: Path
    static_clusters: tuple[StaticCluster, ...] = ()


def bootstrap(plan: BootstrapPlan) -> Message:
    """Return the Bootstrap message."""
    xds = StaticCluster(
        XDS_CLUSTER, UpstreamProtocol.HTTP2, (SocketAddress(path=str(plan.xds_socket)),)
    )
    made: Message = message_class("envoy.config.bootstrap.v3.Bootstrap")(
        node={"id": plan.node_id, "cluster": f"tianlu-{plan.role.name}"},
        admin={"address": {"pipe": {"path": str(plan.admin_socket), "mode": 0o600}}},
        static_resources={
            "listeners": [_listener(plan.role, plan.listen)],
            "clusters": [_static_cluster(each) for each in (xds, *plan.static_clusters)],
        },
        dynamic_resources={
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [_xds_service()],
            },
            "cds_config": _ads(),
        },
        overload_manager={
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": packed(
                        _DownstreamConnections(
                            max_active_downstream_connections=DOWNSTREAM_CONNECTIONS_MAX
                        )
                    ),
                }
            ]
        },
    )
    return made


def _ads() -> dict[str, Any]:
    return {
        "ads": {},
        "resource_api_version": "V3",
        "initial_fetch_timeout": _INITIAL_FETCH_TIMEOUT,
    }


def _xds_service() -> dict[str, Any]:
    """Return how Envoy reaches our ADS server; it comes back soon after the agent restarts."""
    back_off = {"base_interval": timedelta(milliseconds=100), "max_interval": _XDS_RECONNECT_MAX}
    return {
        "envoy_grpc": {
            "cluster_name": XDS_CLUSTER,
            "retry_policy": {"retry_back_off": back_off},
        }
    }


def _static_cluster(spec: StaticCluster) -> Message:
    names = any(not address.path and not address.numeric for address in spec.addresses)
    secured = {each.address: each for each in spec.tls}
    endpoints = [
        {"endpoint": {"address": each.wire()}, **endpoint_metadata(secured.get(each))}
        for each in spec.addresses
    ]
    optional: dict[str, Any] = {}
    if spec.tls:
        optional["transport_socket_matches"] = [transport_socket_match(each) for each in spec.tls]
    if len(spec.addresses) > 1:
        optional["outlier_detection"] = OUTLIER_DETECTION
        if spec.ready_path:
            optional["health_checks"] = [_health_check(spec)]
            # A cluster of five serves with two of them away, and two of five are no reason to send
            # calls to those that said that they cannot: only if nobody can is everybody asked.
            optional["common_lb_config"] = {"healthy_panic_threshold": {"value": 1.0}}
    if not all(address.path for address in spec.addresses):
        optional["upstream_connection_options"] = {"tcp_keepalive": TCP_KEEPALIVE}
    cluster: Message = message_class("envoy.config.cluster.v3.Cluster")(
        name=spec.name,
        type="STRICT_DNS" if names else "STATIC",
        connect_timeout=CONNECT_TIMEOUT,
        circuit_breakers=_CONTROL_CIRCUIT_BREAKERS,
        load_assignment={"cluster_name": spec.name, "endpoints": [{"lb_endpoints": endpoints}]},
        typed_extension_protocol_options={
            HTTP_PROTOCOL_OPTIONS: http_protocol_options(spec.protocol)
        },
        **optional,
    )
    return cluster


def _health_check(spec: StaticCluster) -> dict[str, Any]:
    """Return how Envoy asks whether an address is ready. An election takes about as long as two
    checks, so nobody is left out by one."""
    http2 = spec.protocol is UpstreamProtocol.HTTP2
    return {
        "timeout": timedelta(seconds=2),
        "interval": timedelta(seconds=1),
        "no_traffic_interval": timedelta(seconds=1),
        "unhealthy_threshold": {"value": 2},
        "healthy_threshold": {"value": 1},
        "http_health_check": {
            "host": "localhost",
            "path": spec.ready_path,
            "codec_client_type": "HTTP2" if http2 else "HTTP1",
        },
    }


def _listener(role: Role, listen: SocketAddress) -> dict[str, Any]:
    return {
        "name": LISTENER,
        "address": listen.wire(),
        # Two Envoys on one port must be an error, not a silent half of the traffic each.
        "enable_reuse_port": {"value": False},
        "per_connection_buffer_limit_bytes": {"value": 1 << 20},
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": _HTTP_CONNECTION_MANAGER,
                        "typed_config": packed(_connection_manager(role)),
                    }
                ]
            }
        ],
    }


def _connection_manager(role: Role) -> Message:
    upgrades = [{"upgrade_type": "websocket"}]
    if not role.edge:
        upgrades.append({"upgrade_type": "CONNECT"})
    manager: Message = message_class(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    )(
        stat_prefix=role.name,
        codec_type="AUTO",
        rds={"route_config_name": routes.ROUTE_CONFIGURATION, "config_source": _ads()},
        http_filters=_http_filters(role),
        # Routes say how long a stream may be idle: watches may be for ever.
        stream_idle_timeout=timedelta(0),
        upgrade_configs=upgrades,
        local_reply_config=local_reply_config(),
        server_header_transformation="PASS_THROUGH",
        # Trace context (traceparent, tracestate) passes untouched; a request id is kept or made.
        preserve_external_request_id=True,
        http_protocol_options={"accept_http_10": True},
        http2_protocol_options={
            "allow_connect": True,
            "max_concurrent_streams": {"value": 1024},
            "initial_stream_window_size": {"value": 1 << 20},
            "initial_connection_window_size": {"value": 4 << 20},
            # A peer that vanished is noticed, although its streams may be silent for ever.
            "connection_keepalive": {
                "interval": timedelta(seconds=30),
                "timeout": timedelta(seconds=10),
            },
        },
        **(_EDGE if role.edge else _HOST),
    )
    return manager


def _http_filters(role: Role) -> list[dict[str, Any]]:
    filters = []
    if any(route.same_origin_only for route in role.control_routes):
        lua = message_class("envoy.extensions.filters.http.lua.v3.Lua")(
            default_source_code={"inline_string": LUA}
        )
        # Off, except on the routes that switch it on.
        filters.append(
            {
                "name": routes.SAME_ORIGIN_FILTER,
                "disabled": True,
                "typed_config": packed(lua),
            }
        )
    router = message_class("envoy.extensions.filters.http.router.v3.Router")()
    filters.append({"name": "envoy.filters.http.router", "typed_config": packed(router)})
    return filters
