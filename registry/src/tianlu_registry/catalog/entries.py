"""The parts of one instance, joined.

An instance is three keys with three writers: the owner's word, the operator's override and the
registry's own findings. They are joined into one message whenever one of them changes, so that
answering costs nothing. A joined message is never changed afterwards: snapshots, histories and
answers share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tianlu._proto.etcd.kv_pb2 import KeyValue
from tianlu._proto.v1.model_pb2 import (
    Health,
    Instance,
    InstanceStatus,
    Liveness,
    Override,
    Service,
    ServiceSummary,
)
from tianlu_registry.catalog.keys import InstanceName

WEIGHT_DEFAULT = 100


class InstanceEntry:
    """An instance's joined state and the revisions of its parts (0: that part is not there).

    Invariant: `joined.mod_revision` is the newest of the three revisions, so it depends on the
    stored keys alone and every node answers the same.
    """

    __slots__ = ("health_revision", "instance_revision", "joined", "override_revision")

    def __init__(self, name: InstanceName) -> None:
        self.joined = Instance(namespace=name.namespace, service=name.service, id=name.id)
        self.instance_revision = 0
        self.override_revision = 0
        self.health_revision = 0

    @property
    def present(self) -> bool:
        """The instance is registered; otherwise only an override waits for it."""
        return self.instance_revision > 0

    @property
    def empty(self) -> bool:
        return not (self.instance_revision or self.override_revision or self.health_revision)

    @property
    def name(self) -> InstanceName:
        return InstanceName(self.joined.namespace, self.joined.service, self.joined.id)

    def put_instance(self, owner: Instance, kv: KeyValue) -> None:
        """Take the owner's word; the entry owns `owner` from now on. The key says who it is and
        the lease whose it is, whatever the value claims."""
        old = self.joined
        owner.namespace, owner.service, owner.id = old.namespace, old.service, old.id
        owner.session_id = kv.lease
        owner.create_revision = kv.create_revision
        owner.ClearField("override")
        owner.ClearField("health")
        if self.override_revision:
            owner.override.CopyFrom(old.override)
        if self.health_revision:
            owner.health.CopyFrom(old.health)
        self.instance_revision = kv.mod_revision
        self._stamp(owner)

    def delete_instance(self) -> None:
        old = self.joined
        bare = Instance(namespace=old.namespace, service=old.service, id=old.id)
        if self.override_revision:
            bare.override.CopyFrom(old.override)
        if self.health_revision:
            bare.health.CopyFrom(old.health)
        self.instance_revision = 0
        self._stamp(bare)

    def put_override(self, override: Override | None, revision: int) -> None:
        """Set the override, or clear it with None and revision 0."""
        joined = self._copy()
        joined.ClearField("override")
        if override is not None:
            joined.override.CopyFrom(override)
        self.override_revision = revision
        self._stamp(joined)

    def put_health(self, health: Health | None, revision: int) -> None:
        """Set what was found, or clear it with None and revision 0."""
        joined = self._copy()
        joined.ClearField("health")
        if health is not None:
            joined.health.CopyFrom(health)
        self.health_revision = revision
        self._stamp(joined)

    def _copy(self) -> Instance:
        joined = Instance()
        joined.CopyFrom(self.joined)
        return joined

    def _stamp(self, joined: Instance) -> None:
        joined.mod_revision = max(
            self.instance_revision, self.override_revision, self.health_revision
        )
        self.joined = joined


def is_suspect(instance: Instance) -> bool:
    return instance.health.liveness == Liveness.LIVENESS_SUSPECT


def takes_traffic(instance: Instance) -> bool:
    """Whether owner and operator want it to be sent traffic; it may be suspect all the same."""
    weight = instance.weight if instance.HasField("weight") else WEIGHT_DEFAULT
    return (
        instance.status == InstanceStatus.INSTANCE_STATUS_UP
        and not instance.override.isolated
        and weight > 0
    )


@dataclass(frozen=True, slots=True)
class ServiceSnapshot:
    """A service and its instances at one revision. Shared; its messages must not be changed.

    Attributes:
        service: the description, or one that has the names alone.
        described: somebody put the description; otherwise instances alone make it known.
        instances: registered ones, by id.
    """

    service: Service
    described: bool
    instances: tuple[Instance, ...] = field(repr=False)

    @property
    def namespace(self) -> str:
        return self.service.namespace

    @property
    def name(self) -> str:
        return self.service.name

    def summary(self) -> ServiceSummary:
        """Count what a list shows. Owned by the caller."""
        suspect = sum(1 for instance in self.instances if is_suspect(instance))
        return ServiceSummary(
            service=self.service,
            instances=len(self.instances),
            serving=sum(1 for i in self.instances if takes_traffic(i) and not is_suspect(i)),
            isolated=sum(1 for instance in self.instances if instance.override.isolated),
            suspect=suspect,
            versions=sorted({i.version for i in self.instances if i.version}),
        )

    def discoverable(self) -> tuple[Instance, ...]:
        """The instances that may be sent traffic.

        Suspect ones are left out while at least half of the candidates are alive. With fewer,
        suspicion says more about the network than about them, so all are returned.
        Source: Envoy's panic threshold of 50 %.
        """
        candidates = tuple(filter(takes_traffic, self.instances))
        alive = tuple(instance for instance in candidates if not is_suspect(instance))
        return alive if 2 * len(alive) >= len(candidates) else candidates
