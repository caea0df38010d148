"""The seam to the users and roles that a store replicates, beside `Store` and `Cluster`."""

from __future__ import annotations

from typing import Protocol

from tianlu_registry.auth import AuthCommand, AuthStore, Checker, Claim
from tianlu_registry.auth.apply import AuthResponse
from tianlu_registry.auth.commands import AuthRequest
from tianlu_registry.engine.store import Store


class AuthEngine(Protocol):
    """Users and roles, and a store that applies commands on behalf of them.

    Ownership and threading are those of `Store`.

    Attributes:
        auth: the state, as of what this member has applied; to be read, and observed by one.
        checker: judges requests by it.
    """

    @property
    def auth(self) -> AuthStore: ...

    @property
    def checker(self) -> Checker: ...

    async def barrier(self) -> None:
        """Return when this member has applied all that was committed before the call."""
        ...

    def claiming(self, claim: Claim) -> Store:
        """Return the store whose writes are made under a claim: checked where they are applied,
        on every member alike, and refused with the errors of `auth.Checker`."""
        ...

    async def change_auth(
        self, kind: AuthCommand, request: AuthRequest, claim: Claim | None
    ) -> AuthResponse:
        """Change users, roles or authentication; returns the request's response.

        Args:
            request: without a password (see `auth.commands`).
            claim: None for what needs none, which is LOG_IN.
        """
        ...
