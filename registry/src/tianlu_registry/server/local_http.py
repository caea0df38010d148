"""The few HTTP requests that the launcher makes to its child, over Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

_ANSWER_BYTES_MAX = 1024 * 1024
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Line:
    """One connection that is kept for many requests, and made again when it is gone.

    Args:
        socket_path: where to connect.
        may_be_full: the server has a limit of connections, beyond which it accepts and closes. It
            lives then: that a new connection is closed at once counts as an answer.
    """

    def __init__(self, socket_path: Path, may_be_full: bool) -> None:
        self._socket_path = socket_path
        self._may_be_full = may_be_full
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, path: str, headers: Mapping[str, str], timeout_seconds: float, method: str = "GET"
    ) -> bool:
        """Make one request, one after another; returns whether the answer was 200, in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                if self._streams is not None:
                    with contextlib.suppress(ConnectionError):
                        return await self._exchange(method, path, headers) == 200
                    self.close()
                self._streams = await asyncio.open_unix_connection(str(self._socket_path))
                return await self._exchange(method, path, headers) == 200
        except asyncio.CancelledError:
            self.close()  # the answer would be taken for the next one's
            raise
        except ConnectionError:
            full = self._may_be_full and self._streams is not None
            self.close()
            return full
        except (OSError, TimeoutError, ValueError, IndexError):
            self.close()
            return False

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, method: str, path: str, headers: Mapping[str, str]) -> int:
        """Return the status.

        Raises:
            ConnectionError: the connection is closed.
        """
        if self._streams is None:
            raise ConnectionError
        reader, writer = self._streams
        lines = [f"{method} {path} HTTP/1.1", "host: local", "content-length: 0"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        try:
            head = await reader.readuntil(_HEAD_END)
        except asyncio.IncompleteReadError as error:
            raise ConnectionError from error
        for line in head.lower().split(b"\r\n"):
            if line.startswith(_LENGTH):
                await reader.readexactly(int(line[len(_LENGTH) :]))
        return int(head.split(b" ", 2)[1])


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
