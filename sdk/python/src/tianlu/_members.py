"""Learns further endpoints from the cluster itself, for clients that ask for it.

Members tell each other at which client URLs they serve, and MemberList tells clients. A URL is
used only if the very member that it belongs to answers there: "http://127.0.0.1:2379" said by a
node on another host leads to somebody else, or to nobody, from here. A client that was given TLS
endpoints alone learns no others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from tianlu._channel import Connection
from tianlu._endpoint import Endpoint, as_protected, parse_endpoints
from tianlu._errors import InvalidInput, TianluError
from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._retry import Jittered, Wait, draw
from tianlu._rpc import MEMBER_LIST

_log: Final = logging.getLogger(__name__)

PROBE_SECONDS: Final = 1.0
"""How long a member may take to answer at a URL before that URL counts as not reachable."""

ENDPOINTS_MAX: Final = 32
"""Most URLs that are tried: a cluster has 3 to 7 members."""


class _Every:
    """The same wait after every attempt. Implements `tianlu._retry.Wait`."""

    def seconds(self, attempt: int, draw: float) -> float:
        del attempt, draw
        return 30.0


LEARN_WAIT: Final[Wait] = Jittered(_Every(), share=0.5)
"""Between two looks at the members: they change when somebody changes them."""


class MemberLearner:
    """Keeps a connection's endpoints in step with the members. Belongs to one event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._given = connection.endpoints
        self._proven: dict[Endpoint, int] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin in the background. Calling it again does nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="tianlu members")

    async def close(self) -> None:
        """End the work."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.learn_once()
            except TianluError as error:
                _log.debug("members.learn_failed error=%s", error)
            await asyncio.sleep(LEARN_WAIT.seconds(1, draw()))

    async def learn_once(self) -> None:
        """Ask for the members and use the URLs at which they answer.

        Raises:
            TianluError: no endpoint told the members.
        """
        told = await self._connection.call(MEMBER_LIST, etcd.MemberListRequest())
        found = dict(_named(told))
        named = {one: found[one] for one in as_protected(found, self._given)[:ENDPOINTS_MAX]}
        fresh = [one for one in named if self._proven.get(one) != named[one]]
        answers = await asyncio.gather(*(self._is_member(one, named[one], told) for one in fresh))
        self._proven = {one: member for one, member in self._proven.items() if one in named}
        self._proven.update(
            {one: named[one] for one, good in zip(fresh, answers, strict=True) if good}
        )
        await self._connection.learn(self._proven)

    async def _is_member(
        self, endpoint: Endpoint, member_id: int, told: etcd.MemberListResponse
    ) -> bool:
        try:
            answer = await self._connection.ask(
                MEMBER_LIST, etcd.MemberListRequest(), endpoint, PROBE_SECONDS
            )
        except TianluError:
            return False
        header = answer.header
        return (header.member_id, header.cluster_id) == (member_id, told.header.cluster_id)


def _named(told: etcd.MemberListResponse) -> Iterator[tuple[Endpoint, int]]:
    """Yield every client URL that can be read, with the member that serves there. Learners serve
    no clients."""
    for member in told.members:
        if member.isLearner:
            continue
        for url in member.clientURLs:
            try:
                (endpoint,) = parse_endpoints([url])
            except InvalidInput:
                continue
            yield endpoint, member.ID
