"""Logging in, and changing users and roles: what is done before a change goes into the log.

Passwords are hashed before, so that applying is the same everywhere. A login is checked by the
member that is asked, with a state as new as the call; if users or roles have changed while the
password was being verified, it is verified again. Source: etcd server/etcdserver/v3_server.go.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from tianlu._proto.etcd.auth_pb2 import Permission
from tianlu._proto.etcd.rpc_pb2 import (
    AuthenticateRequest,
    AuthUserAddRequest,
    AuthUserChangePasswordRequest,
)
from tianlu_registry.auth import AuthCommand
from tianlu_registry.auth.commands import AuthRequest
from tianlu_registry.auth.envelope import USER_BYTES_MAX
from tianlu_registry.authn.guard import NOBODY, Guard
from tianlu_registry.authn.passwords import Passwords
from tianlu_registry.authn.tokens import Tokens, digest_of
from tianlu_registry.engine.auth import AuthEngine
from tianlu_registry.errors import (
    AuthFailed,
    AuthNotEnabled,
    AuthOldRevision,
    InputError,
    InvalidArgument,
    NoPasswordUser,
)

_log = logging.getLogger(__name__)

PASSWORD_BYTES_MAX: Final = 4096
_LOGIN_ATTEMPTS: Final = 5


class Administration:
    """Users, roles, and the way in.

    Args:
        guard: finds out who calls.
    """

    def __init__(
        self,
        engine: AuthEngine,
        guard: Guard,
        tokens: Tokens,
        passwords: Passwords,
    ) -> None:
        self._engine = engine
        self._guard = guard
        self._tokens = tokens
        self._passwords = passwords

    async def status(self) -> tuple[bool, int]:
        """Return whether authentication is on, and the auth revision."""
        await self._engine.barrier()
        return self._engine.auth.enabled, self._engine.auth.revision

    async def log_in(self, name: str, password: str) -> str:
        """Return a token for a user who knows his password.

        Raises:
            AuthNotEnabled: there is no need to.
            AuthFailed: there is no such user, or the password is wrong.
            NoPasswordUser: the user has none.
            TooManyRequests: too many are logging in.
        """
        await self._engine.barrier()
        for _ in range(_LOGIN_ATTEMPTS):
            revision = await self._verify(name, password)
            token = await self._issue(name, revision)
            if revision == self._engine.auth.revision:
                return token
        raise AuthOldRevision

    async def _verify(self, name: str, password: str) -> int:
        """Return the auth revision at which the password was right."""
        auth = self._engine.auth
        if not auth.enabled:
            raise AuthNotEnabled
        user = auth.user(name)
        if user is not None and user.options.no_password:
            raise NoPasswordUser
        revision = auth.revision
        hashed = None if user is None else user.password
        if len(password.encode()) > PASSWORD_BYTES_MAX or not await self._passwords.verify(
            password, hashed
        ):
            _log.warning("login_refused known_user=%s", user is not None)
            raise AuthFailed
        return revision

    async def _issue(self, name: str, revision: int) -> str:
        signed = self._tokens.sign(name, revision)
        if signed is not None:
            return signed
        token = self._tokens.make()
        request = AuthenticateRequest(name=name, password=digest_of(token))
        await self._engine.change_auth(AuthCommand.LOG_IN, request, None)
        return token

    async def add_user(self, request: AuthUserAddRequest) -> Any:  # noqa: ANN401
        """Add a user.

        Raises:
            InvalidArgument: the name or the password is too long.
        """
        if len(request.name.encode()) > USER_BYTES_MAX:
            raise InvalidArgument("name", f"is longer than {USER_BYTES_MAX} bytes")
        await self._may_administer()
        request.ClearField("hashedPassword")
        if not request.options.no_password:
            request.hashedPassword = await self._hash(request.password)
        request.ClearField("password")
        return await self.change(AuthCommand.USER_ADD, request)

    async def change_password(self, request: AuthUserChangePasswordRequest) -> Any:  # noqa: ANN401
        """Give a user another password.

        Raises:
            InvalidArgument: it is too long.
        """
        await self._may_administer()
        request.hashedPassword = await self._hash(request.password)
        request.ClearField("password")
        return await self.change(AuthCommand.USER_CHANGE_PASSWORD, request)

    async def change(self, kind: AuthCommand, request: AuthRequest) -> Any:  # noqa: ANN401
        """Put a change into the log on behalf of the caller; only root may, while authentication
        is on."""
        claim = await self._guard.claim() if self._guard.enabled else NOBODY
        return await self._engine.change_auth(kind, request, claim)

    async def users(self) -> list[str]:
        await self._may_administer()
        await self._engine.barrier()
        return self._engine.auth.user_names()

    async def roles(self) -> list[str]:
        await self._may_administer()
        await self._engine.barrier()
        return self._engine.auth.role_names()

    async def roles_of(self, user: str) -> list[str]:
        """Return the roles of a user, who may ask for himself."""
        await self._engine.barrier()
        if self._guard.enabled:
            claim = await self._guard.claim()
            self._administrator_or(claim.user != "" and claim.user == user)
        return self._engine.auth.roles_of(user)

    async def permissions_of(self, role: str) -> list[Permission]:
        """Return what a role permits; who has it may ask."""
        await self._engine.barrier()
        if self._guard.enabled:
            claim = await self._guard.claim()
            self._administrator_or(self._engine.auth.has_role(claim.user, role))
        return self._engine.auth.permissions_of(role)

    def _administrator_or(self, concerned: bool) -> None:
        try:
            self._guard.require_now(self._engine.checker.administrator)
        except InputError:
            if not concerned:
                raise

    async def _may_administer(self) -> None:
        """Check before a password is hashed, or a list is made, for who may not."""
        if self._guard.enabled:
            await self._guard.require(self._engine.checker.administrator)

    async def _hash(self, password: str) -> str:
        if len(password.encode()) > PASSWORD_BYTES_MAX:
            raise InvalidArgument("password", f"is longer than {PASSWORD_BYTES_MAX} bytes")
        return await self._passwords.hash(password)
