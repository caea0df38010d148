"""The operations on the members, as the leader carries them out; every other member passes them
on.

Before a change is proposed the leader makes sure that it cannot cost the quorum: with that many
members connected and started, the new majority must be at hand.
Source: etcd server/etcdserver/server.go `mayAddMember`, `mayRemoveMember`, `mayPromote`;
membership/cluster.go `IsReadyTo...`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.message import Message as ProtoMessage

from tianlu._proto.etcd.rpc_pb2 import (
    Member,
    MemberAddRequest,
    MemberAddResponse,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberPromoteResponse,
    MemberRemoveRequest,
    MemberRemoveResponse,
    MemberUpdateRequest,
    MemberUpdateResponse,
    MoveLeaderRequest,
    MoveLeaderResponse,
)
from tianlu_registry.errors import (
    BadLeaderTransferee,
    InvalidArgument,
    LeaderTransferTimeout,
    LearnerNotReady,
    MemberNotFound,
    MemberNotLearner,
    NotEnoughStarted,
    PeerUrlExists,
    UnhealthyCluster,
)
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.identity import new_member_id
from tianlu_registry.node.leader_link import LeaderLink
from tianlu_registry.node.machine import StateMachine
from tianlu_registry.node.member_changes import MemberChanges
from tianlu_registry.node.membership import Membership
from tianlu_registry.node.role import RoleTracker
from tianlu_registry.raft import ChangeKind, MemberId, Status

_Request = TypeVar("_Request", bound=ProtoMessage)

LEARNER_READY_SHARE: Final = 0.9
"""A learner may vote when it has this share of the leader's log. Source: etcd
server/etcdserver/server.go `readyPercentThreshold`."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the operations need of the node.

    Attributes:
        status: the consensus core's.
        propose: puts a command into the log.
        transfer: starts a handing over of leadership.
        role: who leads, as this member knows it.
        election_seconds: the election timeout.
        cluster_token: part of new members' numbers.
        can_be_joined: whether this member listens for others.
    """

    status: Callable[[], Status]
    propose: Callable[[CommandKind, Request], asyncio.Future[Any]]
    transfer: Callable[[MemberId], None]
    role: RoleTracker
    election_seconds: float
    cluster_token: str
    can_be_joined: bool


class ClusterOps:
    """Member operations, on any member.

    Args:
        machine: the replicated state.
        changes: makes changes of the members.
        link: the way to the leader.
        around: see there.
    """

    def __init__(
        self,
        machine: StateMachine,
        changes: MemberChanges,
        link: LeaderLink,
        around: Surroundings,
    ) -> None:
        self._machine = machine
        self._changes = changes
        self._link = link
        self._around = around
        self._one_at_a_time = asyncio.Lock()
        link.add("member_add", _handler(MemberAddRequest, self._add))
        link.add("member_remove", _handler(MemberRemoveRequest, self._remove))
        link.add("member_promote", _handler(MemberPromoteRequest, self._promote))
        link.add("member_update", _handler(MemberUpdateRequest, self._update))
        link.add("member_list", _handler(MemberListRequest, self._list))

    async def add(self, request: MemberAddRequest) -> MemberAddResponse:
        """See `engine.cluster.Cluster.member_add`."""
        payload = request.SerializeToString()
        answer = await self._link.ask("member_add", payload, repeatable=False)
        return MemberAddResponse.FromString(answer)

    async def remove(self, request: MemberRemoveRequest) -> MemberRemoveResponse:
        payload = request.SerializeToString()
        answer = await self._link.ask("member_remove", payload, repeatable=False)
        return MemberRemoveResponse.FromString(answer)

    async def promote(self, request: MemberPromoteRequest) -> MemberPromoteResponse:
        payload = request.SerializeToString()
        answer = await self._link.ask("member_promote", payload, repeatable=False)
        return MemberPromoteResponse.FromString(answer)

    async def update(self, request: MemberUpdateRequest) -> MemberUpdateResponse:
        return MemberUpdateResponse.FromString(
            await self._link.ask("member_update", request.SerializeToString())
        )

    def list_here(self) -> MemberListResponse:
        """Return the members as this member knows them."""
        return MemberListResponse(header=self._machine.header(), members=self._members())

    async def move_leader(self, request: MoveLeaderRequest) -> MoveLeaderResponse:
        """See `engine.cluster.Cluster.move_leader`; on the leader only."""
        target = MemberId(request.targetID)
        if not self._membership.is_voter(target):
            raise BadLeaderTransferee
        around = self._around
        around.transfer(target)
        try:
            async with asyncio.timeout(2 * around.election_seconds):
                await around.role.wait_leader(target)
        except TimeoutError as error:
            raise LeaderTransferTimeout from error
        return MoveLeaderResponse(header=self._machine.header())

    # On the leader

    async def _list(self, _request: MemberListRequest) -> MemberListResponse:
        return self.list_here()

    async def _add(self, request: MemberAddRequest) -> MemberAddResponse:
        async with self._one_at_a_time:
            membership = self._membership
            if not self._around.can_be_joined:
                raise InvalidArgument(
                    "peerURLs",
                    "this member listens for no others; restart it with --listen-peer-urls and "
                    "--initial-advertise-peer-urls that the new member can reach",
                )
            for record in membership.members.values():
                if set(record.peer_urls) & set(request.peerURLs):
                    raise PeerUrlExists
            if not request.isLearner:
                self._check_may_add_voter()
            taken = {*membership.members, *membership.removed}
            member = new_member_id(request.peerURLs, self._around.cluster_token, taken)
            added = Member(ID=member, peerURLs=request.peerURLs, isLearner=request.isLearner)
            kind = ChangeKind.ADD_LEARNER if request.isLearner else ChangeKind.ADD_VOTER
            await self._changes.change(kind, member, added)
            return MemberAddResponse(
                header=self._machine.header(), member=added, members=self._members()
            )

    async def _remove(self, request: MemberRemoveRequest) -> MemberRemoveResponse:
        async with self._one_at_a_time:
            member = MemberId(request.ID)
            self._check_may_remove(member)
            await self._changes.change(ChangeKind.REMOVE, member)
            return MemberRemoveResponse(header=self._machine.header(), members=self._members())

    async def _promote(self, request: MemberPromoteRequest) -> MemberPromoteResponse:
        async with self._one_at_a_time:
            member = MemberId(request.ID)
            self._check_may_promote(member)
            await self._changes.change(ChangeKind.ADD_VOTER, member)
            return MemberPromoteResponse(header=self._machine.header(), members=self._members())

    async def _update(self, request: MemberUpdateRequest) -> MemberUpdateResponse:
        response: MemberUpdateResponse = await self._around.propose(
            CommandKind.MEMBER_UPDATE, request
        )
        return response

    def _check_may_add_voter(self) -> None:
        membership = self._membership
        voters = membership.conf_state.voters
        started = sum(1 for member in voters if membership.members[member].name)
        if started == 1 and len(voters) == 1:
            return  # from one to two: the second cannot be started before it is added
        if started < (len(voters) + 1) // 2 + 1:
            raise NotEnoughStarted
        if self._connected(voters) < len(voters):
            raise UnhealthyCluster

    def _check_may_remove(self, member: MemberId) -> None:
        membership = self._membership
        if member not in membership.members:
            raise MemberNotFound
        if membership.is_learner(member) or not membership.members[member].name:
            return  # it counts in no majority, or was never started
        others = tuple(voter for voter in membership.conf_state.voters if voter != member)
        if not others:
            return  # the change itself says why not
        if self._connected(others) < len(others) // 2 + 1:
            raise UnhealthyCluster

    def _check_may_promote(self, member: MemberId) -> None:
        membership = self._membership
        if member not in membership.members:
            raise MemberNotFound
        if not membership.is_learner(member):
            raise MemberNotLearner
        status = self._around.status()
        peer = status.peers.get(member)
        if peer is None or peer.match < LEARNER_READY_SHARE * status.committed:
            raise LearnerNotReady
        self._check_may_add_voter()

    def _connected(self, members: tuple[MemberId, ...]) -> int:
        status = self._around.status()
        return sum(
            1
            for member in members
            if member == status.id
            or (member in status.peers and status.peers[member].recent_active)
        )

    @property
    def _membership(self) -> Membership:
        return self._machine.cluster.membership

    def _members(self) -> list[Member]:
        return self._membership.messages()


def _handler(
    request_type: type[_Request], handle: Callable[[_Request], Awaitable[ProtoMessage]]
) -> Callable[[bytes], Awaitable[bytes]]:
    async def answer(payload: bytes) -> bytes:
        response = await handle(request_type.FromString(payload))
        return response.SerializeToString()

    return answer
