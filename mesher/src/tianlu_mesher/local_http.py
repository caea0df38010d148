"""The few HTTP requests that launcher and agent make on this host, on the standard library alone:
a client library would cost the agent a third of its start.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import NamedTuple

_ANSWER_BYTES_MAX = 256 << 20  # Envoy's statistics have about 30 KB for each Envoy cluster


class LocalAnswer(NamedTuple):
    """A response; status 0 if there was none."""

    status: int
    content: bytes


_NO_ANSWER = LocalAnswer(0, b"")


async def ask(
    path: str,
    *,
    unix_socket: str = "",
    address: tuple[str, int] = ("", 0),
    method: str = "GET",
    timeout_seconds: float = 2.0,
) -> LocalAnswer:
    """Send one request to a unix socket or an address. Never raises for what the peer does."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_seconds):
            if unix_socket:
                reader, writer = await asyncio.open_unix_connection(unix_socket)
            else:
                reader, writer = await asyncio.open_connection(*address)
            writer.write(
                f"{method} {path} HTTP/1.1\r\nhost: tianlu\r\ncontent-length: 0\r\n"
                "connection: close\r\n\r\n".encode()
            )
            return _parse(await _read(reader))
    except (OSError, TimeoutError):
        return _NO_ANSWER
    finally:
        if writer is not None:
            with suppress(OSError):
                writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Read to the end, or to the most that we take."""
    content = bytearray()
    while len(content) < _ANSWER_BYTES_MAX and (part := await reader.read(1 << 20)):
        content += part
    return bytes(content)


def _parse(answer: bytes) -> LocalAnswer:
    head, _, content = answer.partition(b"\r\n\r\n")
    parts = head.split(b" ", 2)
    if len(parts) < 2 or not parts[1].isdigit():
        return _NO_ANSWER
    if b"transfer-encoding: chunked" in head.lower():
        content = _dechunk(content)
    return LocalAnswer(int(parts[1]), content)


def _dechunk(content: bytes) -> bytes:
    chunks = []
    while content:
        size, _, content = content.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if length == 0:
            break
        chunks.append(content[:length])
        content = content[length + 2 :]
    return b"".join(chunks)
