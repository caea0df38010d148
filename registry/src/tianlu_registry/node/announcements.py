"""What only this member knows and all should: put into the log when the log says otherwise.

Looked at again and again, so nothing is lost when a proposal is: its name and client URLs, and
whether it has room for writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tianlu._proto.etcd.rpc_pb2 import CORRUPT, NOSPACE, AlarmRequest, Member
from tianlu_registry.errors import Unavailable
from tianlu_registry.node.cluster_state import ClusterState
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.raft import MemberId

Propose = Callable[[CommandKind, Request], "asyncio.Future[Any]"]


class Announcements:
    """Keeps the cluster's state true about this member.

    Args:
        config, own_id: this member's.
        cluster: what the log says.
        is_short_of_space: whether this member has no room for writes.
        propose: puts a command into the log; raises `Unavailable` when it cannot now.
    """

    def __init__(
        self,
        config: NodeConfig,
        own_id: MemberId,
        cluster: ClusterState,
        *,
        is_short_of_space: Callable[[], bool],
        propose: Propose,
    ) -> None:
        self._config = config
        self._own_id = own_id
        self._cluster = cluster
        self._is_short_of_space = is_short_of_space
        self._propose = propose
        self._under_way: dict[CommandKind, asyncio.Future[Any]] = {}

    def tick(self) -> None:
        """Propose what is not so. Never waits."""
        record = self._cluster.membership.members.get(self._own_id)
        if record is None:
            return
        config = self._config
        if (record.name, record.client_urls) != (config.name, config.client_urls):
            attributes = Member(ID=self._own_id, name=config.name, clientURLs=config.client_urls)
            self._propose_once(CommandKind.MEMBER_PUBLISH, attributes)
        is_raised = (self._own_id, NOSPACE) in self._cluster.alarms
        if is_raised != self._is_short_of_space():
            action = AlarmRequest.DEACTIVATE if is_raised else AlarmRequest.ACTIVATE
            alarm = AlarmRequest(action=action, memberID=self._own_id, alarm=NOSPACE)
            self._propose_once(CommandKind.ALARM, alarm)

    async def publish(self) -> None:
        """Say this member's name and client URLs, and return when the log has it; or when that
        failed, for `tick` to try again."""
        self.tick()
        answered = self._under_way.get(CommandKind.MEMBER_PUBLISH)
        if answered is not None:
            await asyncio.wait([answered])

    async def raise_corrupt(self, member: MemberId) -> None:
        """Say of a member that its state is not what the log says.

        Raises:
            Unavailable: it could not be said, or it is not known whether it was.
        """
        request = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=member, alarm=CORRUPT)
        await self._propose(CommandKind.ALARM, request)

    def _propose_once(self, kind: CommandKind, request: Request) -> None:
        """Propose, unless the last such proposal has no answer yet."""
        before = self._under_way.get(kind)
        if before is not None and not before.done():
            return
        try:
            answered = self._propose(kind, request)
        except Unavailable:
            return
        answered.add_done_callback(_take_as_seen)
        self._under_way[kind] = answered


def _take_as_seen(answered: asyncio.Future[Any]) -> None:
    """Whether it failed shows when it is looked at again."""
    if not answered.cancelled():
        answered.exception()
