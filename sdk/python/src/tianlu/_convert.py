"""Between the wire's messages (tianlu._proto.v1) and the SDK's values (tianlu._model).

Decoding never fails on a number that this release does not know; encoding writes only what the
owner of a thing may say, so the parts that the registry joins in (override, health, revisions) are
written by `instance_to_proto` only when asked for, as snapshots do.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from tianlu._model import (
    NO_METADATA,
    WEIGHT_DEFAULT,
    Applied,
    Health,
    Instance,
    InstanceStatus,
    Liveness,
    LoadBalancer,
    Override,
    Port,
    Service,
    ServiceSummary,
    Subscriber,
)
from tianlu._proto.v1 import catalog_pb2, model_pb2

_STATUSES: Final = tuple(InstanceStatus)
_LIVENESSES: Final = tuple(Liveness)
_BALANCERS: Final = tuple(LoadBalancer)
"""Members stand in the order of the wire's numbers (a test compares them)."""


def status_to_proto(status: InstanceStatus) -> model_pb2.InstanceStatus:
    number: model_pb2.InstanceStatus = model_pb2.InstanceStatus.Value(  # type: ignore[assignment]
        f"INSTANCE_STATUS_{status.name}"
    )  # the stub says int, which is what an enumeration's number is at run time
    return number


def status_from_proto(number: int) -> InstanceStatus:
    return _STATUSES[number] if number < len(_STATUSES) else InstanceStatus.UNSPECIFIED


def _liveness_from_proto(number: int) -> Liveness:
    return _LIVENESSES[number] if number < len(_LIVENESSES) else Liveness.UNSPECIFIED


def _balancer_from_proto(number: int) -> LoadBalancer:
    return _BALANCERS[number] if number < len(_BALANCERS) else LoadBalancer.UNSPECIFIED


def instance_from_proto(message: model_pb2.Instance) -> Instance:
    """Decode an instance. An absent weight is the default weight."""
    return Instance(
        namespace=message.namespace,
        service=message.service,
        id=message.id,
        address=message.address,
        ports=tuple(Port(port.name, port.number, port.protocol) for port in message.ports),
        version=message.version,
        weight=message.weight if message.HasField("weight") else WEIGHT_DEFAULT,
        zone=message.zone,
        metadata=MappingProxyType(dict(message.metadata)) if message.metadata else NO_METADATA,
        status=status_from_proto(message.status),
        session_id=message.session_id,
        registered_unix_ms=message.registered_unix_ms,
        override=_override_from_proto(message),
        health=Health(
            _liveness_from_proto(message.health.liveness),
            message.health.reason,
            message.health.since_unix_ms,
        ),
        create_revision=message.create_revision,
        mod_revision=message.mod_revision,
    )


def _override_from_proto(message: model_pb2.Instance) -> Override | None:
    if not message.HasField("override"):
        return None
    override = message.override
    return Override(
        override.isolated,
        override.reason,
        override.actor,
        override.since_unix_ms,
        override.expires_unix_ms,
    )


def instance_to_proto(instance: Instance, *, joined: bool = False) -> model_pb2.Instance:
    """Encode an instance.

    Args:
        joined: also write what the registry joins in: override, health, revisions.
    """
    message = model_pb2.Instance(
        namespace=instance.namespace,
        service=instance.service,
        id=instance.id,
        address=instance.address,
        ports=[
            model_pb2.Port(name=port.name, number=port.number, protocol=port.protocol)
            for port in instance.ports
        ],
        version=instance.version,
        weight=instance.weight,
        zone=instance.zone,
        metadata=instance.metadata,
        status=status_to_proto(instance.status),
        session_id=instance.session_id,
        registered_unix_ms=instance.registered_unix_ms,
    )
    if joined:
        _join(message, instance)
    return message


def _join(message: model_pb2.Instance, instance: Instance) -> None:
    message.create_revision = instance.create_revision
    message.mod_revision = instance.mod_revision
    if instance.override is not None:
        override = instance.override
        message.override.CopyFrom(
            model_pb2.Override(
                isolated=override.isolated,
                reason=override.reason,
                actor=override.actor,
                since_unix_ms=override.since_unix_ms,
                expires_unix_ms=override.expires_unix_ms,
            )
        )
    if instance.health != Health():
        message.health.CopyFrom(
            model_pb2.Health(
                liveness=f"LIVENESS_{instance.health.liveness.name}",
                reason=instance.health.reason,
                since_unix_ms=instance.health.since_unix_ms,
            )
        )


def service_from_proto(message: model_pb2.Service) -> Service:
    return Service(
        namespace=message.namespace,
        name=message.name,
        description=message.description,
        owner=message.owner,
        load_balancer=_balancer_from_proto(message.load_balancer),
        metadata=MappingProxyType(dict(message.metadata)) if message.metadata else NO_METADATA,
        create_revision=message.create_revision,
        mod_revision=message.mod_revision,
    )


def service_to_proto(service: Service) -> model_pb2.Service:
    return model_pb2.Service(
        namespace=service.namespace,
        name=service.name,
        description=service.description,
        owner=service.owner,
        load_balancer=f"LOAD_BALANCER_{service.load_balancer.name}",
        metadata=service.metadata,
        create_revision=service.create_revision,
        mod_revision=service.mod_revision,
    )


def summary_from_proto(message: model_pb2.ServiceSummary) -> ServiceSummary:
    return ServiceSummary(
        service=service_from_proto(message.service),
        instances=message.instances,
        serving=message.serving,
        isolated=message.isolated,
        suspect=message.suspect,
        versions=tuple(message.versions),
    )


def subscriber_from_proto(message: catalog_pb2.Subscriber) -> Subscriber:
    return Subscriber(
        subscriber=message.subscriber,
        peer=message.peer,
        namespace=message.namespace,
        services=tuple(message.services),
        sent_revision=message.sent_revision,
        applied_revision=message.applied_revision,
        since_unix_ms=message.since_unix_ms,
    )


def applied_from_proto(message: catalog_pb2.AwaitAppliedResponse) -> Applied:
    return Applied(
        reached=message.reached,
        subscribers=message.subscribers,
        applied=message.applied,
        laggards=tuple(message.laggards),
    )
