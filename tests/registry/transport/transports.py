"""Transports on the loopback, and a node that writes down what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tianlu_registry.errors import RegistryError
from tianlu_registry.raft import Heartbeat, Index, InstallSnapshot, MemberId, Message, Term
from tianlu_registry.transport import PeerAddress, PeerIdentity, Transport, TransportLimits

CLUSTER = 0xC1
FAST = TransportLimits(
    dead_after_seconds=2.0,
    handshake_seconds=10.0,
    reconnect_seconds_min=0.01,
    reconnect_seconds_max=0.05,
)
DEADLINE_SECONDS = 30.0


class Node:
    """A PeerHandler that remembers."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.unreachable: list[MemberId] = []
        self.calls: list[tuple[MemberId, str, bytes]] = []
        self.snapshots: list[tuple[InstallSnapshot, bytes]] = []
        self.sent: list[tuple[MemberId, bool]] = []
        self.answer: Callable[[MemberId, str, bytes], Awaitable[bytes]] | None = None
        self.installs = True

    def on_messages(self, messages: list[Message]) -> None:
        self.messages += messages

    def on_unreachable(self, member: MemberId) -> None:
        self.unreachable.append(member)

    async def on_call(self, sender: MemberId, method: str, payload: bytes) -> bytes:
        self.calls.append((sender, method, payload))
        if self.answer is not None:
            return await self.answer(sender, method, payload)
        return method.encode() + b":" + payload

    async def on_snapshot(self, message: InstallSnapshot, path: Path) -> bool:
        self.snapshots.append((message, path.read_bytes()))
        path.unlink()
        return self.installs

    def on_snapshot_sent(self, member: MemberId, *, installed: bool) -> None:
        self.sent.append((member, installed))


async def until(condition: Callable[[], Any], what: str = "") -> None:
    """Wait until `condition()` is true."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"did not happen: {what or condition}") from None


@asynccontextmanager
async def running(
    member: int,
    directory: Path,
    *,
    listen: Sequence[str] = ("http://127.0.0.1:0",),
    cluster: int = CLUSTER,
    node: Node | None = None,
    limits: TransportLimits = FAST,
    **settings: Any,
) -> AsyncIterator[tuple[Transport, Node]]:
    """Run a transport; stop it at the end."""
    node = node or Node()
    transport = Transport(
        identity=PeerIdentity(cluster, MemberId(member), f"release-{member}"),
        handler=node,
        snapshot_dir=directory / f"snapshots-{member}",
        listen=[PeerAddress.parse(url) for url in listen],
        limits=limits,
        **settings,
    )
    await transport.start()
    try:
        yield transport, node
    finally:
        await transport.stop()


@asynccontextmanager
async def pair(
    directory: Path, **settings: Any
) -> AsyncIterator[tuple[Transport, Node, Transport, Node]]:
    """Run members 1 and 2, connected in both directions."""
    async with (
        running(1, directory, **settings) as (one, node_one),
        running(2, directory, **settings) as (two, node_two),
    ):
        connect(one, two)
        await until(lambda: connected(one, 2) and connected(two, 1), "both connect")
        yield one, node_one, two, node_two


def connect(*transports: Transport) -> None:
    """Tell all of them of each other."""
    urls = {each.identity.member_id: each.addresses for each in transports}
    for each in transports:
        each.set_peers(urls)


def connected(transport: Transport, member: int) -> bool:
    status = transport.peer_status().get(MemberId(member))
    return status is not None and status.connected


def heartbeat(sender: int, to: int, commit: int = 0) -> Heartbeat:
    return Heartbeat(MemberId(to), MemberId(sender), Term(1), Index(commit))


async def error_of(awaitable: Awaitable[Any]) -> RegistryError:
    """Return the error that it raises."""
    try:
        await awaitable
    except RegistryError as error:
        return error
    raise AssertionError("no error was raised")
