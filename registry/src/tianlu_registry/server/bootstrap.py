"""Envoy's bootstrap configuration for one registry node, as data.

One static listener with one pyvoy filter: each filter instance would be an event loop and an
application of its own (research note: several listeners make several loops sharing one state).
Further addresses are `additional_addresses` of that listener. TLS has a listener of its own, which
passes requests on to that one through a Unix socket: a filter chain with TLS beside the one without
would be a second filter instance.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tianlu_registry.server.addresses import Address, TcpAddress, UnixAddress
from tianlu_registry.server.envoy_limits import (
    CONNECTION_WINDOW_BYTES,
    RELAY_WINDOW_BYTES,
    TLS_HANDSHAKE_SECONDS,
    ConnectionLimits,
    call_routes,
    connection_limit,
    connection_manager_limits,
    path_guard,
    path_guard_answer,
    relay_http2_options,
)
from tianlu_registry.server.metrics_listener import metrics_resources
from tianlu_registry.server.relay import CLIENT_HEADER, SECRET_HEADER

LISTENER_NAME = "clients"
TLS_LISTENER_NAME = "tls_clients"
RELAY_CLUSTER = "application"
_TYPE = "type.googleapis.com/envoy.extensions.filters"


@dataclass(frozen=True, slots=True)
class EnvoyPlan:
    """What a node's Envoy is to do.

    Attributes:
        app: the ASGI application, as ``module:attribute``.
        addresses: where clients connect; at least one.
        probe_socket: Unix socket for the launcher, served by the same application.
        admin_socket: Unix socket of Envoy's admin interface.
        tls: how TLS addresses are served; None if there are none.
        limits: of client connections.
        metrics_addresses: where metrics and health are served besides.
    """

    app: str
    addresses: tuple[Address, ...]
    probe_socket: Path
    admin_socket: Path
    tls: TlsPlan | None = None
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    metrics_addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class TlsPlan:
    """How TLS is ended.

    Attributes:
        transport_socket: Envoy's configuration of it.
        relay_socket: Unix socket by which requests go on.
        secret: tells the application that a request came that way.
    """

    transport_socket: dict[str, Any]
    relay_socket: Path
    secret: str


def bootstrap(plan: EnvoyPlan) -> dict[str, Any]:
    """Return the bootstrap for Envoy's ``--config-path``, ready for JSON."""
    plain = [address for address in plan.addresses if not address.is_tls]
    plain.append(UnixAddress(plan.probe_socket))
    secured = [address for address in plan.addresses if address.is_tls]
    if plan.tls is None or not secured:
        application = _application(plan.app, plan.limits, CONNECTION_WINDOW_BYTES)
        resources = {"listeners": [_listener(LISTENER_NAME, plain, application, plan.limits)]}
    else:
        plain.append(UnixAddress(plan.tls.relay_socket))
        application = {
            **_application(plan.app, plan.limits, RELAY_WINDOW_BYTES),
            # What the TLS listener says of the client has to arrive: see `relay`.
            "forward_client_cert_details": "ALWAYS_FORWARD_ONLY",
        }
        tls_listener = _listener(
            TLS_LISTENER_NAME, secured, _relaying(plan.tls, plan.limits), plan.limits
        )
        tls_listener["filter_chains"][0].update(
            transport_socket=plan.tls.transport_socket,
            transport_socket_connect_timeout=f"{TLS_HANDSHAKE_SECONDS}s",
        )
        # The relay's own connections must not be refused, one for each client's at most.
        doubled = replace(plan.limits, connections_max=2 * plan.limits.connections_max)
        resources = {
            "listeners": [_listener(LISTENER_NAME, plain, application, doubled), tls_listener],
            "clusters": [_relay_cluster(plan.tls.relay_socket)],
        }
    listeners, clusters = metrics_resources(
        plan.metrics_addresses,
        plan.probe_socket,
        None if plan.tls is None else plan.tls.transport_socket,
    )
    resources["listeners"] = [*resources["listeners"], *listeners]
    resources["clusters"] = [*resources.get("clusters", ()), *clusters]
    return {
        "node": {"id": "registry", "cluster": "tianlu"},  # the secrets' source asks for them
        "admin": {"address": _address(UnixAddress(plan.admin_socket))},
        "static_resources": resources,
    }


