"""Listening sockets, and who is let in from the door: nothing here reads a byte."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tianlu_registry.transport.addresses import PeerAddress
from tianlu_registry.transport.errors import CannotListen

logger = logging.getLogger(__name__)

BACKLOG: Final = 128
ACCEPTS_PER_TURN: Final = 32
ACCEPT_PAUSE_SECONDS: Final = 0.5
"""After accepting has failed for want of file descriptors or memory."""

OnAccepted = Callable[[socket.socket, PeerAddress, str], None]
"""Takes a new socket, the address it came to, and from where it came."""


class Listener:
    """Accepts connections at some addresses and hands the sockets on.

    Args:
        on_accepted: owns the socket; must not block.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_accepted: OnAccepted) -> None:
        self._loop = loop
        self._on_accepted = on_accepted
        self._bound: list[tuple[PeerAddress, socket.socket]] = []

    @property
    def addresses(self) -> tuple[PeerAddress, ...]:
        """What is bound, with the ports that the kernel chose."""
        return tuple(address for address, _ in self._bound)

    async def start(self, addresses: Sequence[PeerAddress]) -> None:
        """Bind all of them, or none.

        Raises:
            CannotListen: names the address and what is wrong with it.
        """
        try:
            for address in addresses:
                self._bound.append(await self._bind(address))
        except BaseException:
            self.close()
            raise
        for address, sock in self._bound:
            self._loop.add_reader(sock, self._accept, address, sock)

    def close(self) -> None:
        """Accept nothing more. May be called twice."""
        for address, sock in self._bound:
            self._loop.remove_reader(sock)
            sock.close()
            if address.path:
                with contextlib.suppress(OSError):
                    Path(address.path).unlink()
        self._bound.clear()

    async def _bind(self, address: PeerAddress) -> tuple[PeerAddress, socket.socket]:
        try:
            if address.path:
                return address, _bind_unix(address.path)
            found = await self._loop.getaddrinfo(
                address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, _, _, _, where = found[0]
            sock = _bind_tcp(family, where)
        except OSError as error:
            reason = error.strerror or str(error)
            raise CannotListen(f"tianlu: cannot listen at {address.url}: {reason}") from error
        return replace(address, port=sock.getsockname()[1]), sock

    def _accept(self, address: PeerAddress, listening: socket.socket) -> None:
        """Take what waits. Not a task with `sock_accept`: cancelling that one may lose a socket."""
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, where = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                logger.warning("peer_accept_failed url=%s reason=%s", address.url, error.strerror)
                self._pause(address, listening)
                return
            origin = where[0] if isinstance(where, tuple) else address.url
            self._on_accepted(sock, address, origin)

    def _pause(self, address: PeerAddress, listening: socket.socket) -> None:
        """Let others free what is short; the kernel keeps who comes meanwhile."""
        self._loop.remove_reader(listening)
        self._loop.call_later(ACCEPT_PAUSE_SECONDS, self._go_on, address, listening)

    def _go_on(self, address: PeerAddress, listening: socket.socket) -> None:
        if any(sock is listening for _, sock in self._bound):
            self._loop.add_reader(listening, self._accept, address, listening)


def _bind_tcp(family: int, where: tuple[Any, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        return _listening(sock)
    except BaseException:
        sock.close()
        raise


def _bind_unix(path: str) -> socket.socket:
    """Bind a socket that only this user can reach."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(path)
        Path(path).chmod(0o600)
        return _listening(sock)
    except BaseException:
        sock.close()
        raise


def _remove_stale(path: str) -> None:
    """Remove the socket that a process has left behind; one that answers is in use."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return  # binding will fail, and says why
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except OSError:
            return


def _listening(sock: socket.socket) -> socket.socket:
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock
