"""Answers about one service, encoded once for as long as the service stays as it is."""

from __future__ import annotations

from collections.abc import Iterable

from tianlu._proto.v1.catalog_pb2 import DiscoverResponse, ListInstancesResponse
from tianlu_registry.catalog import wire
from tianlu_registry.catalog.entries import Joined, ServiceSnapshot
from tianlu_registry.catalog.wire import Encoded

_DISCOVER_SERVICE = wire.tag(DiscoverResponse, "service")
_DISCOVER_INSTANCES = wire.tag(DiscoverResponse, "instances")
_DISCOVER_REVISION = wire.tag(DiscoverResponse, "revision")
_LIST_INSTANCES = wire.tag(ListInstancesResponse, "instances")
_LIST_REVISION = wire.tag(ListInstancesResponse, "revision")


def discover(service: ServiceSnapshot, revision: int) -> Encoded[DiscoverResponse]:
    """Answer with the instances that may be sent traffic."""
    body = service.encodings.get("discover")
    if body is None:
        body = wire.embedded(_DISCOVER_SERVICE, service.service.SerializeToString()) + _all(
            _DISCOVER_INSTANCES, service.discoverable()
        )
        service.encodings["discover"] = body
    return Encoded(DiscoverResponse, body + wire.number(_DISCOVER_REVISION, revision))


def list_instances(service: ServiceSnapshot, revision: int) -> Encoded[ListInstancesResponse]:
    """Answer with all instances."""
    body = service.encodings.get("list")
    if body is None:
        body = service.encodings["list"] = _all(_LIST_INSTANCES, service.instances)
    return Encoded(ListInstancesResponse, body + wire.number(_LIST_REVISION, revision))


def _all(field_tag: bytes, instances: Iterable[Joined]) -> bytes:
    return b"".join([wire.embedded(field_tag, each.wire) for each in instances])
