"""One connection, either end: frames in and out, and whether the other side is still there.

Both ends send a PING at every `check` and count what they hear: after some checks without a
byte the connection is closed. Hearing depends neither on how much waits to be sent nor on how
long a frame is, so a slow link is not taken for a dead one; a peer that is stopped, or cut off in
either direction, is noticed by whichever end hears nothing and by the other when the first one
closes. Checks are counted, not seconds: a process that was itself suspended listens before it
judges.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, cast

from tianlu_registry.errors import RegistryError
from tianlu_registry.transport.errors import BadPeerMessage, PeerUnreachable
from tianlu_registry.transport.frames import (
    HEADER_BYTES,
    PREFACE,
    Frame,
    FrameKind,
    FrameReader,
    frame_header,
)
from tianlu_registry.transport.status import PeerCounters

logger = logging.getLogger(__name__)

SILENT_CHECKS: Final = 4
"""Where consensus messages go."""

SILENT_CHECKS_PATIENT: Final = 16
"""Where a broken connection costs more than a late answer: calls and raft_snapshots."""

HANDSHAKE_BYTES_MAX: Final = 4096
"""A frame of somebody who has not said who it is."""

INBOX_BYTES_MAX: Final = 1024 * 1024
"""Frames that wait for `receive`; beyond them reading pauses."""

WRITE_BUFFER_BYTES: Final = 256 * 1024
"""What is handed to the transport before it is asked to wait; the kernel's buffer comes on top."""

_TIME = struct.Struct("<d")
_KEEPALIVE: Final = frozenset((int(FrameKind.PING), int(FrameKind.PONG)))

FrameSink = Callable[[list[Frame]], None]


