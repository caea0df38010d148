"""The transport's face: see the package for its use, DESIGN.md for what it promises."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from tianlu_registry.errors import check
from tianlu_registry.raft import NO_MEMBER, InstallSnapshot, MemberId, Message
from tianlu_registry.transport.acceptor import Acceptor
from tianlu_registry.transport.addresses import PeerAddress
from tianlu_registry.transport.call_link import CallLink
from tianlu_registry.transport.change_log import ChangeLog
from tianlu_registry.transport.connection import SILENT_CHECKS, Connection
from tianlu_registry.transport.dialer import Dialer
from tianlu_registry.transport.errors import CannotListen, PeerUnreachable
from tianlu_registry.transport.handler import (
    Admission,
    CopySnapshot,
    PeerHandler,
    PeerIdentity,
    admit_all,
)
from tianlu_registry.transport.limits import TransportLimits
from tianlu_registry.transport.listener import Listener
from tianlu_registry.transport.peer import Peer
from tianlu_registry.transport.snapshot_file import remove_leftovers
from tianlu_registry.transport.snapshot_receiver import SnapshotReceiver
from tianlu_registry.transport.snapshot_sender import SnapshotSender
from tianlu_registry.transport.status import PeerCounters, PeerStatus
from tianlu_registry.transport.tasks import TaskSet
from tianlu_registry.transport.tls import PeerTls

logger = logging.getLogger(__name__)

OPEN_METHODS: Final = frozenset({"members"})


class Transport:
    """Connects this member with the others.

    Made and used on the thread of the running event loop.

    Args:
        identity: who this is.
        handler: the node; see `PeerHandler` for when it is called.
        snapshot_dir: incoming raft_snapshots are collected here; nothing else's files are touched.
        listen: where other members reach this one.
        tls: for https URLs, in both directions.
        admit: says why a member is not let in.
        open_methods: the calls that may come from strangers.
    """

    def __init__(
        self,
        *,
        identity: PeerIdentity,
        handler: PeerHandler,
        snapshot_dir: Path,
        listen: Sequence[PeerAddress] = (),
        tls: PeerTls | None = None,
        limits: TransportLimits | None = None,
        admit: Admission = admit_all,
        open_methods: AbstractSet[str] = OPEN_METHODS,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.identity = identity
        self._handler = handler
        self._snapshot_dir = snapshot_dir
        self._listen = tuple(listen)
        self._tls = tls
        self._limits = limits or TransportLimits()
        self._tasks = TaskSet(self._loop)
        self._change_log = ChangeLog(logger)
        self._connections: set[Connection] = set()
        self._peers: dict[MemberId, Peer] = {}
        self._peer_tasks: dict[MemberId, asyncio.Task[None]] = {}
        self._sendings: dict[MemberId, asyncio.Task[bool]] = {}
        self._flush_due: dict[MemberId, Peer] = {}
        self._unreachable: set[MemberId] = set()
        self._stopped = False
        self._workers = ThreadPoolExecutor(2, thread_name_prefix="tianlu-peer-snapshot")
        self._sender = SnapshotSender(self._loop, limits=self._limits, workers=self._workers)
        self._acceptor = Acceptor(
            self._loop,
            identity,
            handler,
            SnapshotReceiver(
                self._loop,
                snapshot_dir,
                identity,
                handler,
                limits=self._limits,
                workers=self._workers,
            ),
            tls=tls,
            limits=self._limits,
            admit=admit,
            open_methods=open_methods,
            tasks=self._tasks,
            connections=self._connections,
            change_log=self._change_log,
            counters_of=self._counters_of,
            on_member_seen=self._on_member_seen,
        )
        self._listener = Listener(self._loop, self._acceptor.accept)
        self._check_timer = self._loop.call_later(self._check_seconds, self._check_connections)

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            CannotListen: an address cannot be bound; none is.
        """
        for address in self._listen:
            if address.is_tls and self._tls is None:
                raise CannotListen(
                    f"tianlu: cannot listen at {address.url}: give --peer-cert-file and "
                    "--peer-key-file, or an http URL"
                )
        await self._loop.run_in_executor(self._workers, remove_leftovers, self._snapshot_dir)
        await self._listener.start(self._listen)
        for address in self._listener.addresses:
            logger.info("peer_listening url=%s", address.url)

    async def stop(self) -> None:
        """Close everything. Calls under way fail; what waits to be sent is lost; nothing more is
        reported. May be called twice."""
        self._stopped = True
        self._check_timer.cancel()
        self._peers.clear()
        self._listener.close()
        await self._tasks.cancel_all()
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        if connections:
            await asyncio.wait([connection.closed for connection in connections])
        self._workers.shutdown(wait=False, cancel_futures=True)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The URLs that are listened at; ports that the kernel chose are filled in."""
        return tuple(address.url for address in self._listener.addresses)

    @property
    def accepted_count(self) -> int:
        """How many connections were accepted so far."""
        return self._acceptor.accepted_count

    def set_peers(self, peers: Mapping[MemberId, Sequence[str]]) -> None:
        """Say who the other members are and where. Connections with those who are gone or have
        moved are closed, in both directions; the others are left alone. Who is gone may dial
        again: `admit` decides.

        Args:
            peers: each with at least one URL. This member itself is left out if it is among them.
        """
        wanted = {
            member: tuple(urls)
            for member, urls in peers.items()
            if member != self.identity.member_id and urls
        }
        for member, peer in list(self._peers.items()):
            if wanted.get(member) != peer.urls:
                self._drop_peer(member)
                self._acceptor.drop(member)
        for member, urls in wanted.items():
            if member not in self._peers and not self._stopped:
                self._add_peer(member, urls)

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages; never waits. What cannot be sent is dropped, and its receiver reported to
        `PeerHandler.on_unreachable` in a later turn.

        What is given within one turn of the loop is written as one.
        """
        for message in messages:
            check(
                not isinstance(message, InstallSnapshot),
                "an InstallSnapshot is sent by send_snapshot, with its data",
            )
            peer = self._peers.get(message.to)
            if peer is None or not peer.send(message):
                self._report_unreachable(message.to)
                continue
            if not self._flush_due:
                self._loop.call_soon(self._flush)
            self._flush_due[message.to] = peer

    def send_snapshot(self, message: InstallSnapshot, copy: CopySnapshot) -> None:
        """Bring a raft_snapshot to `message.to`, in the background.

        It ends with `PeerHandler.on_snapshot_sent`, unless a newer one to the same member takes its
        place, or the transport stops.

        Args:
            copy: makes the copy when its turn has come.
        """
        older = self._sendings.pop(message.to, None)
        if older is not None:
            older.cancel()
        if not self._stopped:
            task = self._sendings[message.to] = self._tasks.spawn(
                self._send_snapshot(message.to, copy), f"peer-snapshot {message.to:x}"
            )
            task.add_done_callback(partial(self._on_snapshot_sent, message.to))

    async def call(
        self, to: MemberId | str, method: str, payload: bytes, timeout_seconds: float
    ) -> bytes:
        """Ask a member.

        Args:
            to: a member given to `set_peers`, or the URL of anybody of the cluster.

        Raises:
            PeerUnreachable: it was not asked, or the connection ended before the answer; in that
                case it may have done what was asked.
            RequestTimeout: no answer in time; the same.
            TooManyRequests, RequestTooLarge: it was not asked.
            RegistryError: what it answered.
        """
        deadline = self._loop.time() + timeout_seconds
        if self._stopped:
            raise PeerUnreachable("tianlu: the transport has stopped")
        if isinstance(to, str):
            link = CallLink(self._make_dialer((to,), NO_MEMBER), self._limits)
            try:
                return await link.call(method, payload, deadline)
            finally:
                link.close()
        peer = self._peers.get(to)
        if peer is None:
            raise PeerUnreachable(f"tianlu: member {to:x} is not known")
        return await peer.calls.call(method, payload, deadline)

    def peer_status(self) -> dict[MemberId, PeerStatus]:
        """Return every other member's figures."""
        return {member: peer.status() for member, peer in self._peers.items()}

    # ---------------------------------------------------------------- inside

    @property
    def _check_seconds(self) -> float:
        return self._limits.dead_after_seconds / SILENT_CHECKS

    def _add_peer(self, member: MemberId, urls: tuple[str, ...]) -> None:
        peer = self._peers[member] = Peer(
            self._loop,
            member,
            urls,
            dialer=self._make_dialer(urls, member),
            limits=self._limits,
            change_log=self._change_log,
            on_dropped=self._report_unreachable,
        )
        self._peer_tasks[member] = self._tasks.spawn(peer.run(), f"peer-dial {member:x}")

    def _drop_peer(self, member: MemberId) -> None:
        del self._peers[member]
        self._flush_due.pop(member, None)
        self._peer_tasks.pop(member).cancel()
        sending = self._sendings.get(member)
        if sending is not None:
            sending.cancel()

    def _make_dialer(self, urls: Sequence[str], receiver: MemberId) -> Dialer:
        return Dialer(
            self._loop,
            self.identity,
            urls,
            receiver,
            tls=self._tls,
            limits=self._limits,
            make=lambda: Connection(self._loop, self._connections),
        )

    def _flush(self) -> None:
        due = list(self._flush_due.values())
        self._flush_due.clear()
        for peer in due:
            peer.flush()

    def _report_unreachable(self, member: MemberId) -> None:
        if not self._unreachable:
            self._loop.call_soon(self._tell_unreachable)
        self._unreachable.add(member)

    def _tell_unreachable(self) -> None:
        members = list(self._unreachable)
        self._unreachable.clear()
        if self._stopped:
            return
        for member in members:
            self._tell(partial(self._handler.on_unreachable, member))

    async def _send_snapshot(self, member: MemberId, copy: CopySnapshot) -> bool:
        peer = self._peers.get(member)
        return peer is not None and await self._sender.send(copy, peer.dialer, peer.counters)

    def _on_snapshot_sent(self, member: MemberId, task: asyncio.Task[bool]) -> None:
        if self._sendings.get(member) is not task:
            return  # a newer one has taken its place
        del self._sendings[member]
        installed = not task.cancelled() and task.exception() is None and task.result()
        counters = self._counters_of(member)
        counters.snapshots_sent += installed
        counters.snapshots_failed += not installed
        if not self._stopped:
            self._tell(lambda: self._handler.on_snapshot_sent(member, installed=installed))

    def _tell(self, event: Callable[[], None]) -> None:
        """Tell the handler of something; what it raises is its own trouble."""
        try:
            event()
        except Exception:
            logger.exception("peer_handler_failed")

    def _counters_of(self, member: MemberId) -> PeerCounters:
        peer = self._peers.get(member)
        return peer.counters if peer is not None else PeerCounters()

    def _on_member_seen(self, member: MemberId) -> None:
        peer = self._peers.get(member)
        if peer is not None:
            peer.dial_now()

    def _check_connections(self) -> None:
        self._check_timer = self._loop.call_later(self._check_seconds, self._check_connections)
        for connection in list(self._connections):
            connection.check()
