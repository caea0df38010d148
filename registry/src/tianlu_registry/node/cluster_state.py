"""What the log says of the cluster itself: its members and its alarms.

Replicated like the keys, and stored beside them: every member comes to the same by applying the
same entries. `on_changed` tells the node, which then connects to other members.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from tianlu._proto.etcd.rpc_pb2 import (
    NONE,
    AlarmMember,
    AlarmRequest,
    AlarmType,
    Member,
    MemberUpdateRequest,
)
from tianlu_registry.errors import Corrupt, InputError
from tianlu_registry.node.membership import Membership
from tianlu_registry.raft import NO_MEMBER, ConfChange, ConfState, Index, MemberId

_META_MEMBERSHIP: Final = b"membership"
_META_ALARMS: Final = b"alarms"


class MetaReader(Protocol):
    """Named values of a state."""

    def get_meta(self, name: bytes) -> bytes | None: ...


class MetaBackend(MetaReader, Protocol):
    """Named values, committed with the rest of the state."""

    def put_meta(self, name: bytes, value: bytes) -> None: ...


class Alarm(NamedTuple):
    """A member's trouble that all members heed."""

    member: MemberId
    kind: AlarmType


class ClusterState:
    """Members and alarms.

    Args:
        backend: where they are stored.
        founders: the members, if none are stored yet.
        on_changed: called after every change.

    Attributes:
        membership: the members, as of the applied index.
        alarms: in the order of their raising.
    """

    def __init__(
        self,
        backend: MetaBackend,
        founders: Membership,
        on_changed: Callable[[], None] | None = None,
    ) -> None:
        self._backend = backend
        self._founders = founders
        self.on_changed = on_changed
        self.membership = founders
        self.alarms: tuple[Alarm, ...] = ()
        self._load()
        if founders.conf_state.voters and backend.get_meta(_META_MEMBERSHIP) is None:
            backend.put_meta(_META_MEMBERSHIP, founders.encode())  # goes with the next commit

    def reload(self) -> None:
        """Take what the backend holds now."""
        self._load()
        self._changed()

    def has_alarm(self, kind: AlarmType) -> bool:
        return any(alarm.kind == kind for alarm in self.alarms)

    def alarm_messages(self) -> list[AlarmMember]:
        """Return the alarms in etcd's form."""
        return [AlarmMember(memberID=alarm.member, alarm=alarm.kind) for alarm in self.alarms]

    def apply_change(
        self, index: Index, change: ConfChange, into_force: Callable[[ConfChange], ConfState]
    ) -> InputError | None:
        """Apply a committed change of the members.

        Args:
            index: its entry's.
            into_force: puts a change into force in the consensus core (raft/DESIGN.md, duty 16).

        Returns:
            Why it was refused; None if it is in force.
        """
        if index <= self.membership.forced_until:
            into_force(ConfChange())
            return None
        refusal = self.membership.refusal(change)
        if refusal is not None:
            into_force(ConfChange())
            return refusal
        self._set_membership(self.membership.changed(change, into_force(change)))
        gone = self.membership.removed
        if any(alarm.member in gone for alarm in self.alarms):
            self._set_alarms(tuple(a for a in self.alarms if a.member not in gone))
        return None

    def publish(self, attributes: Member) -> None:
        """Note a member's name and where clients reach it."""
        self._set_membership(self.membership.published(attributes))

    def move(self, request: MemberUpdateRequest) -> None:
        """Give a member other peer URLs.

        Raises:
            MemberNotFound, PeerUrlExists: see `Membership.moved`.
        """
        self._set_membership(self.membership.moved(MemberId(request.ID), request.peerURLs))

    def change_alarm(self, request: AlarmRequest) -> list[AlarmMember]:
        """Raise an alarm or put it down.

        Args:
            request: without a member it puts down the alarm of all; alarm NONE is all alarms.

        Returns:
            The alarms that changed.
        """
        wanted = Alarm(MemberId(request.memberID), request.alarm)
        if request.action == AlarmRequest.ACTIVATE:
            if wanted in self.alarms or request.alarm == NONE:
                return []
            self._set_alarms((*self.alarms, wanted))
            return [AlarmMember(memberID=wanted.member, alarm=wanted.kind)]
        down = [
            alarm
            for alarm in self.alarms
            if wanted.member in (NO_MEMBER, alarm.member) and wanted.kind in (NONE, alarm.kind)
        ]
        if down:
            self._set_alarms(tuple(alarm for alarm in self.alarms if alarm not in down))
        return [AlarmMember(memberID=alarm.member, alarm=alarm.kind) for alarm in down]

    def force(self, membership: Membership) -> None:
        """Replace the members by force, at a start."""
        self._set_membership(membership)

    def _load(self) -> None:
        stored = self._backend.get_meta(_META_MEMBERSHIP)
        self.membership = self._founders if stored is None else Membership.decode(stored)
        alarms = self._backend.get_meta(_META_ALARMS)
        self.alarms = () if alarms is None else _decode_alarms(alarms)

    def _set_membership(self, membership: Membership) -> None:
        if membership != self.membership:
            self.membership = membership
            self._backend.put_meta(_META_MEMBERSHIP, membership.encode())
            self._changed()

    def _set_alarms(self, alarms: tuple[Alarm, ...]) -> None:
        self.alarms = alarms
        self._backend.put_meta(_META_ALARMS, json.dumps(alarms).encode())
        self._changed()

    def _changed(self) -> None:
        if self.on_changed is not None:
            self.on_changed()


def membership_in(backend: MetaReader) -> Membership | None:
    """Return the members that a database holds; None if it holds none."""
    stored = backend.get_meta(_META_MEMBERSHIP)
    return None if stored is None else Membership.decode(stored)


def store_membership(backend: MetaBackend, membership: Membership) -> None:
    """Write the members into a database that no node runs on."""
    backend.put_meta(_META_MEMBERSHIP, membership.encode())


def of_new_cluster(founders: Membership) -> dict[bytes, bytes | None]:
    """Return what a state that begins a new cluster says of it: its members, and no alarms."""
    return {_META_MEMBERSHIP: founders.encode(), _META_ALARMS: None}


def _decode_alarms(data: bytes) -> tuple[Alarm, ...]:
    try:
        return tuple(Alarm(MemberId(member), kind) for member, kind in json.loads(data))
    except (ValueError, TypeError) as error:
        raise Corrupt(f"the record of alarms cannot be read: {data[:80]!r}") from error
