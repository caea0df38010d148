"""Who holds an instance's key, and what a new registration may do about it.

    the key is                     a registration by session S
    ----------------------------   -------------------------------------------------------
    absent                         creates it
    held by S                      updates it, or does nothing if it says the same again
    held by another, suspect       takes it over: its owner's stream broke, so the owner died
                                   and was restarted, or cannot speak for it now
    held by another, not suspect   Conflict, naming the holder
    held by no lease               Conflict: somebody put it by hand

The registrar guesses from the view, and the transaction compares the guess with the store.
"""

from __future__ import annotations

from dataclasses import dataclass

from tianlu._proto.etcd.kv_pb2 import KeyValue
from tianlu._proto.v1.model_pb2 import Health, Instance, Liveness
from tianlu_registry.catalog.entries import InstanceEntry
from tianlu_registry.catalog.keys import InstanceName
from tianlu_registry.errors import Conflict


@dataclass(frozen=True, slots=True)
class Holding:
    """What is known of an instance's keys.

    Attributes:
        mod_revision: of the instance's own key; 0 if there is none.
        session_id: the lease of that key.
        owner: what the owner said last; None if there is no key.
        suspect: the registry has marked it.
        status_revision: of the key that says so; 0 if there is none.
    """

    mod_revision: int = 0
    session_id: int = 0
    owner: Instance | None = None
    suspect: bool = False
    status_revision: int = 0

    @classmethod
    def of_entry(cls, entry: InstanceEntry | None) -> Holding:
        """Return what the view knows."""
        if entry is None or not entry.present:
            return cls()
        return cls(
            entry.instance_revision,
            entry.joined.session_id,
            owner_part(entry.message()),
            entry.joined.suspect,
            entry.health_revision,
        )

    @classmethod
    def of_stored(cls, instance: KeyValue | None, status: KeyValue | None) -> Holding:
        """Return what the store said, from the keys that a transaction read."""
        if instance is None:
            return cls()
        health = Health.FromString(status.value) if status is not None else Health()
        return cls(
            instance.mod_revision,
            instance.lease,
            Instance.FromString(instance.value),
            health.liveness == Liveness.LIVENESS_SUSPECT,
            status.mod_revision if status is not None else 0,
        )

    def check_registrable(self, name: InstanceName, session_id: int) -> None:
        """Raises: Conflict: another one holds the instance (see the table above)."""
        if self.owner is None or self.session_id == session_id or self.suspect:
            return
        if not self.session_id:
            raise Conflict(
                f"instance {shown(name)} was stored by hand, without a session; "
                "deregister it before a session can hold it"
            )
        raise Conflict(
            f"instance {shown(name)} is held by session {self.session_id}, which is alive "
            f"(it says {self.owner.address}); choose another id or end that session"
        )

    def check_owner(self, name: InstanceName, session_id: int) -> None:
        """Raises: Conflict: a session asks that is not the holder (0, an operator, may)."""
        if session_id and session_id != self.session_id:
            raise Conflict(
                f"instance {shown(name)} is held by session {self.session_id}, not {session_id}"
            )


def owner_part(instance: Instance) -> Instance:
    """Return a copy with what the owner says alone: this is what an instance's key stores."""
    part = Instance()
    part.CopyFrom(instance)
    for joined in ("session_id", "override", "health", "create_revision", "mod_revision"):
        part.ClearField(joined)
    return part


def shown(name: InstanceName) -> str:
    """Return an instance's name for people: `orders/orders-1 in namespace default`."""
    return f"{name.service}/{name.id} in namespace {name.namespace}"
