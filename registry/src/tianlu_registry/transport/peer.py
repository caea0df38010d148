"""One other member, as this one dials it: the log connection, and what waits for it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from tianlu_registry.errors import RegistryError
from tianlu_registry.raft import MemberId, Message
from tianlu_registry.transport.call_link import CallLink
from tianlu_registry.transport.change_log import ChangeLog
from tianlu_registry.transport.codec import encode_message
from tianlu_registry.transport.connection import Connection
from tianlu_registry.transport.dialer import Backoff, Dialer
from tianlu_registry.transport.errors import BadPeerMessage
from tianlu_registry.transport.frames import Frame
from tianlu_registry.transport.handshake import LOG, Remote
from tianlu_registry.transport.limits import TransportLimits
from tianlu_registry.transport.outbox import Outbox
from tianlu_registry.transport.status import PeerCounters, PeerStatus

logger = logging.getLogger(__name__)


class Peer:
    """Keeps a log connection to one member and sends messages on it.

    Args:
        dialer: for its URLs.
        on_dropped: called when messages that were taken by `send` will not arrive.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        member: MemberId,
        urls: tuple[str, ...],
        *,
        dialer: Dialer,
        limits: TransportLimits,
        change_log: ChangeLog,
        on_dropped: Callable[[MemberId], None],
    ) -> None:
        self.member = member
        self.urls = urls
        self.dialer = dialer
        self.counters = PeerCounters()
        self.calls = CallLink(dialer, limits, self.counters)
        self._loop = loop
        self._limits = limits
        self._change_log = change_log
        self._on_dropped = on_dropped
        self._outbox = Outbox(limits.send_queue_bytes_max, limits.send_queue_messages_max)
        self._connection: Connection | None = None
        self._since = loop.time()
        self._release = ""
        self._last_error = ""
        self._retry = asyncio.Event()

    def send(self, message: Message) -> bool:
        """Take a message for the next `flush`; False if it is dropped."""
        if self._connection is not None and self._push(encode_message(message)):
            self.counters.messages_sent += 1
            return True
        self.counters.dropped += 1
        return False

    def _push(self, body: bytes) -> bool:
        if len(body) < self._limits.frame_bytes_max:
            return self._outbox.push(body)
        # Its receiver would close the connection for it, again and again.
        logger.error("peer_message_too_large peer=%x bytes=%d", self.member, len(body))
        return False

    def flush(self) -> None:
        """Write what waits, as far as the other side takes it."""
        connection = self._connection
        while connection is not None and connection.is_writable and len(self._outbox):
            buffers, size = self._outbox.pop_batch()
            connection.write_buffers(buffers, size)

    def dial_now(self) -> None:
        """Do not wait for the next attempt: the member has just shown that it is there."""
        self._retry.set()

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        limits = self._limits
        backoff = Backoff(
            limits.reconnect_seconds_min,
            limits.reconnect_seconds_max,
            random.random,
        )
        try:
            while True:
                if await self._connect_once():
                    backoff.reset()
                self._retry.clear()
                await self._pause(backoff.next())
        finally:
            if self._connection is not None:
                self._connection.close()
                logger.info("peer_left peer=%x", self.member)
            self._on_disconnected()
            self.calls.close()

    def status(self) -> PeerStatus:
        counters, connection = self.counters, self._connection
        return PeerStatus(
            urls=self.urls,
            connected=connection is not None,
            since=self._since,
            release=self._release,
            round_trip_seconds=connection.round_trip_seconds if connection else None,
            round_trips=counters.round_trips,
            bytes_sent=counters.bytes_sent,
            bytes_received=counters.bytes_received,
            messages_sent=counters.messages_sent,
            messages_received=counters.messages_received,
            dropped=counters.dropped,
            queue_bytes=self._outbox.bytes,
            queue_messages=len(self._outbox),
            connects=counters.connects,
            snapshots_sent=counters.snapshots_sent,
            snapshots_failed=counters.snapshots_failed,
            last_error=self._last_error,
        )

    async def _connect_once(self) -> bool:
        """Make one attempt and stay until the connection ends; True if it lasted."""
        try:
            connection, remote = await self.dialer.dial(LOG)
        except RegistryError as error:
            self._note_error(_reason(error))
            return False
        except Exception:
            # A bug must not cut this member off from that one for ever.
            logger.exception("peer_dial_failed peer=%x", self.member)
            self._note_error("dialling failed unforeseen; see the log")
            return False
        self._on_connected(connection, remote)
        started = self._loop.time()
        await connection.closed
        self._on_disconnected()
        self._note_error(_reason(connection.error))
        return self._loop.time() - started > self._limits.reconnect_seconds_max

    def _on_connected(self, connection: Connection, remote: Remote) -> None:
        connection.traffic = self.counters
        connection.on_writable(self.flush)
        connection.set_sink(_refuse_frames)
        self._connection = connection
        self._since = self._loop.time()
        self._release = remote.release
        self._last_error = ""
        self.counters.connects += 1
        self._change_log.forget(f"{self.member:x}")
        logger.info("peer_connected peer=%x release=%s", self.member, remote.release)

    def _on_disconnected(self) -> None:
        if self._connection is None:
            return
        self._connection = None
        self._since = self._loop.time()
        self.counters.dropped += self._outbox.clear()
        # Also what is already in the kernel's buffer may be lost.
        self._on_dropped(self.member)

    def _note_error(self, reason: str) -> None:
        self._last_error = reason
        self._change_log.note("peer_not_connected", f"{self.member:x}", reason)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._retry.wait()
        except TimeoutError:
            pass


def _refuse_frames(frames: list[Frame]) -> None:
    """A log connection carries messages one way only."""
    raise BadPeerMessage(f"tianlu: a frame of kind {frames[0][0]} where it cannot be")


def _reason(error: RegistryError | None) -> str:
    return str(error).removeprefix("tianlu: ")
