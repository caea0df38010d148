"""What the core of authentication needs of others, and tells them."""

from __future__ import annotations

from typing import Protocol


class AuthBackend(Protocol):
    """Named values, committed with the rest of the state."""

    def get_meta(self, name: bytes) -> bytes | None: ...

    def put_meta(self, name: bytes, value: bytes) -> None: ...


class AuthObserver(Protocol):
    """Who holds what hangs on the state but is no part of it: tokens, running watches. Called while
    a command is applied; must not block, and must not change the state."""

    def logged_in(self, user: str, token_digest: str) -> None:
        """`user` may be known by the token of this digest from now on."""
        ...

    def password_changed(self, user: str) -> None:
        """Whoever is known as `user` shall log in anew; the user may be gone."""
        ...

    def changed(self) -> None:
        """Users, roles or whether authentication is on are others than before."""
        ...

    def replaced(self) -> None:
        """All of the state is another's: of what was told before nothing holds."""
        ...


class NoObserver:
    """Nobody listens."""

    def logged_in(self, user: str, token_digest: str) -> None: ...

    def password_changed(self, user: str) -> None: ...

    def changed(self) -> None: ...

    def replaced(self) -> None: ...
