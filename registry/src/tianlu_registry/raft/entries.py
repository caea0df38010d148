"""Arithmetic over runs of entries."""

from __future__ import annotations

from collections.abc import Iterable

from tianlu_registry.raft.types import Entry


def bytes_of(entries: Iterable[Entry]) -> int:
    """Return the size of the entries' data."""
    return sum([len(entry.data) for entry in entries])


def limit_bytes(entries: list[Entry], bytes_max: int) -> list[Entry]:
    """Return the longest prefix whose data is within `bytes_max`, but at least one entry."""
    total = 0
    for count, entry in enumerate(entries):
        total += len(entry.data)
        if total > bytes_max and count:
            return entries[:count]
    return entries
