"""Revisions as one integer and as the key of the backend.

A revision is (main, sub): main counts writing transactions, sub the changes within one. Both,
and the mark of a tombstone (the record of a deletion), are packed into one integer

    main << 32  |  sub << 1  |  tombstone

so that the index holds one small object per revision, integers order as revisions do, and the
big-endian bytes of that integer are the backend's key. etcd keeps the same facts in 17 or 18
bytes of text.
Source: etcd server/storage/mvcc/revision.go.
"""

from __future__ import annotations

from typing import NamedTuple

MAIN_SHIFT = 32
TOMBSTONE = 1
SUB_MAX = (1 << 31) - 1
SUB_STEP = 2
"""From one packed revision to the one with the next sub."""

REVISION_KEY_BYTES = 12


class Change(NamedTuple):
    """One key changed by one transaction.

    Attributes:
        key: the key changed.
        packed: its packed revision; odd for a deletion.
        record: the serialized `mvccpb.KeyValue` as stored; a deletion's has only key and
        mod_revision.
    """

    key: bytes
    packed: int
    record: bytes


def pack(main: int, sub: int, tombstone: bool = False) -> int:
    """Return (main, sub) as one integer. The caller keeps 0 <= sub <= SUB_MAX."""
    return main << MAIN_SHIFT | sub << 1 | tombstone


def main_of(packed: int) -> int:
    return packed >> MAIN_SHIFT


def is_tombstone(packed: int) -> bool:
    return bool(packed & TOMBSTONE)


def revision_key(packed: int) -> bytes:
    """Return the backend's key of a packed revision."""
    return packed.to_bytes(REVISION_KEY_BYTES, "big")


def unpack_key(key: bytes) -> int:
    """Return the packed revision of a backend's key."""
    return int.from_bytes(key, "big")


def first_key_of(main: int) -> bytes:
    """Return the smallest backend key of a main revision: the start or end of a scan."""
    return (main << MAIN_SHIFT).to_bytes(REVISION_KEY_BYTES, "big")
