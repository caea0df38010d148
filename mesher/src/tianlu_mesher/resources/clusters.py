"""Envoy clusters: how connections to a service's endpoints are made, bounded and judged.

Every number below is a choice; what it is for stands beside it and in docs/mesher.md.
Source: Envoy, api/envoy/config/cluster/v3/cluster.proto, outlier_detection.proto,
circuit_breaker.proto.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from google.protobuf.message import Message

from tianlu import LoadBalancer
from tianlu_mesher.envoy_api import message_class, packed
from tianlu_mesher.resources.snapshot import Resource
from tianlu_mesher.routing.ir import EnvoyClusterSpec, UpstreamProtocol

_Cluster = message_class("envoy.config.cluster.v3.Cluster")
_HttpProtocolOptions = message_class("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")
_Any = message_class("google.protobuf.Any")
HTTP_PROTOCOL_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

CONNECT_TIMEOUT = timedelta(milliseconds=800)
PANIC_THRESHOLD_PERCENT = 50.0
# Servers commonly close HTTP/1.1 connections that were idle for 5 s (uvicorn, Node.js). A request
# sent at that moment fails, and a POST must not be sent twice: so we close first.
HTTP1_IDLE_TIMEOUT = timedelta(seconds=4)
# A peer that vanished without a FIN is noticed by HTTP/2 pings and by TCP keepalive.
HTTP2_KEEPALIVE: Final = {
    "interval": timedelta(seconds=15),
    "timeout": timedelta(seconds=5),
}
TCP_KEEPALIVE: Final = {
    "keepalive_probes": {"value": 3},
    "keepalive_time": {"value": 10},
    "keepalive_interval": {"value": 3},
}
HTTP2_OPTIONS: Final = {
    "initial_stream_window_size": {"value": 1 << 20},
    "initial_connection_window_size": {"value": 4 << 20},
    "connection_keepalive": HTTP2_KEEPALIVE,
}
# Above these Envoy answers 503 "overflow" at once instead of queueing without end.
CIRCUIT_BREAKERS: Final = {
    "thresholds": [
        {
            "max_connections": {"value": 4096},
            "max_pending_requests": {"value": 4096},
            "max_requests": {"value": 16384},
            # Retries may be half of what is in flight: all callers of a dead instance get theirs,
            # and a dead service is not hit with several times its traffic.
            "retry_budget": {
                "budget_percent": {"value": 50.0},
                "min_retry_concurrency": {"value": 64},
            },
        }
    ]
}
# An endpoint that refuses connections twice, or fails five requests in a row as a gateway would
# (502, 503, 504), rests for 2 s, longer each time. An application's own 500s do not count: they
# say something of the request, not of the endpoint.
OUTLIER_DETECTION: Final = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": {"value": 2},
    "consecutive_gateway_failure": {"value": 5},
    "enforcing_consecutive_gateway_failure": {"value": 100},
    "enforcing_consecutive_5xx": {"value": 0},
    "enforcing_success_rate": {"value": 0},
    "enforcing_local_origin_success_rate": {"value": 0},
    "interval": timedelta(seconds=1),
    "base_ejection_time": timedelta(seconds=2),
    "max_ejection_time": timedelta(seconds=30),
    "max_ejection_percent": {"value": 50},
}
_LB_POLICIES: Final = {
    LoadBalancer.UNSPECIFIED: "LEAST_REQUEST",
    LoadBalancer.LEAST_REQUEST: "LEAST_REQUEST",
    LoadBalancer.ROUND_ROBIN: "ROUND_ROBIN",
}


def cluster_resource(spec: EnvoyClusterSpec) -> Resource:
    """Return the Cluster of a service's port. Its endpoints are a resource of their own (EDS)."""
    return Resource.of(
        spec.name,
        _Cluster(
            name=spec.name,
            type="EDS",
            eds_cluster_config={
                "eds_config": {"ads": {}, "resource_api_version": "V3"},
            },
            connect_timeout=CONNECT_TIMEOUT,
            lb_policy=_LB_POLICIES[spec.load_balancer],
            common_lb_config={"healthy_panic_threshold": {"value": PANIC_THRESHOLD_PERCENT}},
            outlier_detection=OUTLIER_DETECTION,
            circuit_breakers=CIRCUIT_BREAKERS,
            upstream_connection_options={"tcp_keepalive": TCP_KEEPALIVE},
            typed_extension_protocol_options={
                HTTP_PROTOCOL_OPTIONS: http_protocol_options(spec.protocol)
            },
        ),
    )


def http_protocol_options(protocol: UpstreamProtocol) -> Message:
    """Return what to speak to endpoints, as an Any; without TLS nothing can be negotiated."""
    if protocol is UpstreamProtocol.HTTP2:
        options = _HttpProtocolOptions(
            explicit_http_config={"http2_protocol_options": HTTP2_OPTIONS}
        )
    else:
        options = _HttpProtocolOptions(
            common_http_protocol_options={"idle_timeout": HTTP1_IDLE_TIMEOUT},
            explicit_http_config={"http_protocol_options": {}},
        )
    wrapped: Message = _Any(**packed(options))
    return wrapped
