"""Pure edits of what owners and operators say."""

from __future__ import annotations

from tianlu._proto.v1.catalog_pb2 import OverrideInstanceRequest, UpdateInstanceRequest
from tianlu._proto.v1.model_pb2 import Instance, InstanceStatus, Override


def registered(instance: Instance, held: Instance | None, now_ms: int) -> Instance:
    """Return the owner's part to store for a registration.

    Args:
        instance: the owner's part of the request, owned by this call from now on.
        held: what the same session said before; its time of registration stays.
    """
    if instance.status == InstanceStatus.INSTANCE_STATUS_UNSPECIFIED:
        instance.status = InstanceStatus.INSTANCE_STATUS_UP
    instance.registered_unix_ms = held.registered_unix_ms if held is not None else now_ms
    return instance


def updated(owner: Instance, request: UpdateInstanceRequest) -> Instance:
    """Return the owner's part with the request's changes; what the request leaves out stays."""
    changed = Instance()
    changed.CopyFrom(owner)
    if request.status != InstanceStatus.INSTANCE_STATUS_UNSPECIFIED:
        changed.status = request.status
    if request.HasField("weight"):
        changed.weight = request.weight
    if request.replace_metadata:
        changed.metadata.clear()
    for key, value in request.metadata.items():
        if value or request.replace_metadata:
            changed.metadata[key] = value
        else:
            changed.metadata.pop(key, None)
    return changed


def decided(request: OverrideInstanceRequest, now_ms: int) -> Override:
    """Return the override that an operator's request makes.

    Restoring is a decision too: it is kept, with who made it, until the instance is gone.
    """
    return Override(
        isolated=request.isolated,
        reason=request.reason,
        actor=request.actor,
        since_unix_ms=now_ms,
        expires_unix_ms=request.expires_unix_ms if request.isolated else 0,
    )


def lapsed(override: Override, now_ms: int) -> Override | None:
    """Return what follows an isolation whose time is up, or None while it holds."""
    if not override.isolated or not 0 < override.expires_unix_ms <= now_ms:
        return None
    return Override(
        isolated=False,
        reason=f"expired: {override.reason}"[:1024],
        actor="tianlu",
        since_unix_ms=now_ms,
    )
