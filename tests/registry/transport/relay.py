"""A TCP relay between two members that breaks, stalls and damages what passes through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tianlu_registry.transport import PeerAddress


class Relay:
    """Passes connections on to one address. `forth` is from the dialler to it."""

    def __init__(self, target: PeerAddress) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._break_at: int | None = None
        self._pattern: bytes | None = None
        self._open = asyncio.Event()
        self._open.set()
        self.url = ""
        self.bytes_forth = 0
        self.broken = 0
        self.damaged = 0
        self.accepted = 0

    def break_after(self, count: int) -> None:
        """Once, when so many more bytes have gone forth, break the connection they are on."""
        self._break_at = self.bytes_forth + count

    def damage(self, pattern: bytes) -> None:
        """Once, change a byte where `pattern` goes forth within one piece."""
        self._pattern = pattern

    def stall(self) -> None:
        """Let nothing pass in either direction, and close nothing."""
        self._open.clear()

    def resume(self) -> None:
        self._open.set()

    async def break_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            onward_reader, onward = await asyncio.open_connection(
                self._target.host, self._target.port
            )
            self._writers.add(onward)
            await asyncio.wait(
                [
                    asyncio.create_task(self._pass(reader, onward, is_forth=True)),
                    asyncio.create_task(self._pass(onward_reader, writer, is_forth=False)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
            onward.transport.abort()
            self._writers.discard(onward)
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def stop(self) -> None:
        self.resume()
        await self.break_all()
        while self._tasks:
            await asyncio.sleep(0.005)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_forth: bool
    ) -> None:
        try:
            while data := await reader.read(65536):
                await self._open.wait()
                if is_forth:
                    self.bytes_forth += len(data)
                    data = self._damaged(data)
                    if self._break_at is not None and self.bytes_forth >= self._break_at:
                        self._break_at = None
                        self.broken += 1
                        return
                writer.write(data)
                await writer.drain()
        except OSError:
            pass

    def _damaged(self, data: bytes) -> bytes:
        if self._pattern is None or self._pattern not in data:
            return data
        at = data.index(self._pattern)
        self._pattern = None
        self.damaged += 1
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@asynccontextmanager
async def relaying(url: str) -> AsyncIterator[Relay]:
    """Run a relay in front of a URL."""
    relay = Relay(PeerAddress.parse(url))
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
    relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        server.close()
        await relay.stop()
        await server.wait_closed()
