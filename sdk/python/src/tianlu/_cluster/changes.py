"""Changes of the membership and of the leader, each checked against the members of now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tianlu._cluster.model import Member, Survey, find_member, member_of, members_of
from tianlu._cluster.node import (
    MEMBER_ADD,
    MEMBER_LIST,
    MEMBER_PROMOTE,
    MEMBER_REMOVE,
    MEMBER_UPDATE,
    MOVE_LEADER,
    Nodes,
)
from tianlu._cluster.survey import survey
from tianlu._endpoint import Endpoint, parse_endpoints
from tianlu._errors import Conflict, Unavailable
from tianlu._proto.etcd import rpc_pb2 as etcd


@dataclass(frozen=True, slots=True)
class Membership:
    """The members of now."""

    cluster: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the membership that has happened.

    Attributes:
        member: the member that it was about: as it is now, or was before it was removed.
        members: all members afterwards.
    """

    cluster: str
    member: Member
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Transfer:
    """A change of leader that has happened."""

    leader_before: Member
    leader: Member


class ClusterChanges:
    """What an operator can do to a cluster, through whichever endpoint answers.

    Raises (all calls): errors of `tianlu._errors`; NotFound for a member that there is none of.
    """

    def __init__(self, nodes: Nodes, endpoints: Sequence[Endpoint]) -> None:
        self._nodes = nodes
        self._endpoints = tuple(endpoints)

    async def members(self) -> Membership:
        """Return the members as the cluster agrees on them now."""
        request = etcd.MemberListRequest(linearizable=True)
        _, listed = await self._nodes.call_any(self._endpoints, MEMBER_LIST, request)
        return Membership(f"{listed.header.cluster_id:x}", members_of(listed.members))

    async def add(self, peer_urls: Sequence[str], *, learner: bool) -> Change:
        """Add a member that is not running yet."""
        request = etcd.MemberAddRequest(peerURLs=peer_urls, isLearner=learner)
        _, added = await self._nodes.call_any(self._endpoints, MEMBER_ADD, request)
        return _after(added, member_of(added.member))

    async def remove(self, wanted: str) -> Change:
        """Remove a member for ever. `wanted` is a name or an id, here and below."""
        member = await self._find(wanted)
        request = etcd.MemberRemoveRequest(ID=int(member.id, 16))
        _, removed = await self._nodes.call_any(self._endpoints, MEMBER_REMOVE, request)
        return _after(removed, member)

    async def update(self, wanted: str, peer_urls: Sequence[str]) -> Change:
        """Give a member other peer URLs."""
        member = await self._find(wanted)
        request = etcd.MemberUpdateRequest(ID=int(member.id, 16), peerURLs=peer_urls)
        _, updated = await self._nodes.call_any(self._endpoints, MEMBER_UPDATE, request)
        return _after(updated, find_member(members_of(updated.members), member.id))

    async def promote(self, wanted: str) -> Change:
        """Make a learner a voter."""
        member = await self._find(wanted)
        request = etcd.MemberPromoteRequest(ID=int(member.id, 16))
        _, promoted = await self._nodes.call_any(self._endpoints, MEMBER_PROMOTE, request)
        return _after(promoted, find_member(members_of(promoted.members), member.id))

    async def transfer_leader(self, wanted: str | None) -> Transfer:
        """Hand leadership over, to the follower that has most of the log if none is named.

        Raises:
            Unavailable: there is no leader, or it cannot be reached from here.
            Conflict: nobody is there to lead instead, or `wanted` is a learner or leads already.
        """
        before = await survey(self._nodes, self._endpoints)
        before.check_answered()
        leader = before.leader
        if leader is None:
            raise Unavailable("the cluster has no leader; `tianlu cluster doctor` says why")
        target = _target(before, leader, wanted)
        answer = before.view(leader).answer
        if answer is None or answer.status is None:
            raise Unavailable(
                f"leader {leader} cannot be reached from here, and only it can hand over"
                + (f": {answer.error}" if answer is not None else "")
            )
        (endpoint,) = parse_endpoints([answer.endpoint])
        request = etcd.MoveLeaderRequest(targetID=int(target.id, 16))
        await self._nodes.call(endpoint, MOVE_LEADER, request)
        return Transfer(leader, target)

    async def _find(self, wanted: str) -> Member:
        return find_member((await self.members()).members, wanted)


def _after(
    response: etcd.MemberAddResponse
    | etcd.MemberRemoveResponse
    | etcd.MemberUpdateResponse
    | etcd.MemberPromoteResponse,
    member: Member,
) -> Change:
    return Change(f"{response.header.cluster_id:x}", member, members_of(response.members))


def _target(before: Survey, leader: Member, wanted: str | None) -> Member:
    members = [view.member for view in before.members]
    if wanted is not None:
        target = find_member(members, wanted)
        if target.learner:
            raise Conflict(f"member {target} is a learner, which cannot lead; promote it first")
        if target.id == leader.id:
            raise Conflict(f"member {target} leads already")
        return target
    followers = [
        (view.status.index, view.member)
        for view in before.members
        if view.status is not None and not view.member.learner and view.member.id != leader.id
    ]
    if not followers:
        raise Conflict(f"no other voter than leader {leader} can be reached")
    return max(followers, key=lambda one: one[0])[1]
