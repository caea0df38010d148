"""The members of the cluster, as replicated state: a value, changed by committed entries alone.

The consensus core knows members by number and decides who votes. What goes with a number (name,
addresses) and which changes make sense to people stands here. Both are stored as one record with
the applied index, so a restart and a raft_snapshot bring them back together.

The rules of `refusal` look at nothing but this value, so every member finds the same when a
change is applied. What only the leader can know (who has caught up, who is connected) it asks
before it proposes. Source: etcd server/etcdserver/api/membership/cluster.go
`ValidateConfigurationChange`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from google.protobuf.message import DecodeError

from tianlu._proto.etcd.rpc_pb2 import Member
from tianlu_registry.errors import (
    Corrupt,
    InputError,
    MemberExists,
    MemberNotFound,
    MemberNotLearner,
    NotEnoughStarted,
    PeerUrlExists,
    TooManyLearners,
)
from tianlu_registry.raft import (
    NO_INDEX,
    ChangeKind,
    ConfChange,
    ConfState,
    Index,
    MemberChange,
    MemberId,
    Transition,
)

LEARNERS_MAX: Final = 1
"""Source: etcd server/config/config.go `MaxLearners`: each costs the leader a copy of all data."""

_FORMAT: Final = 1
_PROPOSAL_ID: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """What goes with a member's number.

    Attributes:
        name: empty until the member has started for the first time.
        peer_urls: where other members reach it.
        client_urls: where clients reach it; empty until it has started.
    """

    id: MemberId
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Membership:
    """All members, as of a log position.

    Attributes:
        conf_state: who votes, who learns. No voters: not known yet, in a member that joins.
        members: by number; exactly those in `conf_state`.
        removed: numbers never used again.
        forced_until: changes up to this log index are void: the cluster was forced to begin again
            with one member after they were made.
    """

    conf_state: ConfState = field(default_factory=ConfState)
    members: Mapping[MemberId, MemberRecord] = field(default_factory=dict)
    removed: frozenset[MemberId] = frozenset()
    forced_until: Index = NO_INDEX

    @classmethod
    def founded_by(cls, records: Iterable[MemberRecord]) -> Membership:
        """Return the membership that a new cluster begins with: all vote."""
        members = {record.id: record for record in records}
        return cls(ConfState(voters=tuple(sorted(members))), members)

    @classmethod
    def of_strangers(cls, records: Iterable[MemberRecord]) -> Membership:
        """Return what a joining member begins with: it knows where the others are, but not yet
        who votes. That it learns from a raft_snapshot."""
        return cls(ConfState(), {record.id: record for record in records})

    def forced_to(self, survivor: MemberRecord, last_index: Index) -> Membership:
        """Return a membership of one voter, made by force after a majority was lost for ever.

        Args:
            last_index: the log's end; no change up to there is applied any more.
        """
        others = frozenset(self.members) - {survivor.id}
        return Membership(
            ConfState(voters=(survivor.id,)),
            {survivor.id: survivor},
            self.removed | others,
            last_index,
        )

    def is_learner(self, member: MemberId) -> bool:
        return member in self.conf_state.learners or member in self.conf_state.learners_next

    def is_voter(self, member: MemberId) -> bool:
        return member in self.conf_state.voters

    def refusal(self, change: ConfChange) -> InputError | None:
        """Return why a change cannot be made to this membership; None if it can."""
        for single in change.changes:
            refusal = self._refusal(single, change)
            if refusal is not None:
                return refusal
        return None

    def _refusal(self, change: MemberChange, whole: ConfChange) -> InputError | None:
        member = change.member
        if member in self.removed:
            return MemberNotFound()  # as etcd says to clients, though it knows better
        if change.kind is ChangeKind.REMOVE:
            if member not in self.members:
                return MemberNotFound()
            is_last = self.conf_state.voters == (member,)
            return NotEnoughStarted() if is_last else None
        if member in self.members:
            if change.kind is ChangeKind.ADD_LEARNER:
                return MemberExists()
            return None if self.is_learner(member) else MemberNotLearner()
        return self._refusal_of_new(change, member_of(whole))

    def _refusal_of_new(self, change: MemberChange, added: Member) -> InputError | None:
        if change.member != added.ID:
            return MemberNotLearner() if change.kind is ChangeKind.ADD_VOTER else MemberNotFound()
        if self.urls_taken(added.peerURLs, by_other_than=change.member):
            return PeerUrlExists()
        learners = {*self.conf_state.learners, *self.conf_state.learners_next}
        if change.kind is ChangeKind.ADD_LEARNER and len(learners) >= LEARNERS_MAX:
            return TooManyLearners()
        return None

    def urls_taken(self, urls: Iterable[str], *, by_other_than: MemberId) -> bool:
        """Whether another member has one of these peer URLs."""
        wanted = set(urls)
        return any(
            wanted & set(record.peer_urls)
            for record in self.members.values()
            if record.id != by_other_than
        )

    def changed(self, change: ConfChange, conf_state: ConfState) -> Membership:
        """Return the membership after a change that was not refused.

        Args:
            conf_state: what the consensus core made of it.
        """
        members, removed = dict(self.members), set(self.removed)
        for single in change.changes:
            if single.kind is ChangeKind.REMOVE:
                members.pop(single.member, None)
                removed.add(single.member)
            elif single.member not in members:
                added = member_of(change)
                members[single.member] = MemberRecord(
                    single.member, added.name, tuple(added.peerURLs), tuple(added.clientURLs)
                )
        return replace(self, conf_state=conf_state, members=members, removed=frozenset(removed))

    def published(self, attributes: Member) -> Membership:
        """Return the membership after a member has said its name and where clients reach it."""
        member = MemberId(attributes.ID)
        if member not in self.members:
            return self
        record = replace(
            self.members[member], name=attributes.name, client_urls=tuple(attributes.clientURLs)
        )
        return replace(self, members={**self.members, member: record})

    def moved(self, member: MemberId, peer_urls: Iterable[str]) -> Membership:
        """Return the membership after a member has got other peer URLs.

        Raises:
            MemberNotFound: there is none of this number.
            PeerUrlExists: another member has one of the URLs.
        """
        urls = tuple(peer_urls)
        if member not in self.members:
            raise MemberNotFound
        if self.urls_taken(urls, by_other_than=member):
            raise PeerUrlExists
        record = replace(self.members[member], peer_urls=urls)
        return replace(self, members={**self.members, member: record})

    def messages(self) -> list[Member]:
        """Return the members in etcd's form, in the order of their numbers."""
        return [
            Member(
                ID=record.id,
                name=record.name,
                peerURLs=record.peer_urls,
                clientURLs=record.client_urls,
                isLearner=self.is_learner(record.id),
            )
            for _, record in sorted(self.members.items())
        ]

    def encode(self) -> bytes:
        """Return the stored record; equal memberships have equal ones."""
        conf = self.conf_state
        return json.dumps(
            {
                "format": _FORMAT,
                "voters": conf.voters,
                "learners": conf.learners,
                "voters_outgoing": conf.voters_outgoing,
                "learners_next": conf.learners_next,
                "auto_leave": conf.auto_leave,
                "members": [
                    [record.id, record.name, record.peer_urls, record.client_urls]
                    for _, record in sorted(self.members.items())
                ],
                "removed": sorted(self.removed),
                "forced_until": self.forced_until,
            }
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> Membership:
        """Read a stored record.

        Raises:
            Corrupt: it is none, or a later release's.
        """
        try:
            fields = json.loads(data)
            if fields["format"] != _FORMAT:
                raise Corrupt(f"the membership has the unknown format {fields['format']!r}")
            conf_state = ConfState(
                _ids(fields["voters"]),
                _ids(fields["learners"]),
                _ids(fields["voters_outgoing"]),
                _ids(fields["learners_next"]),
                bool(fields["auto_leave"]),
            )
            records = [
                MemberRecord(MemberId(number), name, tuple(peer_urls), tuple(client_urls))
                for number, name, peer_urls, client_urls in fields["members"]
            ]
            return cls(
                conf_state,
                {record.id: record for record in records},
                frozenset(_ids(fields["removed"])),
                Index(fields["forced_until"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"the membership record cannot be read: {data[:80]!r}") from error


def change_of(
    kind: ChangeKind, member: MemberId, proposal_id: int, added: Member | None = None
) -> ConfChange:
    """Return the change to propose.

    Args:
        proposal_id: by which its proposer recognises it when it is applied.
        added: the new member's addresses, when there is one.
    """
    context = _PROPOSAL_ID.pack(proposal_id)
    if added is not None:
        context += added.SerializeToString()
    return ConfChange(Transition.SIMPLE, (MemberChange(kind, member),), context)


def proposal_id_of(change: ConfChange) -> int | None:
    """Return the number that `change_of` was given; None if the consensus core made the change."""
    if len(change.context) < _PROPOSAL_ID.size:
        return None
    number: int = _PROPOSAL_ID.unpack_from(change.context)[0]
    return number


def member_of(change: ConfChange) -> Member:
    """Return the addresses of the member that a change adds; an empty message if there are none."""
    try:
        return Member.FromString(change.context[_PROPOSAL_ID.size :])
    except DecodeError as error:
        raise Corrupt("a membership change in the log cannot be read") from error


def _ids(numbers: Iterable[int]) -> tuple[MemberId, ...]:
    return tuple(MemberId(int(number)) for number in numbers)
