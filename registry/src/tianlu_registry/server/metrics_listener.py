"""Listeners for metrics and health alone, beside those of the clients.

They pass a few paths on to the application, by its private Unix socket, and answer everything else
themselves: who scrapes metrics reaches no keys there, whatever he sends.

Source: etcd server/embed/etcd.go (`serveMetrics`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tianlu_registry.server.addresses import Address, TcpAddress

CLUSTER: Final = "metrics"

PAGES: Final = ("/metrics", "/health", "/version")
PAGES_WITH_PARTS: Final = ("/livez", "/readyz")

_EXTENSIONS: Final = "type.googleapis.com/envoy.extensions.filters"
_HEADERS_SECONDS: Final = 10
_ANSWER_SECONDS: Final = 30
_STREAMS_MAX: Final = 100


def metrics_resources(
    addresses: Sequence[Address], application: Path, transport_socket: dict[str, Any] | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return Envoy's listeners and clusters.

    Args:
        addresses: where to listen.
        application: Unix socket of the application.
        transport_socket: TLS for those addresses that want it.
    """
    if not addresses:
        return [], []
    listeners = []
    for name, is_tls in (("metrics", False), ("tls_metrics", True)):
        wanted = [address for address in addresses if address.is_tls == is_tls]
        if wanted:
            listeners.append(_listener(name, wanted, transport_socket if is_tls else None))
    return listeners, [_cluster(application)]


def _listener(
    name: str, addresses: list[Address], transport_socket: dict[str, Any] | None
) -> dict[str, Any]:
    first, *others = addresses
    chain: dict[str, Any] = {
        "filters": [
            {
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": _connection_manager(name),
            }
        ]
    }
    if transport_socket is not None:
        chain["transport_socket"] = transport_socket
    return {
        "name": name,
        "address": _address(first),
        "additional_addresses": [{"address": _address(address)} for address in others],
        "filter_chains": [chain],
    }


def _connection_manager(name: str) -> dict[str, Any]:
    return {
        "@type": f"{_EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "use_remote_address": True,
        "generate_request_id": False,
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": f"{_HEADERS_SECONDS}s",
        "http2_protocol_options": {"max_concurrent_streams": _STREAMS_MAX},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{_EXTENSIONS}.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
        "route_config": {
            "virtual_hosts": [{"name": "metrics", "domains": ["*"], "routes": _routes()}]
        },
    }


def _routes() -> list[dict[str, Any]]:
    route = {"cluster": CLUSTER, "timeout": f"{_ANSWER_SECONDS}s"}
    matches = [
        *({"path": page} for page in PAGES),
        *({"path_separated_prefix": page} for page in PAGES_WITH_PARTS),
    ]
    known = ", ".join((*PAGES, *PAGES_WITH_PARTS))
    nothing = {"status": 404, "body": {"inline_string": f"here are {known}\n"}}
    return [
        *({"match": match, "route": route} for match in matches),
        {"match": {"prefix": "/"}, "direct_response": nothing},
    ]


def _cluster(application: Path) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(application)}}}}
    return {
        "name": CLUSTER,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def _address(address: Address) -> dict[str, Any]:
    if isinstance(address, TcpAddress):
        return {"socket_address": {"address": address.host, "port_value": address.port}}
    return {"pipe": {"path": str(address.path), "mode": 0o660}}
