"""gRPC channels, one for each endpoint, opened on first use and made anew when certificates change.

A channel keeps the certificates that it was opened with, for reconnecting too. So files are looked
at while channels are in use; where one has changed, later calls go over a new channel, and the old
one ends when its calls do, or RETIRE_SECONDS later: a stream that lasts for ever is then opened
anew by whoever holds it, under the new certificate.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, KeysView, Sequence
from typing import TYPE_CHECKING, Final

from tianlu._credentials import Credentials, check_pem, read_file
from tianlu._endpoint import Endpoint
from tianlu._errors import InvalidInput

if TYPE_CHECKING:
    import grpc
    import grpc.aio

_log: Final = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""At most so often files are looked at; certificates are renewed days before they end."""

RETIRE_SECONDS: Final = 30.0
"""How long calls on a channel with former certificates may go on."""

Options = Sequence[tuple[str, int]]
_Version = tuple[tuple[int, int, int], ...]


class Channels:
    """The channels of one client. Belongs to one event loop.

    Args:
        options: gRPC's, for every channel.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        credentials: Credentials,
        options: Options,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._credentials = credentials
        self._options = options
        self._clock = clock
        self._open: dict[Endpoint, grpc.aio.Channel] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._secure: grpc.ChannelCredentials | None = None
        self._version: _Version = ()
        self._looked_at = -LOOK_SECONDS

    @property
    def endpoints(self) -> KeysView[Endpoint]:
        """Where a channel leads now."""
        return self._open.keys()

    def get(self, endpoint: Endpoint) -> grpc.aio.Channel:
        """Return the channel to `endpoint`.

        Raises:
            InvalidInput: the certificates cannot be read, and have never been.
        """
        if endpoint.tls:
            self._follow_files()
        channel = self._open.get(endpoint)
        if channel is None:
            channel = self._open[endpoint] = open_channel(
                endpoint, self._credentials, self._options, self._secure
            )
        return channel

    async def drop(self, endpoint: Endpoint) -> None:
        """Close the channel to `endpoint`, if there is one; its calls fail."""
        channel = self._open.pop(endpoint, None)
        if channel is not None:
            await channel.close()

    async def close(self) -> None:
        """Close all channels; calls under way fail."""
        channels = list(self._open.values())
        self._open.clear()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        for channel in channels:
            await channel.close()

    def _follow_files(self) -> None:
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        version = _version_of(self._credentials)
        if self._secure is not None and version == self._version:
            return
        try:
            fresh = secure_credentials(self._credentials)
        except InvalidInput as error:
            if self._secure is None:
                raise
            _log.warning("certificates.unusable error=%s", error)  # half of it may be written yet
            return
        if self._secure is not None:
            _log.info("certificates.changed")
            self._retire()
        self._secure, self._version = fresh, version

    def _retire(self) -> None:
        for endpoint in [one for one in self._open if one.tls]:
            closing = asyncio.create_task(
                _close_later(self._open.pop(endpoint)), name="tianlu retired channel"
            )
            self._retiring.add(closing)
            closing.add_done_callback(self._retiring.discard)


async def _close_later(channel: grpc.aio.Channel) -> None:
    try:
        await channel.close(RETIRE_SECONDS)
    except asyncio.CancelledError:
        await channel.close()
        raise


def open_channel(
    endpoint: Endpoint,
    credentials: Credentials,
    options: Options,
    secure: grpc.ChannelCredentials | None = None,
) -> grpc.aio.Channel:
    """Return a new channel to `endpoint`; it connects when it is used.

    Args:
        secure: what `secure_credentials` returned; None makes it, if `endpoint` speaks TLS.

    Raises:
        InvalidInput: a certificate or key cannot be read.
    """
    import grpc.aio

    if not endpoint.tls:
        return grpc.aio.insecure_channel(endpoint.target, list(options))
    named: list[tuple[str, int | str]] = list(options)
    if credentials.server_name:
        named.append(("grpc.ssl_target_name_override", credentials.server_name))
        named.append(("grpc.default_authority", credentials.server_name))
    return grpc.aio.secure_channel(
        endpoint.target, secure or secure_credentials(credentials), named
    )


def secure_credentials(credentials: Credentials) -> grpc.ChannelCredentials:
    """Read the files and return gRPC's credentials.

    Raises:
        InvalidInput: a file cannot be read, or is not what it should be.
    """
    import grpc

    content = {name: read_file(name, path) for name, path in credentials.certificate_files}
    check_pem(credentials)
    return grpc.ssl_channel_credentials(
        content.get("ca_file"), content.get("key_file"), content.get("cert_file")
    )


def _version_of(credentials: Credentials) -> _Version:
    """Return what differs once a file was replaced or written anew. A file that is away counts."""
    found = []
    for _, path in credentials.certificate_files:
        try:
            stat = path.stat()
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)
