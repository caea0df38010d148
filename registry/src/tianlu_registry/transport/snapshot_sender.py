"""Sending a raft_snapshot: throttled, from a file, going on where a broken attempt ended."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import BinaryIO, TypeVar

from google.protobuf.message import DecodeError

from tianlu._proto.v1 import peer_pb2 as pb
from tianlu_registry.errors import RegistryError
from tianlu_registry.raft import InstallSnapshot
from tianlu_registry.transport.codec import to_proto
from tianlu_registry.transport.connection import Connection
from tianlu_registry.transport.dialer import Backoff, Dialer
from tianlu_registry.transport.errors import (
    BadPeerMessage,
    PeerRefused,
    PeerUnreachable,
    one_line,
)
from tianlu_registry.transport.frames import FrameKind
from tianlu_registry.transport.handler import CopySnapshot
from tianlu_registry.transport.handshake import SNAPSHOT
from tianlu_registry.transport.limits import TransportLimits
from tianlu_registry.transport.snapshot_file import PIECE_BYTES, hash_file
from tianlu_registry.transport.status import PeerCounters

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class SnapshotSender:
    """Sends raft_snapshots, a few at a time.

    Args:
        workers: where files are read and hashed.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, limits: TransportLimits, workers: Executor
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._workers = workers
        self._turns = asyncio.Semaphore(limits.snapshots_outgoing_max)

    async def send(self, copy: CopySnapshot, dialer: Dialer, counters: PeerCounters) -> bool:
        """Copy, send, and wait until the other side has installed it. True if it has."""
        async with self._turns:
            source = await copy()
            try:
                size, digest = await self._loop.run_in_executor(
                    self._workers, hash_file, source.path
                )
                offer = pb.PeerSnapshotOffer(
                    message=to_proto(source.message), size=size, sha256=digest
                )
                transfer = _Transfer(
                    self._loop, offer, source.path, dialer, self._limits, self._workers, counters
                )
                return await self._attempt_all(transfer, source.message)
            finally:
                source.release()

    async def _attempt_all(self, transfer: _Transfer, message: InstallSnapshot) -> bool:
        """Try until it is there, or `snapshot_attempts_max` attempts have brought nothing."""
        limits = self._limits
        backoff = Backoff(limits.reconnect_seconds_min, limits.reconnect_seconds_max, random.random)
        fruitless = 0
        while True:
            before = transfer.offset
            try:
                result = await transfer.attempt()
                if result.installed:
                    return True
                reason, may_retry = one_line(result.reason), result.retry
            except (RegistryError, OSError) as error:
                reason, may_retry = str(error), True
            fruitless = 0 if transfer.offset > before else fruitless + 1
            logger.warning(
                "peer_snapshot_attempt_failed peer=%x index=%d offset=%d reason=%s",
                message.to,
                message.snapshot.index,
                transfer.offset,
                reason,
            )
            if not may_retry or fruitless >= limits.snapshot_attempts_max:
                return False
            await asyncio.sleep(backoff.next())


class _Transfer:
    """The attempts to bring one file to one member.

    `offset` is the furthest position that was written to a connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        offer: pb.PeerSnapshotOffer,
        path: Path,
        dialer: Dialer,
        limits: TransportLimits,
        workers: Executor,
        counters: PeerCounters,
    ) -> None:
        self._loop = loop
        self._offer = offer
        self._path = path
        self._dialer = dialer
        self._limits = limits
        self._workers = workers
        self._counters = counters
        self.offset = 0

    async def attempt(self) -> pb.PeerSnapshotResult:
        """Make one connection and send what is missing.

        Raises:
            RegistryError, OSError: it did not come to a result.
        """
        connection, _ = await self._dialer.dial(SNAPSHOT)
        connection.traffic = self._counters
        try:
            connection.write(FrameKind.SNAPSHOT_OFFER, self._offer.SerializeToString())
            start = await self._resume_at(connection)
            await self._send_from(connection, start)
            return await self._result(connection)
        finally:
            connection.close()

    async def _resume_at(self, connection: Connection) -> int:
        body = await self._answer(connection, FrameKind.SNAPSHOT_RESUME)
        try:
            resume = pb.PeerSnapshotResume.FromString(body)
        except DecodeError as error:
            raise BadPeerMessage("tianlu: an answer that cannot be parsed") from error
        if resume.refusal:
            raise PeerRefused(f"tianlu: refused: {one_line(resume.refusal)}")
        if resume.offset > self._offer.size:
            raise BadPeerMessage("tianlu: more was resumed than was offered")
        return resume.offset

    async def _send_from(self, connection: Connection, offset: int) -> None:
        """Send the file from there on, no faster than is allowed and the other side takes it."""
        pace = Pace(self._loop.time, self._limits.snapshot_bytes_per_second)
        file = await self._work(lambda: _open_at(self._path, offset))
        try:
            while offset < self._offer.size:
                piece = await self._work(lambda: file.read(PIECE_BYTES))
                if not piece:
                    raise OSError(f"{self._path} has become shorter")
                connection.write(FrameKind.SNAPSHOT_DATA, piece)
                offset += len(piece)
                self.offset = max(self.offset, offset)
                await connection.drain()
                await asyncio.sleep(pace.take(len(piece)))
        finally:
            file.close()

    async def _result(self, connection: Connection) -> pb.PeerSnapshotResult:
        body = await self._answer(connection, FrameKind.SNAPSHOT_RESULT)
        try:
            return pb.PeerSnapshotResult.FromString(body)
        except DecodeError as error:
            raise BadPeerMessage("tianlu: an answer that cannot be parsed") from error

    async def _answer(self, connection: Connection, kind: FrameKind) -> bytes:
        try:
            async with asyncio.timeout(self._limits.snapshot_install_seconds):
                _, body = await connection.receive(kind)
        except TimeoutError as error:
            raise PeerUnreachable("tianlu: the member took too long to take it") from error
        return body

    async def _work(self, work: Callable[[], _T]) -> _T:
        return await self._loop.run_in_executor(self._workers, work)


class Pace:
    """Spreads bytes evenly over time.

    Args:
        now: the time in seconds, never going back.
    """

    def __init__(self, now: Callable[[], float], bytes_per_second: int) -> None:
        self._now = now
        self._bytes_per_second = bytes_per_second
        self._due = now()

    def take(self, size: int) -> float:
        """Return how long to wait after `size` bytes, in seconds; time that was not used is not
        saved up."""
        self._due = max(self._due, self._now()) + size / self._bytes_per_second
        return max(0.0, self._due - self._now())


def _open_at(path: Path, offset: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(offset)
    return file
