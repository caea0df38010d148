"""The other members: connections to them, and what arrives by these."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from tianlu._proto.etcd.rpc_pb2 import MemberListResponse
from tianlu_registry.errors import Unavailable
from tianlu_registry.node.cluster_state import ClusterState
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.node.identity import Identity
from tianlu_registry.node.leader_link import Handler, LeaderLink
from tianlu_registry.node.loop import ReadyLoop
from tianlu_registry.node.membership import MemberRecord
from tianlu_registry.node.snapshot_exchange import SnapshotExchange
from tianlu_registry.raft import InstallSnapshot, MemberId, Message
from tianlu_registry.transport.addresses import PeerAddress
from tianlu_registry.transport.handler import PeerIdentity
from tianlu_registry.transport.limits import TransportLimits
from tianlu_registry.transport.status import PeerStatus
from tianlu_registry.transport.tls import PeerTls
from tianlu_registry.transport.transport import Transport

_log = logging.getLogger(__name__)

MEMBERS = "members"
"""The call that a joining node makes, which knows no number of its own yet."""

REMOVED: Final = "was removed from the cluster"
"""In the refusal that a removed member gets."""

FAREWELL_ELECTIONS: Final = 5
"""A removed member is talked to for so many election timeouts more, so that it learns of it, and
so that its vote helps the others to learn of it: raft/DESIGN.md, duty 17."""


class Peers:
    """Implements `transport.PeerHandler`, and owns the transport.

    Args:
        config, identity: the node's.
        cluster: who the members are.
        ready_loop: takes messages.
        snapshots: makes and takes raft_snapshots.
        directory: for incoming raft_snapshots.
    """

    def __init__(
        self,
        config: NodeConfig,
        identity: Identity,
        cluster: ClusterState,
        ready_loop: ReadyLoop,
        snapshots: SnapshotExchange,
        *,
        directory: Path,
    ) -> None:
        self._identity = identity
        self._cluster = cluster
        self._ready_loop = ready_loop
        self._snapshots = snapshots
        self._methods: dict[str, Handler] = {}
        self._leader: LeaderLink | None = None
        self._loop = asyncio.get_running_loop()
        self._known: Mapping[MemberId, MemberRecord] = {}
        self._leaving: dict[MemberId, tuple[str, ...]] = {}
        self._farewell_seconds = FAREWELL_ELECTIONS * config.election_seconds
        self._stopped = False
        self._transport = Transport(
            identity=PeerIdentity(identity.cluster_id, identity.member_id, _release()),
            handler=self,
            listen=tuple(PeerAddress.parse(url) for url in config.listen_peer_urls),
            tls=peer_tls(config),
            snapshot_dir=directory,
            limits=peer_limits(config),
            admit=self._refusal,
        )

    def serve(self, leader: LeaderLink) -> None:
        """Answer calls meant for the leader with `leader`."""
        self._leader = leader

    def add_method(self, name: str, handler: Handler) -> None:
        """Answer calls of this name, on any member, with `handler`."""
        self._methods[name] = handler

    async def start(self) -> None:
        """Listen, and connect to the members there are.

        Raises:
            CannotListen: an address cannot be bound.
        """
        await self._transport.start()
        self.on_members_changed()

    async def stop(self) -> None:
        self._stopped = True
        await self._transport.stop()

    def on_members_changed(self) -> None:
        """Connect to new members, and let go of those that are none any more."""
        before, self._known = self._known, self._cluster.membership.members
        for member in before.keys() - self._known.keys():
            self._leaving[member] = before[member].peer_urls
            self._loop.call_later(self._farewell_seconds, self._forget, member)
        self._connect()

    def _connect(self) -> None:
        urls = {record.id: record.peer_urls for record in self._known.values()}
        urls.pop(self._identity.member_id, None)
        self._transport.set_peers({**self._leaving, **urls})

    def _forget(self, member: MemberId) -> None:
        self._leaving.pop(member, None)
        if not self._stopped:
            self._connect()

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages; one that cannot be sent is dropped and reported."""
        plain = [message for message in messages if not isinstance(message, InstallSnapshot)]
        if plain:
            self._transport.send(plain)
        for message in messages:
            if isinstance(message, InstallSnapshot):
                _log.info("snapshot.sending to=%x index=%d", message.to, message.snapshot.index)
                self._transport.send_snapshot(message, partial(self._snapshots.copy, message))

    async def call(self, to: MemberId, method: str, payload: bytes, seconds: float) -> bytes:
        """Ask another member; see `Transport.call`."""
        return await self._transport.call(to, method, payload, seconds)

    def status(self) -> dict[MemberId, PeerStatus]:
        """Return how the connections to the other members are."""
        return self._transport.peer_status()

    # What the transport tells

    def on_messages(self, messages: list[Message]) -> None:
        self._ready_loop.step(messages)

    def on_unreachable(self, member: MemberId) -> None:
        self._ready_loop.report_unreachable(member)

    async def on_call(self, sender: MemberId, method: str, payload: bytes) -> bytes:
        if method == MEMBERS:
            return self._members()
        handler = self._methods.get(method)
        if handler is not None:
            return await handler(payload)
        if self._leader is None:
            raise Unavailable
        return await self._leader.serve(method, payload)

    async def on_snapshot(self, message: InstallSnapshot, path: Path) -> bool:
        return await self._snapshots.receive(message, path)

    def on_snapshot_sent(self, member: MemberId, *, installed: bool) -> None:
        _log.info("snapshot.sent to=%x installed=%s", member, installed)
        self._ready_loop.report_snapshot(member, installed=installed)

    def _members(self) -> bytes:
        response = MemberListResponse(members=self._cluster.membership.messages())
        response.header.cluster_id = self._identity.cluster_id
        response.header.member_id = self._identity.member_id
        return response.SerializeToString()

    def _refusal(self, member: MemberId) -> str | None:
        if member in self._cluster.membership.removed and member not in self._leaving:
            return f"member {member:x} {REMOVED}"
        return None

    def says_removed(self) -> bool:
        """Whether another member has refused this one because it was removed."""
        return any(REMOVED in peer.last_error for peer in self.status().values())


