"""Endpoint assignments: which addresses an Envoy cluster has, their weights and their health."""

from __future__ import annotations

from typing import Any, Final

from tianlu_mesher.envoy_api import message_class
from tianlu_mesher.resources.snapshot import Resource
from tianlu_mesher.routing.ir import EndpointSpec, EnvoyClusterSpec

_ClusterLoadAssignment = message_class("envoy.config.endpoint.v3.ClusterLoadAssignment")
METADATA_NAMESPACE: Final = "tianlu"
INSTANCE_METADATA_KEY: Final = "instance"


def endpoint_resource(spec: EnvoyClusterSpec) -> Resource:
    """Return the ClusterLoadAssignment of a service's port; an empty one if nobody serves.

    An Envoy cluster without any assignment would stay in warming, and with it whatever waits for
    it: hence even no endpoints are said.
    """
    assignment = _ClusterLoadAssignment(cluster_name=spec.name)
    if spec.endpoints:
        assignment.endpoints.add(lb_endpoints=[_lb_endpoint(each) for each in spec.endpoints])
    return Resource.of(spec.name, assignment)


def _lb_endpoint(spec: EndpointSpec) -> dict[str, Any]:
    return {
        "endpoint": {
            "address": {"socket_address": {"address": spec.address, "port_value": spec.port}}
        },
        "health_status": "HEALTHY" if spec.healthy else "UNHEALTHY",
        "load_balancing_weight": {"value": spec.weight},
        "metadata": {
            "filter_metadata": {
                METADATA_NAMESPACE: {
                    "fields": {INSTANCE_METADATA_KEY: {"string_value": spec.instance_id}}
                }
            }
        },
    }
