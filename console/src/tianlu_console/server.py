"""Running one console: bind, start, say so, serve until told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import uvicorn

from tianlu import AsyncClient
from tianlu_console.app import Console, build_console
from tianlu_console.catalogue.mirror import MirrorCatalogue
from tianlu_console.database import open_database
from tianlu_console.run_file import remove_run_file, write_run_file
from tianlu_console.settings import CannotStart, ListenAddress, Settings

_logger = logging.getLogger(__name__)

BACKLOG: Final = 256
GRACE_SECONDS: Final = 5
"""How long requests under way may take once the console was told to stop. Live streams end at once.
"""

KEEP_ALIVE_SECONDS: Final = 75
"""Idle connections outlive the gateway's pauses: one that is closed as it is reused fails."""

CLIENT_NAME: Final = "console"
SNAPSHOT_DIR: Final = "snapshot"


class CannotListen(CannotStart):
    """The address cannot be had; the message says which and why."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: it would end the process by the signal instead of
    with status 0.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as uvicorn does, then say so."""
        await super().startup(sockets)
        if self.started:
            self.serving.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve`."""
        yield


async def serve(settings: Settings) -> None:
    """Run a console until SIGTERM or SIGINT.

    Raises:
        CannotListen: the address is taken or not ours.
        DatabaseUnusable: the data directory cannot be used.
    """
    async with AsyncExitStack() as stack:
        engine = await asyncio.to_thread(open_database, settings.data_dir)
        stack.callback(engine.dispose)
        listener = bind(settings.listen)
        stack.callback(listener.close)
        if settings.listen.unix_path is not None:
            stack.callback(settings.listen.unix_path.unlink, missing_ok=True)
        client = AsyncClient(
            list(settings.registry),
            name=CLIENT_NAME,
            snapshot_dir=settings.data_dir / SNAPSHOT_DIR,
            **settings.access,
        )
        stack.push_async_callback(client.close)
        catalogue = MirrorCatalogue(client)
        stack.push_async_callback(catalogue.close)
        console = build_console(catalogue, engine, base_path=settings.base_path)
        await _serve_until_stopped(console, settings, listener)


async def _serve_until_stopped(
    console: Console, settings: Settings, listener: socket.socket
) -> None:
    server = _Server(
        uvicorn.Config(
            console.app,
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # web.forwarded decides whom to believe
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )

    def stop() -> None:
        # Streams never end by themselves: close them first, so that the server has nothing to wait
        # for.
        console.hub.close()
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    started = asyncio.create_task(server.serving.wait())
    await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
    started.cancel()
    if server.started:
        await _announce(console, settings, listener)
    try:
        await running
    finally:
        if settings.run_file is not None:
            remove_run_file(settings.run_file)
        _logger.info("console stopped")


async def _announce(console: Console, settings: Settings, listener: socket.socket) -> None:
    """Say that the console serves, in the log and in the run file."""
    addresses = {"http": address_of(listener)}
    token = await asyncio.to_thread(console.access.issue_first_visit)
    if token is not None:
        addresses["first_visit_path"] = f"{settings.base_path}/first-visit?token={token}"
    if settings.run_file is not None:
        write_run_file(settings.run_file, addresses)
    _logger.info(
        "console serving address=%s base_path=%s first_visit_due=%s",
        addresses["http"],
        settings.base_path,
        token is not None,
    )


def bind(address: ListenAddress) -> socket.socket:
    """Return a listening socket. Raises `CannotListen`."""
    try:
        return _bind_unix(address.unix_path) if address.unix_path else _bind_tcp(address)
    except OSError as error:
        raise CannotListen(f"cannot listen on {address}: {error.strerror}") from error


def address_of(listener: socket.socket) -> str:
    """Return where a listening socket is reached: http://HOST:PORT or unix:PATH."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
    return f"http://{host}:{name[1]}"


def _bind_tcp(address: ListenAddress) -> socket.socket:
    family, kind, protocol, _, target = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _bind_unix(path: Path) -> socket.socket:
    """Bind a socket that only this user may connect to, in place of one whose owner is gone."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_orphan(path):
            path.unlink()
        listener.bind(str(path))
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_orphan(path: Path) -> bool:
    """Return whether `path` is a socket that nobody listens on any more."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(str(path)) != 0
    return False