async def ask_members(
    config: NodeConfig, url: str, timeout_seconds: float, directory: Path
) -> MemberListResponse:
    """Ask the member at `url` who the members are, as a stranger.

    Raises:
        Unavailable: it does not answer.
    """
    asker = Transport(
        identity=PeerIdentity(0, MemberId(0), _release()),
        handler=_Stranger(),
        tls=peer_tls(config),
        snapshot_dir=directory,
        limits=peer_limits(config),
    )
    try:
        async with asyncio.timeout(timeout_seconds):
            answer = await asker.call(url, MEMBERS, b"", timeout_seconds)
    except TimeoutError as error:
        raise Unavailable(f"{url} does not answer within {timeout_seconds:g} s") from error
    finally:
        await asker.stop()
    return MemberListResponse.FromString(answer)


class _Stranger:
    """Hears nothing: nobody knows it."""

    def on_messages(self, messages: list[Message]) -> None: ...

    def on_unreachable(self, member: MemberId) -> None: ...

    async def on_call(self, sender: MemberId, method: str, payload: bytes) -> bytes:
        raise Unavailable

    async def on_snapshot(self, message: InstallSnapshot, path: Path) -> bool:
        return False

    def on_snapshot_sent(self, member: MemberId, *, installed: bool) -> None: ...


def peer_tls(config: NodeConfig) -> PeerTls | None:
    """Return how connections between members are secured; None for not at all."""
    if not config.peer_cert_file:
        return None
    ca_file = config.peer_trusted_ca_file
    return PeerTls(
        Path(config.peer_cert_file),
        Path(config.peer_key_file),
        Path(ca_file) if ca_file else None,
        client_cert_auth=config.peer_client_cert_auth,
        allowed_cn=config.peer_cert_allowed_cn,
        allowed_hostname=config.peer_cert_allowed_hostname,
        crl_file=Path(config.peer_crl_file) if config.peer_crl_file else None,
        min_version=config.peer_tls_min_version,
        cipher_suites=config.peer_cipher_suites,
        self_signed=config.peer_auto_tls,
    )


def peer_limits(config: NodeConfig) -> TransportLimits:
    """Return the transport's bounds: a connection is dead after an election timeout."""
    return TransportLimits(dead_after_seconds=config.election_seconds)


def _release() -> str:
    return importlib.metadata.version("tianlu-registry")
