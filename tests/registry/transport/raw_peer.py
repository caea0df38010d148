"""A peer that says whatever the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from registry.transport.transports import CLUSTER, DEADLINE_SECONDS

from tianlu._proto.v1 import peer_pb2 as pb
from tianlu_registry.transport import PeerAddress
from tianlu_registry.transport.frames import PREFACE, FrameKind, frame_header

LOG = pb.PEER_CONNECTION_KIND_LOG
CALL = pb.PEER_CONNECTION_KIND_CALL
SNAPSHOT = pb.PEER_CONNECTION_KIND_SNAPSHOT


class RawPeer:
    """One end of a connection, without any rules."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def frame(self, kind: int, body: bytes) -> None:
        self.write(frame_header(FrameKind(kind), len(body)) + body)

    async def hello(self, *, preface: bytes = PREFACE, **changes: Any) -> pb.PeerWelcome:
        """Shake hands as member 1 with member 2; return the answer."""
        fields = {"cluster_id": CLUSTER, "sender": 1, "receiver": 2, "kind": LOG, **changes}
        self.write(preface)
        self.frame(FrameKind.HELLO, pb.PeerHello(**fields).SerializeToString())
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await self._reader.readexactly(len(PREFACE)) == PREFACE
            kind, body = await self.read_frame()
        assert kind == FrameKind.WELCOME
        return pb.PeerWelcome.FromString(body)

    async def read_frame(self) -> tuple[int, bytes]:
        header = await self._reader.readexactly(5)
        size = int.from_bytes(header[:4], "little")
        return header[4], await self._reader.readexactly(size - 1)

    async def answer_of_kind(self, wanted: FrameKind) -> bytes:
        """Return the next frame of a kind, pings and others left out."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                kind, body = await self.read_frame()
                if kind == wanted:
                    return body

    async def is_closed(self) -> bool:
        """Wait until the other side closes; what it sends until then is ignored."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            try:
                while await self._reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return True

    def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def raw_peer(url: str) -> AsyncIterator[RawPeer]:
    """Connect to a URL and say nothing yet."""
    address = PeerAddress.parse(url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    peer = RawPeer(reader, writer)
    try:
        yield peer
    finally:
        peer.close()
