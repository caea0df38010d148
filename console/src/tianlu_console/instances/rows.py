"""From a service's view to the lines of its page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from annotated_doc import Doc

from tianlu import Instance, InstanceStatus, Liveness, Port
from tianlu_console.text import N_


class TrafficState(StrEnum):
    """Whether an instance takes traffic, and if not, what is in the way first."""

    SERVING = "serving"
    ISOLATED = "isolated"
    SUSPECT = "suspect"
    STARTING = "starting"
    DRAINING = "draining"
    DOWN = "down"
    NO_WEIGHT = "no_weight"


REGISTRY_REASONS: Final = (N_("the session's stream broke"),)
"""What the registry gives as reasons for a liveness; pages translate those listed here."""

_BY_STATUS: Final[Mapping[InstanceStatus, TrafficState]] = {
    InstanceStatus.STARTING: TrafficState.STARTING,
    InstanceStatus.DRAINING: TrafficState.DRAINING,
    InstanceStatus.DOWN: TrafficState.DOWN,
    InstanceStatus.UNSPECIFIED: TrafficState.DOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideCell:
    """An operator's decision."""

    reason: Annotated[str, Doc("why, in the operator's words")]
    actor: Annotated[str, Doc("who decided")]
    since_unix_ms: Annotated[int, Doc("when; 0 if not known")]
    expires_unix_ms: Annotated[int, Doc("when the registry lifts it; 0: not by itself")]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow:
    """One line of the page."""

    id: Annotated[str, Doc("unique within the service")]
    address: Annotated[str, Doc("host or IP address")]
    ports: Annotated[tuple[Port, ...], Doc("the first one is the default")]
    version: Annotated[str, Doc("the release that runs; empty if not said")]
    zone: Annotated[str, Doc("where it runs; empty if not said")]
    weight: Annotated[int, Doc("its share of traffic relative to the others")]
    state: Annotated[TrafficState, Doc("whether it takes traffic, in one word")]
    status: Annotated[InstanceStatus, Doc("what its owner says")]
    liveness: Annotated[Liveness, Doc("what the registry has noticed")]
    liveness_reason: Annotated[str, Doc("why, if the registry noticed something")]
    liveness_since_unix_ms: Annotated[int, Doc("since when; 0 if not known")]
    override: Annotated[OverrideCell | None, Doc("an operator's isolation, if there is one")]
    metadata: Annotated[dict[str, str], Doc("what its owner attached")]
    registered_unix_ms: Annotated[int, Doc("when it registered; 0 if not known")]
    session_id: Annotated[int, Doc("the session that keeps it registered")]
    revision: Annotated[int, Doc("newest revision of it, its override or its health")]


def traffic_state(instance: Instance) -> TrafficState:
    """Return the first thing that keeps traffic away, the operator's decision before all others."""
    if instance.isolated:
        return TrafficState.ISOLATED
    if instance.suspect:
        return TrafficState.SUSPECT
    if instance.status is not InstanceStatus.UP:
        return _BY_STATUS[instance.status]
    return TrafficState.SERVING if instance.weight > 0 else TrafficState.NO_WEIGHT


def row_of(instance: Instance) -> InstanceRow:
    """Return an instance's line."""
    return InstanceRow(
        id=instance.id,
        address=instance.address,
        ports=instance.ports,
        version=instance.version,
        zone=instance.zone,
        weight=instance.weight,
        state=traffic_state(instance),
        status=instance.status,
        liveness=instance.health.liveness,
        liveness_reason=instance.health.reason,
        liveness_since_unix_ms=instance.health.since_unix_ms,
        override=_override(instance),
        metadata=dict(sorted(instance.metadata.items())),
        registered_unix_ms=instance.registered_unix_ms,
        session_id=instance.session_id,
        revision=instance.mod_revision,
    )


def newest(instances: Iterable[Instance], known: Instance | None) -> list[Instance]:
    """Return the instances in order of id, with `known` in place of an older one of the same id.

    A write's answer may be newer than the mirror; the page must show what was just done.
    """
    by_id = {each.id: each for each in instances}
    held = known and by_id.get(known.id)
    if known is not None and held is not None and held.mod_revision < known.mod_revision:
        by_id[known.id] = known
    return [by_id[key] for key in sorted(by_id)]


def _override(instance: Instance) -> OverrideCell | None:
    if instance.override is None or not instance.override.isolated:
        return None
    return OverrideCell(
        reason=instance.override.reason,
        actor=instance.override.actor,
        since_unix_ms=instance.override.since_unix_ms,
        expires_unix_ms=instance.override.expires_unix_ms,
    )
