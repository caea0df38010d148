"""Who the caller is, and whether he may: what every guarded thing asks before it acts.

A member may lag: it does not know a token that was made, or a permission that was granted, a moment
ago elsewhere. So what would be refused by the state at hand is looked at again after a barrier, by
a state that is as new as the call; only then it is refused. What is let through is looked at again
by whoever applies it, if it is a write, and after it was read, if it is a read (`still_holds`).

Source: etcd server/etcdserver/v3_server.go (`AuthInfoFromCtx`, `doSerialize`, `requireAuthInfo`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, Protocol

from tianlu_registry.auth import Checker, Claim
from tianlu_registry.authn.caller import Credentials, credentials
from tianlu_registry.authn.tokens import Tokens
from tianlu_registry.engine.auth import AuthEngine
from tianlu_registry.errors import AuthOldRevision, InputError, InvalidAuthToken

NOBODY: Final = Claim("", 0)

Check = Callable[[Claim], None]
"""Raises what is wrong with a claim's wish."""


class Stream(Protocol):
    """A call that stays open."""

    def abort(self, error: Exception) -> None:
        """End it with an error, soon."""


class Guard:
    """Finds out who calls.

    Args:
        engine: users and roles, and the barrier.
        tokens: what is known of tokens.
        client_certificates: whether the listener demands and verifies them, so that their common
            names are believed. A token goes before a certificate, as in etcd.
    """

    def __init__(
        self, engine: AuthEngine, tokens: Tokens, *, client_certificates: bool = False
    ) -> None:
        self._engine = engine
        self._tokens = tokens
        self._client_certificates = client_certificates
        self._streams: dict[Stream, tuple[str, Check]] = {}

    @property
    def enabled(self) -> bool:
        """Whether anything is to be guarded."""
        return self._engine.auth.enabled

    @property
    def checker(self) -> Checker:
        return self._engine.checker

    def claim_now(self) -> Claim:
        """Return who calls, as far as this member knows.

        Raises:
            InvalidAuthToken: the token is not known here (yet).
        """
        return self._claim_of(credentials())

    async def claim(self) -> Claim:
        """Return who calls; NOBODY if the call does not say so.

        Raises:
            InvalidAuthToken: the token is not known, or no more.
        """
        given = credentials()
        try:
            return self._claim_of(given)
        except InvalidAuthToken:
            await self._engine.barrier()
            return self._claim_of(given)

    async def require(self, check: Check) -> Claim:
        """Return who calls, if a check lets him pass.

        Raises:
            InvalidAuthToken: it is not known who calls.
            InputError: whatever the check raises.
        """
        try:
            claim = self.claim_now()
            if claim.revision <= self._engine.auth.revision:
                check(claim)
                return claim
        except InputError:
            pass
        # A newer state may know the token, have granted the permission, or not be the one that a
        # signed token is ahead of.
        await self._engine.barrier()
        claim = self.claim_now()
        check(claim)
        return claim

    async def ask(self, rule: Callable[[Checker, Claim], None]) -> None:
        """Check the caller by a rule, if anything is to be guarded."""
        if self.enabled:
            await self.require(partial(rule, self.checker))

    @contextmanager
    def held_open(self, stream: Stream, claim: Claim, check: Check) -> Iterator[None]:
        """End a stream that a check let pass once it would no longer; see `recheck`."""
        self._streams[stream] = claim.user, check
        try:
            yield
        finally:
            del self._streams[stream]

    def recheck(self) -> None:
        """End the streams of those who may no longer have them: users or roles have changed.

        What began while authentication was off goes on, as in etcd.
        """
        if not self.enabled:
            return
        for stream, (user, check) in tuple(self._streams.items()):
            try:
                check(Claim(user, self._engine.auth.revision))
            except InputError as error:
                stream.abort(error)

    def require_now(self, check: Check) -> Claim:
        """The same by the state at hand, where nothing can be waited for."""
        claim = self.claim_now()
        check(claim)
        return claim

    def still_holds(self, claim: Claim) -> None:
        """Check, after something was read, that it was read under the claim.

        Raises:
            AuthOldRevision: users or roles have changed since.
        """
        if self.enabled and claim.revision != self._engine.auth.revision:
            raise AuthOldRevision

    def _claim_of(self, given: Credentials) -> Claim:
        revision = self._engine.auth.revision
        if given.token is not None:
            claim = self._tokens.claim_of(given.token, revision)
            if claim is None:
                raise InvalidAuthToken
            return claim
        if self._client_certificates and given.common_name:
            return Claim(given.common_name, revision)
        return NOBODY
