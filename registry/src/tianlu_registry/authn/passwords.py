"""Passwords, by argon2id, beside the event loop.

A hash takes tens of milliseconds and 19 MiB by design. So it runs in a few threads (argon2 lets the
interpreter go on meanwhile), and no more may wait than are answered within seconds: beyond that
callers are told to come again, and a flood of guesses costs others nothing but a slow login.

Source: RFC 9106; OWASP Password Storage Cheat Sheet (argon2id, 19 MiB, 2 passes, 1 lane).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from tianlu_registry.errors import TooManyRequests

THREADS: Final = 2
WAITING_MAX: Final = 64

_Result = TypeVar("_Result")


class Passwords:
    """Hashes and verifies.

    Args:
        memory_kib: of one hash.
        passes: over that memory.
    """

    def __init__(self, *, memory_kib: int = 19 * 1024, passes: int = 2) -> None:
        self._hasher = PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=1, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tianlu-passwords")
        self._waiting = 0
        # So that an unknown user takes as long to refuse as a wrong password.
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """Return the hash of a password, with its salt and parameters, as text.

        Raises:
            TooManyRequests: too many are being hashed.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password: str, hashed: bytes | None) -> bool:
        """Whether a password has this hash.

        Args:
            hashed: None to find nothing, and take as long.

        Raises:
            TooManyRequests: too many are being hashed.
        """
        return await self._run(lambda: self._verify(password, hashed))

    def close(self) -> None:
        """Stop the threads; what they do now is finished first."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _verify(self, password: str, hashed: bytes | None) -> bool:
        if hashed is None:
            if self._nobody is None:
                self._nobody = self._hasher.hash("nobody")
            expected = self._nobody
        else:
            expected = hashed.decode("ascii", "replace").replace("\ufffd", "?")
        try:
            self._hasher.verify(expected, password)
        except (VerificationError, InvalidHashError):
            return False
        return hashed is not None

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= WAITING_MAX:
            raise TooManyRequests
        self._waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # Counted until it is over: a caller who gives up does not stop the thread.
        running.add_done_callback(self._done)
        return await asyncio.shield(running)

    def _done(self, future: asyncio.Future[_Result]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()
