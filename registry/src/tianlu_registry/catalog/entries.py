"""The parts of one instance, joined.

An instance is three keys with three writers: the owner's word, the operator's override and the
registry's own findings. They are joined whenever one of them changes, so that answering costs
nothing. What was joined never changes afterwards: snapshots, histories and answers share it.
"""

from __future__ import annotations

import sys

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


class Joined:
    """An instance as it is answered: encoded, with what counting and choosing ask for.

    Attributes:
        wire: the encoded `Instance`.
        session_id: the lease that holds it; 0 for none.
        suspect: its session's stream broke.
        since_unix_ms: when it turned suspect, or ceased to be; 0: it never was.
        isolated: an operator took it out of traffic.
        wanted: owner and operator want it to be sent traffic; it may be suspect all the same.
        version: as its owner says.
    """

    __slots__ = (
        "isolated",
        "session_id",
        "since_unix_ms",
        "suspect",
        "version",
        "wanted",
        "wire",
    )

    def __init__(self, instance: Instance) -> None:
        self.wire = instance.SerializeToString()
        self.session_id = instance.session_id
        self.suspect = instance.health.liveness == Liveness.LIVENESS_SUSPECT
        self.since_unix_ms = instance.health.since_unix_ms
        self.isolated = instance.override.isolated
        weight = instance.weight if instance.HasField("weight") else WEIGHT_DEFAULT
        up = instance.status == InstanceStatus.INSTANCE_STATUS_UP
        self.wanted = up and weight > 0 and not self.isolated
        self.version = sys.intern(instance.version)

    def message(self) -> Instance:
        """Decode. The caller owns the result."""
        return Instance.FromString(self.wire)


class InstanceEntry:
    """An instance's joined state and the revisions of its parts (0: that part is not there).

    Invariant: the joined `mod_revision` is the newest of the three revisions, so it depends on
    the stored keys alone and every node answers the same.
    """

    __slots__ = ("health_revision", "instance_revision", "joined", "name", "override_revision")

    def __init__(self, name: InstanceName) -> None:
        self.name = name
        self.joined = _NOTHING
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

    def message(self) -> Instance:
        """Decode the joined state. The caller owns the result."""
        return self.joined.message()

    def put_instance(self, owner: Instance, kv: KeyValue) -> None:
        """Take the owner's word; the entry may change `owner`. The key says who it is and the
        lease whose it is, whatever the value claims."""
        owner.session_id = kv.lease
        owner.create_revision = kv.create_revision
        self._keep_other_parts(owner)
        self.instance_revision = kv.mod_revision
        self._finish(owner)

    def delete_instance(self) -> None:
        bare = Instance()
        self._keep_other_parts(bare)
        self.instance_revision = 0
        self._finish(bare)

    def put_override(self, override: Override | None, revision: int) -> None:
        """Set the override, or clear it with None and revision 0."""
        instance = self.message()
        instance.ClearField("override")
        if override is not None:
            instance.override.CopyFrom(override)
        self.override_revision = revision
        self._finish(instance)

    def put_health(self, health: Health | None, revision: int) -> None:
        """Set what was found, or clear it with None and revision 0."""
        instance = self.message()
        instance.ClearField("health")
        if health is not None:
            instance.health.CopyFrom(health)
        self.health_revision = revision
        self._finish(instance)

    def _keep_other_parts(self, instance: Instance) -> None:
        """Give a new owner's part the override and the health that are there."""
        instance.ClearField("override")
        instance.ClearField("health")
        if self.override_revision or self.health_revision:
            old = self.message()
            if self.override_revision:
                instance.override.CopyFrom(old.override)
            if self.health_revision:
                instance.health.CopyFrom(old.health)

    def _finish(self, instance: Instance) -> None:
        instance.namespace, instance.service, instance.id = self.name
        instance.mod_revision = max(
            self.instance_revision, self.override_revision, self.health_revision
        )
        self.joined = Joined(instance)


_NOTHING = Joined(Instance())


class ServiceSnapshot:
    """A service and its instances at one revision. Shared; its parts must not be changed.

    Attributes:
        service: the description, or one that has the names alone.
        described: somebody put the description; otherwise instances alone make it known.
        instances: registered ones, by id.
        encodings: answers made of this snapshot, kept by whoever encodes them, at most one for
            each kind of answer.
    """

    __slots__ = ("described", "encodings", "instances", "service")

    def __init__(self, service: Service, described: bool, instances: tuple[Joined, ...]) -> None:
        self.service = service
        self.described = described
        self.instances = instances
        self.encodings: dict[str, bytes] = {}

    @property
    def namespace(self) -> str:
        return self.service.namespace

    @property
    def name(self) -> str:
        return self.service.name

    def summary(self) -> ServiceSummary:
        """Count what a list shows. Owned by the caller."""
        instances = self.instances
        return ServiceSummary(
            service=self.service,
            instances=len(instances),
            serving=sum(1 for each in instances if each.wanted and not each.suspect),
            isolated=sum(1 for each in instances if each.isolated),
            suspect=sum(1 for each in instances if each.suspect),
            versions=sorted({each.version for each in instances if each.version}),
        )

    def discoverable(self) -> tuple[Joined, ...]:
        """The instances that may be sent traffic.

        Suspect ones are left out while at least half of the candidates are alive. With fewer,
        suspicion says more about the network than about them, so all are returned.
        Source: Envoy's panic threshold of 50 %.
        """
        candidates = tuple(each for each in self.instances if each.wanted)
        alive = tuple(each for each in candidates if not each.suspect)
        return alive if 2 * len(alive) >= len(candidates) else candidates
