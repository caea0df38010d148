"""Renewing leases and asking for their time, on any member.

When a lease ends is known to the leader alone. The renewals that reach another member within one
turn of the loop travel to it together.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from tianlu._proto.etcd.rpc_pb2 import (
    LeaseCheckpoint,
    LeaseCheckpointRequest,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
)
from tianlu_registry.errors import LeaseNotFound, NoLeader, RegistryError, TooManyRequests
from tianlu_registry.lease import Lessor
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.leader_link import LeaderLink

RENEW: Final = "lease_renew"
TIME_TO_LIVE: Final = "lease_ttl"

NO_SUCH_LEASE: Final = -1
"""TTL by which etcd says that a lease asked about is not there."""

RENEWALS_WAITING_MAX: Final = 100_000
"""Renewals under way to the leader; more are refused with `TooManyRequests`."""

_BATCH_MAX: Final = 4_096
_NUMBER: Final = struct.Struct("<q")

Propose = Callable[[CommandKind, Request], "asyncio.Future[Any]"]


class LeaseService:
    """Renewals and times, from whoever knows them.

    Args:
        loop: where everything runs.
        lessor: the leases of the state machine.
        clock: what the lessor counts by.
        propose: puts a command into the log.
        read: returns a future that is done when this member has confirmed that it is as new as any
            was when it was called; so a leader has confirmed that it leads.
        link: the way to the leader, which answers here if this member leads.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lessor: Lessor,
        clock: Callable[[], float],
        propose: Propose,
        read: Callable[[], asyncio.Future[None]],
        link: LeaderLink,
    ) -> None:
        self._loop = loop
        self._lessor = lessor
        self._clock = clock
        self._propose = propose
        self._read = read
        self._link = link
        self._gathering: dict[int, asyncio.Future[int]] = {}
        self._waiting_count = 0
        self._sending: set[asyncio.Task[None]] = set()
        link.add(RENEW, self._on_renew)
        link.add(TIME_TO_LIVE, self._on_time_to_live)

    async def renew(self, lease_id: int) -> int:
        """Give a lease its full time again.

        Returns:
            Its TTL; 0 if there is no such lease.

        Raises:
            Unavailable: no leader answered in time.
        """
        if self._lessor.is_leader:
            # Deposed while it waited, it asks its successor.
            with contextlib.suppress(NoLeader):
                return (await self._renew_here([lease_id]))[0]
        return await asyncio.shield(self._renew_there(lease_id))

    async def renew_all(self, lease_ids: Sequence[int]) -> list[int]:
        """Do the same for several: a leader confirms once for all of them that it leads."""
        if self._lessor.is_leader:
            with contextlib.suppress(NoLeader):
                return await self._renew_here(lease_ids)
        return list(await asyncio.gather(*map(self.renew, lease_ids)))

    async def time_to_live(self, request: LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse:
        """Return a lease's time as the leader counts it, without a header."""
        answer = await self._link.ask(TIME_TO_LIVE, request.SerializeToString())
        return LeaseTimeToLiveResponse.FromString(answer)

    async def _renew_here(self, lease_ids: Sequence[int]) -> list[int]:
        # A leader that was deposed and does not know it would promise time that its successor does
        # not give: lease/DESIGN.md, duty 2.
        await self._read()
        # Nor would the next leader give more time to a checkpointed lease than was left before.
        while checkpointed := list(filter(self._lessor.is_checkpointed, lease_ids)):
            request = LeaseCheckpointRequest(
                checkpoints=[LeaseCheckpoint(ID=lease_id) for lease_id in checkpointed]
            )
            await self._propose(CommandKind.LEASE_CHECKPOINT, request)
            await self._read()
        return [self._renew_confirmed(lease_id) for lease_id in lease_ids]

    def _renew_confirmed(self, lease_id: int) -> int:
        try:
            return self._lessor.renew(lease_id, self._clock())
        except LeaseNotFound:
            return 0

    def _renew_there(self, lease_id: int) -> asyncio.Future[int]:
        known = self._gathering.get(lease_id)
        if known is not None:
            return known
        if self._waiting_count >= RENEWALS_WAITING_MAX:
            raise TooManyRequests
        if not self._gathering:
            self._loop.call_soon(self._flush)
        self._waiting_count += 1
        answer: asyncio.Future[int] = self._loop.create_future()
        self._gathering[lease_id] = answer
        return answer

    def _flush(self) -> None:
        gathered, self._gathering = list(self._gathering.items()), {}
        for start in range(0, len(gathered), _BATCH_MAX):
            task = self._loop.create_task(self._ask(gathered[start : start + _BATCH_MAX]))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _ask(self, batch: Sequence[tuple[int, asyncio.Future[int]]]) -> None:
        payload = b"".join(_NUMBER.pack(lease_id) for lease_id, _ in batch)
        try:
            answers = await self._link.ask(RENEW, payload)
            ttls = [ttl for (ttl,) in _NUMBER.iter_unpack(answers)]
        except RegistryError as error:
            for _, answer in batch:
                answer.set_exception(error)
                answer.exception()  # whoever waited may have gone
        else:
            for (_, answer), ttl in zip(batch, ttls, strict=True):
                answer.set_result(ttl)
        finally:
            self._waiting_count -= len(batch)

    async def _on_renew(self, payload: bytes) -> bytes:
        lease_ids = [lease_id for (lease_id,) in _NUMBER.iter_unpack(payload)]
        return b"".join(map(_NUMBER.pack, await self._renew_here(lease_ids)))

    async def _on_time_to_live(self, payload: bytes) -> bytes:
        # A follower may have applied, and answered for, what its leader has only committed.
        await self._read()
        request = LeaseTimeToLiveRequest.FromString(payload)
        response = LeaseTimeToLiveResponse(ID=request.ID, TTL=NO_SUCH_LEASE)
        lease = self._lessor.lookup(request.ID)
        if lease is not None:
            response.TTL = self._lessor.time_to_live(request.ID, self._clock())
            response.grantedTTL = lease.ttl_seconds
            if request.keys:
                response.keys.extend(lease.keys)
        return response.SerializeToString()
