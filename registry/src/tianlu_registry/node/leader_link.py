"""Asking the leader: what only it can answer, whichever member was asked.

A request goes to the handler of this member if it leads, else over a peer connection to the member
that does. While there is no leader, or it has just changed, the request waits and is tried again,
within its time. One whose answer was lost is tried again only if its asker says that doing it
twice does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from tianlu_registry.errors import (
    NoLeader,
    NotLeader,
    Stopped,
    TooManyRequests,
    Unavailable,
    UnhealthyCluster,
)
from tianlu_registry.raft import NO_MEMBER, ConfChangePending, MemberId

RETRY_SECONDS: Final = 0.05
"""Pause before a request is tried again. Source: etcd server/etcdserver/v3_server.go
`LeaseRenew`."""

Handler = Callable[[bytes], Awaitable[bytes]]
Call = Callable[[MemberId, str, bytes, float], Awaitable[bytes]]


class LeaderLink:
    """The way to whoever leads.

    Args:
        loop: for its clock.
        leader_id: the leader as this member knows it; NO_MEMBER for none.
        serves: whether this member leads and has applied all that earlier leaders committed.
        own_id: this member.
        call: asks another member; raises `Unavailable`, or what the other one answered with.
        timeout_seconds: how long a request may take in all.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        leader_id: Callable[[], MemberId],
        serves: Callable[[], bool],
        own_id: MemberId,
        call: Call,
        timeout_seconds: float,
    ) -> None:
        self._loop = loop
        self._leader_id = leader_id
        self._serves = serves
        self._own_id = own_id
        self._call = call
        self._timeout_seconds = timeout_seconds
        self._handlers: dict[str, Handler] = {}
        self._stopped = False

    def add(self, method: str, handler: Handler) -> None:
        """Have a method answered by `handler` where this member leads."""
        self._handlers[method] = handler

    def stop(self) -> None:
        """Try nothing again: this node stops, or has failed."""
        self._stopped = True

    async def ask(self, method: str, payload: bytes, *, repeatable: bool = True) -> bytes:
        """Have the leader answer.

        Args:
            repeatable: it may be done twice.

        Raises:
            NoLeader: there was none in all the time.
            Stopped: this node does.
            RequestTimeout: it did not answer; what was asked for may have been done.
            RegistryError: what it answered with.
        """
        deadline = self._loop.time() + self._timeout_seconds
        while True:
            try:
                return await self._ask_once(method, payload, deadline - self._loop.time())
            except (NotLeader, NoLeader, ConfChangePending):
                failure: Exception = NoLeader()
            except Unavailable as error:
                if not repeatable or isinstance(error, TooManyRequests | UnhealthyCluster):
                    raise
                failure = error
            if self._stopped:
                raise Stopped from failure
            if self._loop.time() + RETRY_SECONDS >= deadline:
                raise failure
            await asyncio.sleep(RETRY_SECONDS)

    async def serve(self, method: str, payload: bytes) -> bytes:
        """Answer another member's request.

        Raises:
            NotLeader: this member does not lead, or does not know yet what it leads.
            Unavailable: the method is a newer release's.
        """
        handler = self._handlers.get(method)
        if handler is None:
            raise Unavailable(f"tianlu: this member does not know the request {method!r}")
        if not self._serves():
            raise NotLeader
        return await handler(payload)

    async def _ask_once(self, method: str, payload: bytes, seconds: float) -> bytes:
        leader = self._leader_id()
        if leader == NO_MEMBER:
            raise NoLeader
        if leader == self._own_id:
            return await self.serve(method, payload)
        return await self._call(leader, method, payload, max(seconds, RETRY_SECONDS))
