"""The few HTTP requests that the launcher makes to its child, over Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

_ANSWER_BYTES_MAX = 1024 * 1024


async def request(
    socket_path: Path,
    method: str,
    path: str,
    *,
    timeout_seconds: float,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes] | None:
    """Make one request on a connection of its own.

    Returns:
        Status and body; None if there was no proper answer in time.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            return await _exchange(socket_path, method, path, headers or {})
    except (OSError, TimeoutError, ValueError, IndexError):
        return None


async def _exchange(
    socket_path: Path, method: str, path: str, headers: Mapping[str, str]
) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_unix_connection(str(socket_path))
    try:
        lines = [
            f"{method} {path} HTTP/1.1",
            "host: local",
            "connection: close",
            "content-length: 0",
        ]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        answer = await reader.read(_ANSWER_BYTES_MAX)
        while chunk := await reader.read(_ANSWER_BYTES_MAX):
            answer += chunk
            if len(answer) > _ANSWER_BYTES_MAX:
                raise ValueError("the answer is too long")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body
