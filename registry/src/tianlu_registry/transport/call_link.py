"""The call connection to one member: made by the first call, kept for the next ones."""

from __future__ import annotations

import asyncio

from tianlu_registry.transport.calls import Caller
from tianlu_registry.transport.connection import Connection
from tianlu_registry.transport.dialer import Dialer
from tianlu_registry.transport.errors import PeerUnreachable
from tianlu_registry.transport.handshake import CALL
from tianlu_registry.transport.limits import TransportLimits
from tianlu_registry.transport.status import PeerCounters


class CallLink:
    """Calls to whom `dialer` dials."""

    def __init__(
        self, dialer: Dialer, limits: TransportLimits, traffic: PeerCounters | None = None
    ) -> None:
        self._dialer = dialer
        self._limits = limits
        self._traffic = traffic
        self._connection: Connection | None = None
        self._caller: Caller | None = None
        self._dialling = asyncio.Lock()

    async def call(self, method: str, payload: bytes, deadline: float) -> bytes:
        """Ask, and wait for the answer; see `Transport.call`."""
        try:
            async with asyncio.timeout_at(deadline):
                caller = await self._connected()
        except TimeoutError as error:
            raise PeerUnreachable("tianlu: the member could not be reached in time") from error
        return await caller.call(method, payload, deadline)

    def close(self) -> None:
        """Fail what is under way. A later call connects again."""
        if self._connection is not None:
            self._connection.close()

    async def _connected(self) -> Caller:
        async with self._dialling:
            if self._caller is not None and self._caller.is_open:
                return self._caller
            connection, _ = await self._dialer.dial(CALL)
            if self._traffic is not None:
                connection.traffic = self._traffic
            caller = Caller(
                connection,
                calls_max=self._limits.calls_max,
                frame_bytes_max=self._limits.frame_bytes_max,
            )
            connection.closed.add_done_callback(
                lambda _: caller.on_closed(connection.error or PeerUnreachable())
            )
            self._connection, self._caller = connection, caller
            return caller
