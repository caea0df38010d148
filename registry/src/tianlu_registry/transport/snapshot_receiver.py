"""Receiving a raft_snapshot: one at a time, to a file that a broken transfer leaves to the next.

OFFER (message, size, digest)   ───>
                               <───   RESUME (offset, or a refusal)
DATA ...                        ───>   written and hashed by a worker thread
                               <───   RESULT, when the handler is done with it
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError

from tianlu._proto.v1 import peer_pb2 as pb
from tianlu_registry.raft import InstallSnapshot, MemberId
from tianlu_registry.transport.codec import from_proto
from tianlu_registry.transport.connection import Connection
from tianlu_registry.transport.errors import BadPeerMessage, PeerUnreachable
from tianlu_registry.transport.frames import FrameKind
from tianlu_registry.transport.handler import PeerHandler, PeerIdentity
from tianlu_registry.transport.limits import TransportLimits
from tianlu_registry.transport.snapshot_file import PartialFile, SnapshotId

logger = logging.getLogger(__name__)

DIGEST_BYTES = 32
_T = TypeVar("_T")


class SnapshotReceiver:
    """Takes raft_snapshots for the handler.

    Args:
        directory: for the files; made when needed.
        workers: where files are read, written and hashed.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        directory: Path,
        identity: PeerIdentity,
        handler: PeerHandler,
        *,
        limits: TransportLimits,
        workers: Executor,
    ) -> None:
        self._loop = loop
        self._directory = directory
        self._identity = identity
        self._handler = handler
        self._limits = limits
        self._workers = workers
        self._busy = asyncio.Lock()
        self._current: tuple[MemberId, Connection] | None = None
        self._installed: SnapshotId | None = None

    async def receive(self, connection: Connection, member: MemberId) -> None:
        """Serve a connection of kind SNAPSHOT until it ends.

        Raises:
            RegistryError: what was wrong with it.
        """
        _, body = await connection.receive(FrameKind.SNAPSHOT_OFFER)
        message, snapshot_id = self._read_offer(body, member)
        if self._current is not None and self._current[0] == member:
            # Its own earlier attempt, which this side believes to be alive still.
            self._current[1].close(PeerUnreachable("tianlu: the member began anew"))
            async with self._busy:
                pass
        if snapshot_id == self._installed:  # the sender has not heard of it
            _resume(connection, offset=snapshot_id.size)
            _result(connection, installed=True)
            await connection.closed
            return
        if self._busy.locked():
            _resume(connection, refusal="another raft_snapshot is being received")
            await connection.closed
            return
        async with self._busy:
            self._current = (member, connection)
            try:
                await self._take(connection, message, snapshot_id)
            finally:
                self._current = None
        await connection.closed  # the sender hangs up

    def _read_offer(self, body: bytes, member: MemberId) -> tuple[InstallSnapshot, SnapshotId]:
        try:
            offer = pb.PeerSnapshotOffer.FromString(body)
        except DecodeError as error:
            raise BadPeerMessage("tianlu: an offer that cannot be parsed") from error
        message = from_proto(offer.message)
        if not isinstance(message, InstallSnapshot):
            raise BadPeerMessage("tianlu: an offer of something else than a raft_snapshot")
        if message.sender != member or message.to != self._identity.member_id:
            raise BadPeerMessage("tianlu: an offer between other members")
        if len(offer.sha256) != DIGEST_BYTES or not offer.size:
            raise BadPeerMessage("tianlu: an offer without size or digest")
        if offer.size > self._limits.snapshot_bytes_max:
            raise BadPeerMessage(f"tianlu: a raft_snapshot of {offer.size} bytes is too large")
        return message, SnapshotId(member, message.snapshot, offer.size, offer.sha256)

    async def _take(
        self, connection: Connection, message: InstallSnapshot, snapshot_id: SnapshotId
    ) -> None:
        try:
            partial = await self._work(lambda: PartialFile(self._directory, snapshot_id))
        except OSError as error:
            logger.warning("peer_snapshot_refused reason=%s", error)
            _resume(connection, refusal=f"cannot store it: {error}")
            return
        logger.info(
            "peer_snapshot_receiving sender=%x index=%d bytes=%d offset=%d",
            message.sender,
            message.snapshot.index,
            snapshot_id.size,
            partial.size,
        )
        try:
            _resume(connection, offset=partial.size)
            await self._take_data(connection, partial, snapshot_id.size)
            path = await self._work(partial.finish)
        except OSError as error:
            logger.warning("peer_snapshot_failed reason=%s", error)
            _result(connection, installed=False, reason=f"cannot store it: {error}")
            return
        finally:
            partial.close()
        if path is None:
            _result(connection, installed=False, reason="its data is damaged", retry=True)
            return
        if await self._install(connection, message, path):
            self._installed = snapshot_id

    async def _take_data(self, connection: Connection, partial: PartialFile, size: int) -> None:
        while partial.size < size:
            _, piece = await connection.receive(FrameKind.SNAPSHOT_DATA)
            if not piece or partial.size + len(piece) > size:
                raise BadPeerMessage("tianlu: a raft_snapshot of another size than was offered")
            await self._work(lambda piece=piece: partial.write(piece))  # type: ignore[misc]

    async def _install(self, connection: Connection, message: InstallSnapshot, path: Path) -> bool:
        try:
            installed = await self._handler.on_snapshot(message, path)
        except Exception:
            logger.exception("peer_snapshot_install_failed index=%d", message.snapshot.index)
            installed = False
        logger.info(
            "peer_snapshot_received index=%d installed=%s", message.snapshot.index, installed
        )
        reason = "" if installed else "it could not be installed; see that member's log"
        _result(connection, installed=installed, reason=reason)
        return installed

    async def _work(self, work: Callable[[], _T]) -> _T:
        return await self._loop.run_in_executor(self._workers, work)


def _resume(connection: Connection, *, offset: int = 0, refusal: str = "") -> None:
    answer = pb.PeerSnapshotResume(offset=offset, refusal=refusal)
    connection.write(FrameKind.SNAPSHOT_RESUME, answer.SerializeToString())


def _result(
    connection: Connection, *, installed: bool, reason: str = "", retry: bool = False
) -> None:
    answer = pb.PeerSnapshotResult(installed=installed, reason=reason, retry=retry)
    connection.write(FrameKind.SNAPSHOT_RESULT, answer.SerializeToString())
