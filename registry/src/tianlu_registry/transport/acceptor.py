"""Connections that others have dialled: from the socket to whoever handles their kind."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Final

from tianlu_registry.errors import RegistryError, Unavailable
from tianlu_registry.raft import NO_MEMBER, InstallSnapshot, MemberId, Message
from tianlu_registry.transport.addresses import PeerAddress
from tianlu_registry.transport.calls import Answerer
from tianlu_registry.transport.change_log import ChangeLog
from tianlu_registry.transport.codec import decode_message
from tianlu_registry.transport.connection import Connection, connecting
from tianlu_registry.transport.errors import BadPeerMessage, PeerRefused, PeerUnreachable
from tianlu_registry.transport.frames import Frame, FrameKind
from tianlu_registry.transport.handler import Admission, PeerHandler, PeerIdentity
from tianlu_registry.transport.handshake import CALL, LOG, Remote, silent_checks_max, welcome
from tianlu_registry.transport.limits import TransportLimits
from tianlu_registry.transport.snapshot_receiver import SnapshotReceiver
from tianlu_registry.transport.status import PeerCounters
from tianlu_registry.transport.tasks import TaskSet
from tianlu_registry.transport.tls import PeerTls, describe_tls_error

logger = logging.getLogger(__name__)

STRANGER_BYTES_MAX: Final = 64 * 1024
"""A frame of somebody who is no member yet."""

STRANGER_CALLS_MAX: Final = 4


class Acceptor:
    """Serves what the listener accepts.

    Args:
        connections: all that are open, dialled ones included; kept up to date by themselves.
        counters_of: a member's counters.
        on_member_seen: called when a member has opened a log connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        identity: PeerIdentity,
        handler: PeerHandler,
        receiver: SnapshotReceiver,
        *,
        tls: PeerTls | None,
        limits: TransportLimits,
        admit: Admission,
        open_methods: AbstractSet[str],
        tasks: TaskSet,
        connections: set[Connection],
        change_log: ChangeLog,
        counters_of: Callable[[MemberId], PeerCounters],
        on_member_seen: Callable[[MemberId], None],
    ) -> None:
        self._loop = loop
        self._identity = identity
        self._handler = handler
        self._receiver = receiver
        self._tls = tls
        self._limits = limits
        self._admit = admit
        self._open_methods = open_methods
        self._tasks = tasks
        self._connections = connections
        self._change_log = change_log
        self._counters_of = counters_of
        self._on_member_seen = on_member_seen
        self.accepted_count = 0
        self._serving = 0
        self._members: dict[Connection, MemberId] = {}
        self._strangers = 0
        self._unknown: dict[asyncio.Task[None], socket.socket] = {}
        self._logs: dict[MemberId, Connection] = {}

    def accept(self, sock: socket.socket, address: PeerAddress, origin: str) -> None:
        """Serve a new socket, or close it if there are too many."""
        if self._serving >= self._limits.connections_max:
            self._change_log.note("peer_connections_full", address.url, "too many connections")
            if not self._evict_unknown():
                sock.close()
                return
        sock.setblocking(False)
        self._serving += 1
        self.accepted_count += 1
        task = self._tasks.spawn(self._serve(sock, address, origin), "peer-serve")
        self._unknown[task] = sock
        task.add_done_callback(self._on_served)

    def drop(self, member: MemberId) -> None:
        """Close what a member has open here. It may dial again, and is then let in or not."""
        for connection, whose in list(self._members.items()):
            if whose == member:
                connection.close()

    def _evict_unknown(self) -> bool:
        """End the connection that has been longest in its handshake; False if there is none."""
        for task in self._unknown:
            if not task.cancelling():
                task.cancel()
                return True
        return False

    def _on_served(self, task: asyncio.Task[None]) -> None:
        self._serving -= 1
        sock = self._unknown.pop(task, None)
        if sock is not None and task.cancelled():
            sock.close()  # it may have been cancelled before its first step

    async def _serve(self, sock: socket.socket, address: PeerAddress, origin: str) -> None:
        connection = Connection(self._loop, self._connections)
        try:
            remote = await self._open(connection, sock, address)
        except (RegistryError, OSError, TimeoutError) as error:
            self._change_log.note("peer_not_accepted", origin, _describe(error))
            connection.close(flush=isinstance(error, PeerRefused))
            return
        except BaseException:
            connection.close()
            raise
        finally:
            self._forget_unknown()
        self._members[connection] = remote.member
        try:
            await self._serve_kind(connection, remote)
        except RegistryError as error:
            connection.close(error)
        finally:
            del self._members[connection]
            connection.close()
            self._note_end(connection, remote)

    def _forget_unknown(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._unknown.pop(task, None)

    async def _open(
        self, connection: Connection, sock: socket.socket, address: PeerAddress
    ) -> Remote:
        """Shake hands.

        Raises:
            RegistryError, OSError, TimeoutError: it came to nothing.
        """
        async with asyncio.timeout(self._limits.handshake_seconds):
            context = self._tls.server_context() if address.is_tls and self._tls else None
            await connecting(
                self._loop.connect_accepted_socket(lambda: connection, sock, ssl=context)
            )
            admit = partial(self._refusal, connection.ssl_object)
            remote = await welcome(connection, self._identity, admit)
        connection.establish(self._frame_bytes_max(remote), silent_checks_max(remote.kind))
        return remote

    def _refusal(self, ssl_object: ssl.SSLObject | None, member: MemberId) -> str | None:
        """Say why a member or stranger whose HELLO fits is not let in, or None."""
        if ssl_object is not None and self._tls is not None:
            refusal = self._tls.refusal(ssl_object)
            if refusal is not None:
                return refusal
        if member != NO_MEMBER:
            return self._admit(member)
        if self._strangers >= self._limits.stranger_connections_max:
            return "too many connections of strangers"
        return None

    def _frame_bytes_max(self, remote: Remote) -> int:
        if remote.member == NO_MEMBER:
            return STRANGER_BYTES_MAX
        return self._limits.frame_bytes_max

    async def _serve_kind(self, connection: Connection, remote: Remote) -> None:
        """Handle the connection until it ends."""
        connection.traffic = self._counters_of(remote.member)
        if remote.kind == LOG:
            await self._serve_log(connection, remote.member)
        elif remote.kind == CALL:
            await self._serve_calls(connection, remote.member)
        else:
            await self._receiver.receive(connection, remote.member)

    async def _serve_log(self, connection: Connection, member: MemberId) -> None:
        older, self._logs[member] = self._logs.get(member), connection
        if older is not None:
            older.close(PeerUnreachable("tianlu: the member has opened a new connection"))
        counters = connection.traffic

        def take(frames: list[Frame]) -> None:
            messages = [self._message(frame, member) for frame in frames]
            counters.messages_received += len(messages)
            self._handler.on_messages(messages)

        connection.set_sink(take)
        self._on_member_seen(member)
        try:
            await connection.closed
        finally:
            if self._logs.get(member) is connection:
                del self._logs[member]

    def _message(self, frame: Frame, member: MemberId) -> Message:
        kind, body = frame
        if kind != FrameKind.MESSAGE:
            raise BadPeerMessage(f"tianlu: a frame of kind {kind} among messages")
        message = decode_message(body)
        if message.sender != member or message.to != self._identity.member_id:
            raise BadPeerMessage(
                f"tianlu: a message from {message.sender:x} to {message.to:x} "
                f"on the connection of {member:x}"
            )
        if isinstance(message, InstallSnapshot):
            raise BadPeerMessage("tianlu: install_snapshot without its data")
        return message

    async def _serve_calls(self, connection: Connection, member: MemberId) -> None:
        async def answer(method: str, payload: bytes) -> bytes:
            if member == NO_MEMBER and method not in self._open_methods:
                raise Unavailable(f"tianlu: {method} is for members of the cluster only")
            return await self._handler.on_call(member, method, payload)

        is_stranger = member == NO_MEMBER
        answerer = Answerer(
            connection,
            answer,
            tasks=self._tasks,
            calls_max=STRANGER_CALLS_MAX if is_stranger else self._limits.calls_max,
            frame_bytes_max=self._limits.frame_bytes_max,
        )
        self._strangers += is_stranger
        try:
            await connection.closed
        finally:
            self._strangers -= is_stranger
            answerer.on_closed()

    def _note_end(self, connection: Connection, remote: Remote) -> None:
        """Log what a member did wrong; that it went away is logged by who dials it."""
        if isinstance(connection.error, BadPeerMessage):
            self._change_log.note(
                "peer_misbehaved", f"{remote.member:x}", _describe(connection.error)
            )


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no handshake in time"
    if isinstance(error, OSError):
        return describe_tls_error(error)
    return str(error).removeprefix("tianlu: ")
