"""Lists of URLs, as flags give them."""

from __future__ import annotations


def split_urls(text: str) -> tuple[str, ...]:
    """Return the URLs of a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
