"""The token that a client's calls carry: got by logging in, and got anew when it has ended.

One login at a time serves all calls of a client. A token ends when its time has passed, the member
that knew it restarts, its user's password changes or, if it is signed, users or roles change; the
registry then refuses the call *before* doing anything, so that any call may be made again. That is
done once for each call: a registry that refuses what it has just handed out is not asked for ever.

While authentication is off there is nothing to log in to: calls go without a token until one is
refused for having none. So clients that have a password may be started before authentication is
switched on, and go on when it is.

Source: etcd, client/v3/retry_interceptor.go, credentials.go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from tianlu._credentials import Credentials
from tianlu._errors import (
    Conflict,
    DeadlinePassed,
    LimitReached,
    NotAllowed,
    Unauthenticated,
    Unavailable,
)
from tianlu._retry import CALL_WAIT, Deadline, draw

T = TypeVar("T")

LogIn: TypeAlias = Callable[[str, str], Awaitable[str]]
"""Exchanges a user's name and password for a token, at one node; raises TianluError."""

REST_SECONDS: Final = 1.0
"""How long a login that was refused is not tried again: verifying a password costs a member some
30 ms, and one that is wrong stays wrong until somebody changes it."""

REFUSALS_MAX: Final = 3
"""Fresh tokens in a row that may be refused before calls are no longer made again."""

CANNOT_LOG_IN: Final = "cannot log in as"
"""What an error's text begins with if no token could be got: the call itself was not made."""

NO_TOKEN: Final = ""
"""What is sent while there is nobody to be: none."""

_NOT_ENABLED: Final = "authentication is not enabled"

METADATA_KEY: Final = "token"


class Identity:
    """Whose calls these are. Belongs to one event loop.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self, credentials: Credentials, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._token: str | None = None if credentials.user else credentials.token
        self._logging_in = asyncio.Lock()
        self._refusals = 0
        self._refused_login: tuple[float, NotAllowed] | None = None

    @property
    def user(self) -> str:
        """Who logs in; "" if nobody does."""
        return self._credentials.user

    async def call(
        self, attempt: Callable[[str], Awaitable[T]], log_in: LogIn, deadline: Deadline
    ) -> T:
        """Make a call with a token, and again with a new one if it was refused for its token.

        Args:
            attempt: makes it with a token (NO_TOKEN: without).

        Raises:
            TianluError: what the attempt or the login raised.
        """
        token = await self.token(log_in, deadline)
        try:
            answer = await attempt(token)
        except Unauthenticated as error:
            if not self.refused(token, error):
                raise
            answer = await attempt(await self.token(log_in, deadline))
        self.accepted()
        return answer

    async def token(self, log_in: LogIn, deadline: Deadline) -> str:
        """Return the token to send, logging in if need be.

        Raises:
            Unauthenticated: the registry does not take user and password.
            Unavailable: nobody could be asked in time.
        """
        if self._token is not None:
            return self._token
        try:
            async with asyncio.timeout(deadline.remaining()), self._logging_in:
                if self._token is None:
                    self._token = await self._log_in(log_in)
                return self._token
        except Unavailable as error:
            raise Unavailable(f"{CANNOT_LOG_IN} {self.user!r}: {error}") from error
        except TimeoutError:
            raise DeadlinePassed(f"{CANNOT_LOG_IN} {self.user!r}: no answer in time") from None

    def refused(self, token: str, error: Unauthenticated) -> bool:
        """Note that a token was refused. Returns whether a call with another one may succeed."""
        if not self._credentials.user:
            return error.passing
        if token == self._token:
            self._token = None
            self._refusals += 1
        return self._refusals <= REFUSALS_MAX

    def accepted(self) -> None:
        """Note that a call was answered."""
        self._refusals = 0

    async def _log_in(self, log_in: LogIn) -> str:
        if self._refused_login is not None:
            until, error = self._refused_login
            if self._clock() < until:
                raise error
        attempt = 0
        while True:
            attempt += 1
            try:
                return await log_in(self.user, self._credentials.read_password())
            except Conflict as error:
                if _NOT_ENABLED not in str(error):
                    raise
                return NO_TOKEN
            except (LimitReached, Unauthenticated) as error:
                if isinstance(error, Unauthenticated) and not error.passing:
                    named = Unauthenticated(f"the registry refuses user {self.user!r}: {error}")
                    self._refused_login = (self._clock() + REST_SECONDS, named)
                    raise named from error
            await asyncio.sleep(CALL_WAIT.seconds(attempt + 1, draw()))


def metadata(token: str) -> tuple[tuple[str, str], ...] | None:
    """Return a call's metadata."""
    return ((METADATA_KEY, token),) if token else None
