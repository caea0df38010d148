"""Rebuilding the index from the backend at start.

One pass in revision order. This is the start-up time of a node, so the loop does as little per
record as it can: parse the record, set one entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tianlu._proto.etcd.kv_pb2 import KeyValue
from tianlu_registry.mvcc.key_index import KeyHistory
from tianlu_registry.mvcc.revision import MAIN_SHIFT, TOMBSTONE


class Restored(NamedTuple):
    """What the records say.

    Attributes:
        entries: of the key index.
        leases: lease of every key that has a value and hangs on one.
        revision: main revision of the newest record, 0 without any.
    """

    entries: dict[bytes, int | KeyHistory]
    leases: dict[bytes, int]
    revision: int


def rebuild(records: Iterable[tuple[bytes, bytes]]) -> Restored:
    """Rebuild from (revision key, record) pairs in order."""
    entries: dict[bytes, int | KeyHistory] = {}
    leases: dict[bytes, int] = {}
    parse = KeyValue.FromString
    packed = 0
    for revision_key, record in records:
        packed = int.from_bytes(revision_key, "big")
        kv = parse(record)
        key = kv.key
        entry = entries.get(key)
        if entry is None and kv.version == 1:
            entries[key] = packed
        else:
            entries[key] = _extended(entry, packed, kv)
        if lease := kv.lease:
            leases[key] = lease
        elif leases and key in leases:
            del leases[key]
    return Restored(entries, leases, packed >> MAIN_SHIFT)


def is_dead(entry: int | KeyHistory) -> bool:
    """Whether a key has only history, no value."""
    return isinstance(entry, KeyHistory) and bool(entry.revisions[-1] & TOMBSTONE)


def _extended(entry: int | KeyHistory | None, packed: int, kv: KeyValue) -> KeyHistory:
    """Return a key's history with one more revision."""
    if entry is None:
        history = KeyHistory([], 0, 0)
    elif isinstance(entry, KeyHistory):
        history = entry
    else:
        history = KeyHistory([entry], entry >> MAIN_SHIFT, 1)
    history.revisions.append(packed)
    if not packed & TOMBSTONE:
        history.created, history.version = kv.create_revision, kv.version
    return history
