"""Random tokens and what is stored of them."""

from __future__ import annotations

import hashlib
import secrets


def new_token() -> str:
    """Return 256 random bits, fit for a URL and a cookie."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    """Return what is stored. Plain SHA-256 will do: a random token, unlike a password, cannot be
    guessed.
    """
    return hashlib.sha256(token.encode()).digest()
