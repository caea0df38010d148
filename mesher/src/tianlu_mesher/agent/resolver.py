"""Host names among the instances' addresses, resolved and kept fresh."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 5.0
_LOOKUP_TIMEOUT_SECONDS = 2.0
_LOOKUPS_AT_ONCE_MAX = 16


class Resolver:
    """Keeps `addresses` for the names that were asked for last.

    A name that stops resolving keeps its last address: the name service being away says nothing
    of the instance. Without names it does nothing and wakes up for nothing.

    Args:
        changed: called with all addresses after any of them changed.
    """

    def __init__(self, changed: Callable[[dict[str, str]], None]) -> None:
        self._changed = changed
        self._names: frozenset[str] = frozenset()
        self._renew = asyncio.Event()
        self._limit = asyncio.Semaphore(_LOOKUPS_AT_ONCE_MAX)
        self.addresses: dict[str, str] = {}

    def want(self, names: frozenset[str]) -> None:
        """Resolve these names from now on, and no others."""
        if names != self._names:
            self._names = names
            self._renew.set()

    async def run(self) -> None:
        """Resolve until cancelled."""
        while True:
            timeout = REFRESH_SECONDS if self._names else None
            try:
                async with asyncio.timeout(timeout):
                    await self._renew.wait()
            except TimeoutError:
                pass
            self._renew.clear()
            await self._resolve(self._names)

    async def _resolve(self, names: frozenset[str]) -> None:
        found = await asyncio.gather(*(self._look_up(name) for name in sorted(names)))
        addresses = {name: address for name, address in found if address is not None}
        if addresses != self.addresses:
            self.addresses = addresses
            self._changed(addresses)

    async def _look_up(self, name: str) -> tuple[str, str | None]:
        loop = asyncio.get_running_loop()
        try:
            async with self._limit, asyncio.timeout(_LOOKUP_TIMEOUT_SECONDS):
                found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:  # UnicodeError: no host name at all
            logger.warning("resolver.lookup.failed name=%s error=%r", name, str(error))
            return name, self.addresses.get(name)
        # IPv4 first, then by number: the same answer whatever order the name service gives.
        chosen = min((each[0] is not socket.AF_INET, str(each[4][0])) for each in found)
        return name, chosen[1]
