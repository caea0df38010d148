"""When a broken session stream makes instances suspect, and what is said about it.

A stream that breaks says that a process died, or that something between it and this node did.
One instance of many is most likely the former. When more than half of a service would be
suspected within a short time, the latter is likelier: they are marked all the same, because the
mark is true, but the mark says so, and callers go on sending to them (`ServiceSnapshot.
discoverable`, Envoy's panic threshold).
"""

from __future__ import annotations

from tianlu._proto.v1.model_pb2 import Health, Liveness
from tianlu_registry.catalog.entries import Joined, ServiceSnapshot

WINDOW_MS = 10_000
"""Instances that turned suspect within it are counted together."""

BROKEN = "the session's stream broke"
RENEWED = "the session was renewed"


def alive(now_ms: int) -> Health:
    """What is stored once a suspect instance's session has been heard of again."""
    return Health(liveness=Liveness.LIVENESS_ALIVE, reason=RENEWED, since_unix_ms=now_ms)


def suspect(service: ServiceSnapshot | None, turning_count: int, now_ms: int) -> Health:
    """What is stored when instances turn suspect.

    Args:
        service: as it is before.
        turning_count: instances of it that turn suspect now, at least 1.
        now_ms: wall clock.
    """
    health = Health(liveness=Liveness.LIVENESS_SUSPECT, reason=BROKEN, since_unix_ms=now_ms)
    if service is None:
        return health
    recent = sum(1 for i in service.instances if _turned_recently(i, now_ms)) + turning_count
    total = len(service.instances)
    if recent > 1 and 2 * recent > total:
        health.reason = (
            f"{BROKEN}; {recent} of {total} instances of the service turned suspect within "
            f"{WINDOW_MS // 1000} s, so the network or this registry node may be at fault: "
            "callers keep using them"
        )
    return health


def _turned_recently(instance: Joined, now_ms: int) -> bool:
    return instance.suspect and now_ms - instance.since_unix_ms <= WINDOW_MS
