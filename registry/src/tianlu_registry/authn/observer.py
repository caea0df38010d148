"""What hangs on users and roles in this process: known tokens, and watches and streams that run."""

from __future__ import annotations

from tianlu_registry.authn.guard import Guard
from tianlu_registry.authn.guarded_store import GuardedStore
from tianlu_registry.authn.tokens import Tokens
from tianlu_registry.engine.auth import AuthEngine


class AuthFollower:
    """Implements `auth.AuthObserver`."""

    def __init__(
        self, engine: AuthEngine, tokens: Tokens, store: GuardedStore, guard: Guard
    ) -> None:
        self._auth = engine.auth
        self._tokens = tokens
        self._store = store
        self._guard = guard

    def logged_in(self, user: str, token_digest: str) -> None:
        self._tokens.know(user, token_digest)

    def password_changed(self, user: str) -> None:
        self._tokens.forget_user(user)

    def changed(self) -> None:
        if not self._auth.enabled:
            self._tokens.forget_all()
        self._store.recheck()
        self._guard.recheck()

    def replaced(self) -> None:
        self._tokens.forget_all()
        self._store.recheck()
        self._guard.recheck()
