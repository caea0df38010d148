"""Membership changes as values: what they are, how they are stored, and what they make of a
configuration. Nothing here knows of logs, leaders or progress.

    SIMPLE    changes at most one voter (and any learners): the old and the new majorities overlap
    JOINT     any change, in two steps: first majorities of both the old and the new voters decide;
              once that is committed, the leader itself adds the change that leaves the old ones
    JOINT_EXPLICIT   the same, but somebody must propose LEAVE
    LEAVE     ends a joint configuration

    (1 2 3) --SIMPLE +4--> (1 2 3 4)
    (1 2 3) --JOINT -2 -3 +4--> (1 4)&&(1 2 3) --LEAVE--> (1 4)

A learner gets all entries and counts in no majority. A voter that shall become a learner while it
still votes in the outgoing set waits in `learners_next` until that is left.

Source: Raft dissertation, sections 4.1 to 4.3; etcd raft, confchange/confchange.go.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from tianlu_registry.errors import Conflict, InvalidArgument, Unavailable
from tianlu_registry.raft.types import NO_MEMBER, ConfState, MemberId

CHANGES_MAX: Final = 64
"""Single changes in one ConfChange."""

_VERSION: Final = 1
_HEADER = struct.Struct("<BBB")
_CHANGE = struct.Struct("<BQ")


class ConfChangePending(Unavailable):
    """One membership change at a time: an earlier one has not been applied yet."""

    text = "tianlu: a membership change is under way"


class ChangeKind(IntEnum):
    """Stored: never reuse a number."""

    ADD_VOTER = 1
    """Also promotes a learner."""

    ADD_LEARNER = 2
    """Also demotes a voter."""

    REMOVE = 3


class Transition(IntEnum):
    """See the module. Stored: never reuse a number."""

    SIMPLE = 1
    JOINT = 2
    JOINT_EXPLICIT = 3
    LEAVE = 4


@dataclass(frozen=True, slots=True)
class MemberChange:
    kind: ChangeKind
    member: MemberId


@dataclass(frozen=True, slots=True)
class ConfChange:
    """One log entry's change of the membership.

    Attributes:
        changes: made in this order; at most CHANGES_MAX. None at all changes nothing: a shell
            applies that instead of a change that its own rules refuse.
        context: the shell's own bytes, such as the new member's addresses.
    """

    transition: Transition = Transition.SIMPLE
    changes: tuple[MemberChange, ...] = ()
    context: bytes = b""

    def encode(self) -> bytes:
        """Return the entry's data.

            version u8   transition u8   count u8   (kind u8  member u64) * count   context

        Little-endian; the context is the rest.

        Raises:
            InvalidArgument: there are too many changes.
        """
        if len(self.changes) > CHANGES_MAX:
            raise InvalidArgument("changes", f"must be at most {CHANGES_MAX}")
        changes = [_CHANGE.pack(change.kind, change.member) for change in self.changes]
        header = _HEADER.pack(_VERSION, self.transition, len(changes))
        return b"".join((header, *changes, self.context))

    @classmethod
    def decode(cls, data: bytes) -> ConfChange:
        """Read an entry's data.

        Raises:
            InvalidArgument: it is no encoded change, or a newer release's.
        """
        try:
            version, transition, count = _HEADER.unpack_from(data)
            if version != _VERSION:
                raise InvalidArgument("conf_change", f"has the unknown version {version}")
            start, end = _HEADER.size, _HEADER.size + count * _CHANGE.size
            if count > CHANGES_MAX or end > len(data):
                raise InvalidArgument("conf_change", "is cut short")
            changes = tuple(
                MemberChange(ChangeKind(kind), MemberId(member))
                for kind, member in _CHANGE.iter_unpack(data[start:end])
            )
            return cls(Transition(transition), changes, data[end:])
        except (struct.error, ValueError) as error:
            raise InvalidArgument("conf_change", f"cannot be read: {error}") from error


def conf_change(
    transition: Transition, *changes: tuple[ChangeKind, int], context: bytes = b""
) -> ConfChange:
    """Return a change, written shortly: `conf_change(SIMPLE, (ADD_VOTER, 4))`."""
    members = tuple(MemberChange(kind, MemberId(member)) for kind, member in changes)
    return ConfChange(transition, members, context)


LEAVE_JOINT: Final = ConfChange(Transition.LEAVE)


def changed(conf: ConfState, change: ConfChange) -> ConfState:
    """Return what `change` makes of a configuration.

    Raises:
        Conflict: it cannot be applied to this one.
    """
    if change.transition is Transition.LEAVE:
        return _left(conf, change)
    if conf.voters_outgoing:
        raise Conflict("tianlu: the configuration is joint; it must be left first")
    draft = _Draft(conf, joint=change.transition is not Transition.SIMPLE)
    for single in change.changes:
        draft.apply(single)
    if not draft.voters:
        raise Conflict("tianlu: no voter would be left")
    if change.transition is Transition.SIMPLE and len(draft.voters ^ set(conf.voters)) > 1:
        raise Conflict("tianlu: more than one voter changes; use a joint change")
    return draft.conf_state(auto_leave=change.transition is Transition.JOINT)


def _left(conf: ConfState, change: ConfChange) -> ConfState:
    if not conf.voters_outgoing or change.changes:
        raise Conflict("tianlu: only a joint configuration can be left, and by nothing else")
    return ConfState(conf.voters, _ids({*conf.learners, *conf.learners_next}))


class _Draft:
    """A configuration that is being changed."""

    def __init__(self, conf: ConfState, *, joint: bool) -> None:
        self.voters = set(conf.voters)
        self._outgoing = set(conf.voters) if joint else set()
        self._learners = set(conf.learners)
        self._learners_next: set[MemberId] = set()

    def apply(self, change: MemberChange) -> None:
        member = change.member
        if member <= NO_MEMBER:
            raise Conflict(f"tianlu: {member} is no member's number")
        if change.kind is ChangeKind.ADD_VOTER:
            self._add_voter(member)
        elif change.kind is ChangeKind.ADD_LEARNER:
            self._add_learner(member)
        else:
            self._remove(member)

    def _add_voter(self, member: MemberId) -> None:
        if member in self.voters:
            raise Conflict(f"tianlu: member {member} is a voter already")
        self._learners.discard(member)
        self._learners_next.discard(member)
        self.voters.add(member)

    def _add_learner(self, member: MemberId) -> None:
        if member in self._learners | self._learners_next:
            raise Conflict(f"tianlu: member {member} is a learner already")
        self.voters.discard(member)
        # Nobody is voter and learner at once, so one that still votes in the old set waits.
        (self._learners_next if member in self._outgoing else self._learners).add(member)

    def _remove(self, member: MemberId) -> None:
        if member not in self.voters | self._learners | self._learners_next:
            raise Conflict(f"tianlu: {member} is no member")
        self.voters.discard(member)
        self._learners.discard(member)
        self._learners_next.discard(member)

    def conf_state(self, *, auto_leave: bool) -> ConfState:
        return ConfState(
            _ids(self.voters),
            _ids(self._learners),
            _ids(self._outgoing),
            _ids(self._learners_next),
            auto_leave,
        )


def _ids(members: Iterable[MemberId]) -> tuple[MemberId, ...]:
    return tuple(sorted(members))
