"""Password hashes (argon2id) and the one rule about passwords."""

from __future__ import annotations

import threading
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

PASSWORD_LENGTH_MIN: Final = 10
PASSWORD_LENGTH_MAX: Final = 256
CONCURRENT_HASHES_MAX: Final = 2
"""Each hash takes 64 MiB for a moment; further ones wait for their turn."""


class Passwords:
    """Makes and checks hashes. Methods take about 50 ms of a thread and must not run in the event
    loop.

    Source: RFC 9106, section 4, second recommended option (argon2-cffi's default).
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = threading.BoundedSemaphore(CONCURRENT_HASHES_MAX)
        # Checked when nobody has the given name, so that the answer takes as long as for somebody
        # who has.
        self._nobody = self.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """Return a salted hash that carries its own parameters."""
        with self._turns:
            return self._hasher.hash(password)

    def matches(self, password: str, password_hash: str | None) -> bool:
        """Return whether `password` belongs to the hash; None stands for a person who does not
        exist.
        """
        with self._turns:
            try:
                self._hasher.verify(password_hash or self._nobody, password)
            except (VerificationError, InvalidHashError):
                return False
        return password_hash is not None
