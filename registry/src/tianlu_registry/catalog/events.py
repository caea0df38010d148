"""The encoded events that say what a service or an instance is now."""

from __future__ import annotations

from tianlu._proto.v1.catalog_pb2 import CatalogEvent, InstanceKey, ServiceKey
from tianlu._proto.v1.model_pb2 import Service
from tianlu_registry.catalog import wire
from tianlu_registry.catalog.entries import Joined

_INSTANCE_PUT = wire.tag(CatalogEvent, "instance_put")
_REVISION = wire.tag(CatalogEvent, "revision")


def instance_put(joined: Joined, revision: int) -> bytes:
    return wire.embedded(_INSTANCE_PUT, joined.wire) + wire.number(_REVISION, revision)


def instance_removed(namespace: str, service: str, id_: str, revision: int) -> bytes:
    removed = InstanceKey(namespace=namespace, service=service, id=id_)
    return CatalogEvent(instance_removed=removed, revision=revision).SerializeToString()


def service_put(service: Service, revision: int) -> bytes:
    return CatalogEvent(service_put=service, revision=revision).SerializeToString()


def service_removed(namespace: str, name: str, revision: int) -> bytes:
    removed = ServiceKey(namespace=namespace, name=name)
    return CatalogEvent(service_removed=removed, revision=revision).SerializeToString()
