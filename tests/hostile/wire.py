"""Raw connections: bytes out, bytes in, and whether the other side has had enough."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

_CHUNK_BYTES = 65_536


class Wire:
    """One connection, of which every byte is ours. Made by `dial`.

    Attributes:
        received: what has come so far and has not been taken by `take`.
        closed: the other side has closed or reset the connection.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.received = bytearray()
        self.closed = False

    async def send(self, data: bytes, seconds_max: float = 10) -> bool:
        """Send; returns whether the other side took it, False if it is gone or takes no more."""
        try:
            self._writer.write(data)
            async with asyncio.timeout(seconds_max):
                await self._writer.drain()
        except (OSError, TimeoutError):
            self.closed = self.closed or self._writer.is_closing()
            return False
        return True

    async def receive(self, seconds_max: float = 10) -> bytes:
        """Wait for more bytes; returns them, or nothing at the end or when the time is over."""
        try:
            async with asyncio.timeout(seconds_max):
                chunk = await self._reader.read(_CHUNK_BYTES)
        except TimeoutError:
            return b""
        except OSError:
            self.closed = True
            return b""
        self.closed = self.closed or not chunk
        self.received += chunk
        return chunk

    async def until_closed(self, seconds_max: float = 10) -> bytes:
        """Read to the end; returns all that came. `closed` says whether there was an end."""
        deadline = asyncio.get_running_loop().time() + seconds_max
        while not self.closed:
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                break
            await self.receive(remaining)
        return bytes(self.received)

    async def until(self, wanted: bytes, seconds_max: float = 10) -> bytes:
        """Read until `wanted` has come; returns all that came, with or without it."""
        deadline = asyncio.get_running_loop().time() + seconds_max
        while wanted not in self.received and not self.closed:
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                break
            await self.receive(remaining)
        return bytes(self.received)

    def half_close(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    async def closing(self, seconds_max: float = 1) -> None:
        """Close and wait until it is done; TLS says goodbye, which not everybody answers."""
        self._writer.close()
        try:
            async with asyncio.timeout(seconds_max):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    def reset(self) -> None:
        """Close with a reset, as a crashed or rude client does."""
        raw = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._writer.transport.abort()


@contextlib.asynccontextmanager
async def dial(target: str, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Wire]:
    """Connect to ``host:port`` until the block ends."""
    wire = await connect(target, tls=tls)
    try:
        yield wire
    finally:
        await wire.closing()


async def connect(target: str, *, tls: ssl.SSLContext | None = None) -> Wire:
    """Connect to ``host:port``; the caller closes."""
    host, _, port = target.rpartition(":")
    server_hostname = "localhost" if tls is not None else None
    reader, writer = await asyncio.open_connection(
        host, int(port), ssl=tls, server_hostname=server_hostname
    )
    return Wire(reader, writer)
