"""Tokens: what stands for a password after it has been checked once.

A simple token is a random word that members know by its digest. It comes to them through the log,
so that a client may go on with another member, and is kept in memory only: after a restart, as when
it expires, its client is told so and logs in anew. A signed one (`signed_tokens`) needs no memory.

Source: etcd server/auth/simple_token.go.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from tianlu_registry.auth import Claim

TTL_SECONDS: Final = 300.0
TOKENS_MAX: Final = 100_000
"""Tokens kept. Beyond it the one that was used longest ago is forgotten."""

_RANDOM_BYTES: Final = 32


class Tokens(Protocol):
    """A kind of token."""

    def claim_of(self, token: str, revision: int) -> Claim | None:
        """Return who a token stands for; None if it is not (or not yet) known, or has expired.

        Args:
            revision: of the auth store now.
        """
        ...

    def sign(self, user: str, revision: int) -> str | None:
        """Return a token for a user whose password was right at an auth revision; None if tokens
        of this kind have to be made known to the members instead (`make`, `know`)."""
        ...

    def make(self) -> str:
        """Return a new token, which nobody knows yet."""
        ...

    def know(self, user: str, digest: str) -> None:
        """From now on the token of this digest stands for `user`."""
        ...

    def forget_user(self, user: str) -> None: ...

    def forget_all(self) -> None: ...


class SimpleTokens:
    """The simple tokens that this member knows.

    Args:
        clock: monotonic seconds.
        ttl_seconds: how long an unused token lives.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        ttl_seconds: float = TTL_SECONDS,
        tokens_max: int = TOKENS_MAX,
    ) -> None:
        self._clock = clock
        self._ttl_seconds = ttl_seconds
        self._tokens_max = tokens_max
        # By digest: user, end of life. Every use moves a token to the end, so those at the
        # beginning end first.
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def sign(self, user: str, revision: int) -> str | None:
        return None

    def make(self) -> str:
        return secrets.token_urlsafe(_RANDOM_BYTES)

    def know(self, user: str, digest: str) -> None:
        now = self._clock()
        self._expire(now)
        while len(self._known) >= self._tokens_max:
            self._known.popitem(last=False)
        self._known[digest] = (user, now + self._ttl_seconds)

    def claim_of(self, token: str, revision: int) -> Claim | None:
        digest = digest_of(token)
        found = self._known.get(digest)
        now = self._clock()
        if found is None or found[1] <= now:
            return None
        self._known[digest] = (found[0], now + self._ttl_seconds)
        self._known.move_to_end(digest)
        return Claim(found[0], revision)

    def forget_user(self, user: str) -> None:
        for digest in [each for each, (name, _) in self._known.items() if name == user]:
            del self._known[digest]

    def forget_all(self) -> None:
        self._known.clear()

    def _expire(self, now: float) -> None:
        while self._known:
            digest, (_, ends) = next(iter(self._known.items()))
            if ends > now:
                return
            del self._known[digest]


def digest_of(token: str) -> str:
    """Return what members remember of a token. It is random enough to need no salt."""
    return hashlib.sha256(token.encode()).hexdigest()