class Connection(asyncio.Protocol):
    """Frames over one socket.

    Args:
        loop: the loop that owns it.
        registry: holds it while its socket is open.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, registry: set[Connection]) -> None:
        self._loop = loop
        self._registry = registry
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(HANDSHAKE_BYTES_MAX)
        self._sink: FrameSink | None = None
        self._inbox: deque[Frame] = deque()
        self._inbox_bytes = 0
        self._received: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._on_writable: Callable[[], None] | None = None
        self._silent_checks = 0
        self._checks = 0
        self._reading_paused = False
        self._greeted = False
        self._silent_checks_max = 0
        self._sent_since_check = False
        self.error: RegistryError | None = None
        """Why it ended; None while it lives."""

        self.closed: asyncio.Future[None] = loop.create_future()
        """Done when the socket is closed."""

        self.traffic = PeerCounters()
        """Where bytes are counted; whoever knows the member gives its own."""

        self.round_trip_seconds: float | None = None

    # ---------------------------------------------------------------- the loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._registry.add(self)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self.error is not None:  # closed while it was being made
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._silent_checks = 0
        self.traffic.bytes_received += len(data)
        if self.error is not None:
            return
        try:
            frames = self._reader.feed(data)
        except RegistryError as error:
            self.close(error)
            return
        if any(kind in _KEEPALIVE for kind, _ in frames):
            frames = [frame for frame in frames if not self._is_keepalive(frame)]
        if frames:
            self._deliver(frames)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        if self._on_writable is not None:
            self._on_writable()

    def eof_received(self) -> None:
        """Let the transport close: there are no half-open connections."""

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self.error is None:
            self.error = PeerUnreachable(
                f"tianlu: the connection was lost: {error}" if error else _CLOSED_BY_PEER
            )
        self._writable.set()
        self._wake_receiver()
        self._registry.discard(self)
        if not self.closed.done():
            self.closed.set_result(None)

    # ---------------------------------------------------------------- the users' side

    @property
    def is_open(self) -> bool:
        return self.error is None and self._transport is not None

    @property
    def is_writable(self) -> bool:
        """False while the other side does not keep up."""
        return self._writable.is_set()

    @property
    def peer_version(self) -> int:
        """The protocol version in the other side's preface; 0 before it is here."""
        return self._reader.version

    @property
    def ssl_object(self) -> ssl.SSLObject | None:
        """The TLS session, or None."""
        if self._transport is None:
            return None
        return cast("ssl.SSLObject | None", self._transport.get_extra_info("ssl_object"))

    def establish(self, frame_bytes_max: int, silent_checks_max: int) -> None:
        """End the handshake: larger frames may come, and the other side must be heard."""
        self._reader.frame_bytes_max = frame_bytes_max
        self._silent_checks_max = silent_checks_max

    def set_sink(self, sink: FrameSink) -> None:
        """Give frames to `sink` from now on, instead of to `receive`.

        It is called from the loop with at least one frame, and closes the connection by raising.
        """
        self._sink = sink
        waiting = list(self._inbox)
        self._inbox.clear()
        self._inbox_bytes = 0
        self.resume_reading()
        if waiting and self.error is None:
            self._deliver(waiting)

    def on_writable(self, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever more can be written again."""
        self._on_writable = callback

    async def receive(self, *kinds: FrameKind) -> Frame:
        """Return the next frame.

        Raises:
            BadPeerMessage: it is of another kind than `kinds`.
            RegistryError: why the connection has ended.
        """
        while not self._inbox:
            if self.error is not None:
                raise self.error
            self._received = self._loop.create_future()
            await self._received
        kind, body = self._inbox.popleft()
        self._inbox_bytes -= len(body)
        if self._inbox_bytes <= INBOX_BYTES_MAX // 2:
            self.resume_reading()
        if kind not in kinds:
            raise BadPeerMessage(f"tianlu: a frame of kind {kind} where it cannot be")
        return kind, body

    def write(self, kind: FrameKind, body: bytes) -> None:
        """Send one frame. Never waits; see `is_writable` and `drain`."""
        self.write_buffers((frame_header(kind, len(body)), body), HEADER_BYTES + len(body))

    def write_buffers(self, buffers: Iterable[bytes], size: int) -> None:
        """Send frames that are made up already, `size` bytes in all."""
        if self._transport is None or self.error is not None:
            return
        if not self._greeted:
            self._greeted = True
            self._transport.write(PREFACE)
        self.traffic.bytes_sent += size
        self._sent_since_check = True
        self._transport.writelines(buffers)

    async def drain(self) -> None:
        """Wait until more may be written.

        Raises:
            RegistryError: why the connection has ended.
        """
        await self._writable.wait()
        if self.error is not None:
            raise self.error

    def pause_reading(self) -> None:
        """Let the other side wait."""
        if not self._reading_paused and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._silent_checks = 0
            if self._transport is not None:
                self._transport.resume_reading()

    def check(self) -> None:
        """Close it if nothing was heard for too many calls; else show that we are here."""
        if self._transport is None or self.error is not None or not self._silent_checks_max:
            return  # the handshake has a deadline of its own
        if self._silent_checks >= self._silent_checks_max and not self._reading_paused:
            self.close(PeerUnreachable("tianlu: the connection is dead: nothing was heard on it"))
            return
        self._silent_checks += 1
        self._checks += 1
        # What was sent shows as much as a PING; one now and then measures the round trip.
        is_due = not self._sent_since_check or self._checks % SILENT_CHECKS == 0
        if is_due and self._transport.get_write_buffer_size() == 0:
            self.write(FrameKind.PING, _TIME.pack(self._loop.time()))
        self._sent_since_check = False

    def close(self, error: RegistryError | None = None, *, flush: bool = False) -> None:
        """End it.

        Args:
            error: why; whoever waits in `receive` or `drain` gets it.
            flush: send what was written first, as far as the other side takes it.
        """
        if self.error is None:
            self.error = error or PeerUnreachable("tianlu: the connection was closed")
            self._wake_receiver()
            self._writable.set()
        if self._transport is not None:
            if flush:
                self._transport.close()
            else:
                self._transport.abort()

    # ---------------------------------------------------------------- inside

    def _is_keepalive(self, frame: Frame) -> bool:
        """Answer a PING, measure by a PONG."""
        kind, body = frame
        if kind == FrameKind.PING:
            if self._transport is not None and self.is_writable:
                self.write(FrameKind.PONG, body[: _TIME.size])
            return True
        if kind == FrameKind.PONG:
            with contextlib.suppress(struct.error):
                self.round_trip_seconds = max(0.0, self._loop.time() - _TIME.unpack(body)[0])
                self.traffic.round_trips.add(self.round_trip_seconds)
            return True
        return False

    def _deliver(self, frames: list[Frame]) -> None:
        if self._sink is not None:
            try:
                self._sink(frames)
            except RegistryError as error:
                self.close(error)
            except Exception:
                logger.exception("peer_receive_failed")
                self.close(PeerUnreachable("tianlu: a message could not be taken; see the log"))
            return
        self._inbox.extend(frames)
        self._inbox_bytes += sum(len(body) for _, body in frames)
        if self._inbox_bytes > INBOX_BYTES_MAX:
            self.pause_reading()
        self._wake_receiver()

    def _wake_receiver(self) -> None:
        if self._received is not None and not self._received.done():
            self._received.set_result(None)


async def connecting(work: Coroutine[Any, Any, tuple[asyncio.Transport, Connection]]) -> Connection:
    """Await what the loop makes a connection with; being cancelled leaks no socket.

    asyncio loses the socket when a TLS connection is cancelled in the first turns of its making
    (Python 3.11, `SSLProtocol._start_shutdown` before `connection_made`), so those are waited for.
    """
    making = asyncio.ensure_future(work)
    try:
        _, connection = await asyncio.shield(making)
    except asyncio.CancelledError:
        for _ in range(_FIRST_TURNS):
            await asyncio.sleep(0)
        making.cancel()
        await asyncio.wait([making])
        if not making.cancelled() and making.exception() is None:
            making.result()[1].close()
        raise
    return connection


_FIRST_TURNS: Final = 3
_CLOSED_BY_PEER: Final = "tianlu: the other side closed the connection"
