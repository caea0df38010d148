"""Envoy's bootstrap configuration for one registry node, as data.

One static listener with one pyvoy filter: each filter instance would be an event loop and an
application of its own (research note: several listeners make several loops sharing one state).
Further addresses are `additional_addresses` of that listener.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tianlu_registry.server.addresses import Address, TcpAddress, UnixAddress

STREAMS_PER_CONNECTION_MAX = 100_000
"""Watches of one client connection beyond which HTTP/2 holds new ones back."""

KEEPALIVE_INTERVAL_SECONDS = 30
KEEPALIVE_TIMEOUT_SECONDS = 10
"""A connection whose peer answers no ping for so long is closed, and its watches with it."""

LISTENER_NAME = "clients"
_TYPE = "type.googleapis.com/envoy.extensions.filters"


@dataclass(frozen=True, slots=True)
class EnvoyPlan:
    """What a node's Envoy is to do.

    Attributes:
        app: the ASGI application, as ``module:attribute``.
        addresses: where clients connect; at least one.
        probe_socket: Unix socket for the launcher, served by the same application.
        admin_socket: Unix socket of Envoy's admin interface.
    """

    app: str
    addresses: tuple[Address, ...]
    probe_socket: Path
    admin_socket: Path


def bootstrap(plan: EnvoyPlan) -> dict[str, Any]:
    """Return the bootstrap for Envoy's ``--config-path``, ready for JSON."""
    first, *others = (*plan.addresses, UnixAddress(plan.probe_socket))
    listener = {
        "name": LISTENER_NAME,
        "address": _address(first),
        "additional_addresses": [{"address": _address(address)} for address in others],
        "filter_chains": [{"filters": [_connection_manager(plan.app)]}],
    }
    return {
        "admin": {"address": _address(UnixAddress(plan.admin_socket))},
        "static_resources": {"listeners": [listener]},
    }


def _address(address: Address) -> dict[str, Any]:
    if isinstance(address, TcpAddress):
        return {"socket_address": {"address": address.host, "port_value": address.port}}
    return {"pipe": {"path": str(address.path), "mode": 0o660}}


def _connection_manager(app: str) -> dict[str, Any]:
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": LISTENER_NAME,
            "http_filters": [_pyvoy_filter(app)],
            "route_config": {"virtual_hosts": [{"name": "registry", "domains": ["*"]}]},
            # A watch may be silent for hours; dead peers are found by keepalive instead.
            "stream_idle_timeout": "0s",
            "http2_protocol_options": {
                "max_concurrent_streams": STREAMS_PER_CONNECTION_MAX,
                "connection_keepalive": {
                    "interval": f"{KEEPALIVE_INTERVAL_SECONDS}s",
                    "timeout": f"{KEEPALIVE_TIMEOUT_SECONDS}s",
                },
            },
            # The peer is whoever connected, whatever a header says.
            "use_remote_address": True,
            "skip_xff_append": True,
            "generate_request_id": False,
            "server_header_transformation": "PASS_THROUGH",
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
