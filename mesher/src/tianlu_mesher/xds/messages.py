"""The delta xDS messages as our own values, and their conversion from and to protobuf.

Source: Envoy, api/envoy/service/discovery/v3/discovery.proto; "xDS REST and gRPC protocol".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tianlu_mesher.envoy_api import message_class
from tianlu_mesher.resources.snapshot import Resource

_DeltaDiscoveryRequest = message_class("envoy.service.discovery.v3.DeltaDiscoveryRequest")
_DeltaDiscoveryResponse = message_class("envoy.service.discovery.v3.DeltaDiscoveryResponse")

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    """What Envoy says: a change of its subscriptions, a verdict on a response, or both.

    Attributes:
        initial_resource_versions: on the first request for a type after a (re)connection: what
            Envoy holds already, name -> version_info.
        response_nonce: the response that this is the verdict on; "" if on none.
        error: why that response is refused (NACK); None if it is accepted (ACK).
    """

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_resource_versions: Mapping[str, str] = field(default_factory=dict)
    response_nonce: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DeltaResponse:
    """What Envoy is told of one type: resources, new or changed, and names that are gone."""

    type_url: str
    nonce: str
    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


def decode_request(content: bytes) -> DeltaRequest:
    """Read a serialized DeltaDiscoveryRequest.

    Raises:
        google.protobuf.message.DecodeError: it is none.
    """
    message = _DeltaDiscoveryRequest.FromString(content)
    return DeltaRequest(
        type_url=message.type_url,
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        initial_resource_versions=dict(message.initial_resource_versions),
        response_nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
    )


def encode_response(response: DeltaResponse) -> bytes:
    """Return `response` as a serialized DeltaDiscoveryResponse."""
    message = _DeltaDiscoveryResponse(
        type_url=response.type_url, nonce=response.nonce, removed_resources=response.removed
    )
    for resource in response.resources:
        message.resources.add(
            name=resource.name,
            version=resource.version_info,
            resource={"type_url": response.type_url, "value": resource.value},
        )
    content: bytes = message.SerializeToString()
    return content
