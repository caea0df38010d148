"""As whom etcd is asked: as the node itself, or as whoever asks the node.

etcd knows a caller by the token in a call's metadata. What a client of this node asks for goes on
with that client's own token, and with none if it has none: so etcd's permissions count, whatever
this node may. What the node does of itself (the catalogue, its status) goes with its own.

Source: etcd server/etcdserver/v3_server.go, `AuthInfoFromCtx`; client/v3/retry_interceptor.go (when
to log in again).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from tianlu_registry.engine.etcd_config import EtcdConfig
from tianlu_registry.errors import (
    AuthNotEnabled,
    AuthOldRevision,
    InvalidAuthToken,
    RegistryError,
    UserEmpty,
)

_log = logging.getLogger(__name__)

Metadata = tuple[tuple[str, str], ...]

_STALE: Final = (InvalidAuthToken, AuthOldRevision, UserEmpty)
"""How etcd refuses a token that it does not know any more, or that it wants."""


def metadata_of(token: str | None) -> Metadata:
    """Return a call's metadata for a token."""
    return () if token is None else (("token", token),)


class Identity(Protocol):
    """Somebody, as etcd knows him."""

    async def token(self) -> str | None:
        """Return the token to ask with.

        Raises:
            RegistryError: logging in failed.
        """
        ...

    def is_worth_another(self, token: str | None, refusal: RegistryError) -> bool:
        """Whether a call that was refused with that token may succeed with the next."""
        ...


class Caller:
    """Whoever is being served; nobody, outside of any call.

    Args:
        token: his.
        nobody_is_asked_for: whether calls without a token may go on. Where etcd knows this node by
            its certificate, it would take them for the node's own.
    """

    def __init__(
        self, token: Callable[[], str | None], nobody_is_asked_for: Callable[[], bool]
    ) -> None:
        self._token = token
        self._nobody_is_asked_for = nobody_is_asked_for

    async def token(self) -> str | None:
        return self.checked()

    def checked(self) -> str | None:
        """Return the token.

        Raises:
            UserEmpty: there is none, and must be.
        """
        token = self._token()
        if token is None and not self._nobody_is_asked_for():
            raise UserEmpty
        return token

    def is_worth_another(self, token: str | None, refusal: RegistryError) -> bool:
        return False


class Nobody:
    """Without a name, as before etcd had users."""

    async def token(self) -> str | None:
        return None

    def is_worth_another(self, token: str | None, refusal: RegistryError) -> bool:
        return False


class OwnUser:
    """The user that this node was given. Logs in when a token is first needed, and again when etcd
    does not know it any more; while etcd's authentication is off, there is none.

    Args:
        authenticate: logs in with a name and a password, and returns a token.
    """

    def __init__(
        self, config: EtcdConfig, authenticate: Callable[[str, str], Awaitable[str]]
    ) -> None:
        self._config = config
        self._authenticate = authenticate
        self._token: str | None = None
        self._is_known = False
        self._logging_in = asyncio.Lock()

    async def token(self) -> str | None:
        if not self._is_known:
            async with self._logging_in:  # once for all who wait
                if not self._is_known:
                    self._token = await self._log_in()
                    self._is_known = True
        return self._token

    def is_worth_another(self, token: str | None, refusal: RegistryError) -> bool:
        if not isinstance(refusal, _STALE):
            return False
        if token == self._token:
            self._is_known = False
        return True

    async def _log_in(self) -> str | None:
        try:
            token = await self._authenticate(self._config.user, self._config.password())
        except AuthNotEnabled:
            return None
        _log.info("etcd.logged_in user=%s", self._config.user)
        return token