def _listener(
    name: str, addresses: list[Address], manager: dict[str, Any], limits: ConnectionLimits
) -> dict[str, Any]:
    first, *others = addresses
    typed = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        **manager,
    }
    http = {"name": "envoy.filters.network.http_connection_manager", "typed_config": typed}
    limit = [connection_limit(name, limits.connections_max)] if limits.connections_max else []
    return {
        "name": name,
        "address": _address(first),
        "additional_addresses": [{"address": _address(address)} for address in others],
        "filter_chains": [{"filters": [*limit, http]}],
    }


def _address(address: Address) -> dict[str, Any]:
    if isinstance(address, TcpAddress):
        return {"socket_address": {"address": address.host, "port_value": address.port}}
    return {"pipe": {"path": str(address.path), "mode": 0o660}}


def _connection_manager(name: str) -> dict[str, Any]:
    """Return what both listeners do alike."""
    return {
        "stat_prefix": name,
        # The peer is whoever connected, whatever a header says.
        "use_remote_address": True,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
    }


def _application(app: str, limits: ConnectionLimits, window_bytes: int) -> dict[str, Any]:
    return {
        **_connection_manager(LISTENER_NAME),
        **connection_manager_limits(limits, window_bytes),
        "skip_xff_append": True,
        "http_filters": [path_guard(), _pyvoy_filter(app)],
        "local_reply_config": path_guard_answer(),
        "route_config": {
            "validate_clusters": False,  # the last filter answers, nothing is routed
            "virtual_hosts": [_virtual_host(call_routes("none"))],
        },
    }


def _virtual_host(routes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": "registry", "domains": ["*"], "routes": routes}


def _relaying(tls: TlsPlan, limits: ConnectionLimits) -> dict[str, Any]:
    return {
        **_connection_manager(TLS_LISTENER_NAME),
        **connection_manager_limits(limits),
        "skip_xff_append": True,  # where the client is, `relay` says
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": {"subject": True},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{_TYPE}.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
        "route_config": {
            "request_headers_to_add": [
                {
                    "header": {"key": name, "value": value},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
                for name, value in (
                    (SECRET_HEADER, tls.secret),
                    (CLIENT_HEADER, "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
                )
            ],
            "virtual_hosts": [_virtual_host(call_routes(RELAY_CLUSTER))],
        },
    }


def _relay_cluster(socket: Path) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(UnixAddress(socket))}}
    unlimited = (1 << 31) - 1  # the clients' own limits count
    return {
        "name": RELAY_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": RELAY_CLUSTER,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        "circuit_breakers": {
            "thresholds": [
                {
                    "max_connections": unlimited,
                    "max_pending_requests": unlimited,
                    "max_requests": unlimited,
                }
            ]
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": (
                    "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
                ),
                "use_downstream_protocol_config": {
                    "http_protocol_options": {},
                    "http2_protocol_options": relay_http2_options(),
                },
            }
        },
    }


def _pyvoy_filter(app: str) -> dict[str, Any]:
    settings = {"app": app, "interface": "asgi", "root_path": "", "lifespan": True}
    return {
        "name": "pyvoy",
        "typed_config": {
            "@type": f"{_TYPE}.http.dynamic_modules.v3.DynamicModuleFilter",
            "dynamic_module_config": {"module": {"local": {"filename": pyvoy_module()}}},
            "filter_name": "pyvoy",
            "terminal_filter": True,
            "filter_config": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": json.dumps(settings),
            },
        },
    }


def pyvoy_module() -> str:
    """Return the path of pyvoy's Envoy module."""
    specification = importlib.util.find_spec("pyvoy._pyvoy")
    if specification is None or specification.origin is None:
        raise ImportError("pyvoy has no native module; reinstall pyvoy")
    return specification.origin
