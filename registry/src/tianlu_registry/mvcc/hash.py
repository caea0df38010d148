"""A checksum of the keys at a revision, for comparing members with tools: etcd's HashKV.

It covers every record up to the revision, with its place in history, apart from what the compact
revision has made useless. Whether that has been removed yet does not matter, so members that agree
have the same number whatever each of them has cleaned up. (The rolling state hash of `node` is
what members themselves compare all the time.)

A store of gigabytes is read in slices, between which it goes on: history up to a revision does
not change, but for a compaction, which begins the work anew.

Source: etcd server/storage/mvcc/hash.go. The number itself differs from etcd's, whose CRC is
Castagnoli's (Python has none that is fast), over its own form of revisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple, Protocol
from zlib import crc32

from tianlu_registry.errors import Compacted, FutureRevision
from tianlu_registry.mvcc.record import key_of
from tianlu_registry.mvcc.revision import MAIN_SHIFT, first_key_of, unpack_key

_CHUNK_RECORDS: Final = 256
"""Records joined before they are chained: one call for each would cost more than its bytes."""


class HashedHistory(Protocol):
    """What is read of the store."""

    @property
    def revision(self) -> int: ...

    @property
    def compact_revision(self) -> int: ...

    def records(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (revision key, record) for start <= revision key < end in order."""
        ...

    def value_revision(self, key: bytes, main: int) -> int:
        """Return the packed revision of the key's value at main revision `main`, 0 if it had
        none."""
        ...


class HashOfKeys(NamedTuple):
    """A finished checksum.

    Attributes:
        hash: the checksum, 32 bits.
        compact_revision: what had been compacted; members are compared only where it is equal.
        revision: up to which revision; 0 was replaced by the newest.
    """

    hash: int
    compact_revision: int
    revision: int


class KeysHasher:
    """The checksum at one revision, in the making.

    Args:
        history: the store.
        revision: up to which; 0 for the newest.

    Raises:
        Compacted, FutureRevision: the revision is not there any more, or yet.
    """

    def __init__(self, history: HashedHistory, revision: int) -> None:
        self._history = history
        self._revision = revision or history.revision
        if self._revision > history.revision:
            raise FutureRevision
        self._compact_revision = 0
        self._hash = 0
        self._next = b""
        self._begin()

    def step(self, records_max: int) -> HashOfKeys | None:
        """Go on by up to `records_max` records; call between other work.

        Returns:
            The checksum when it is done, None before.

        Raises:
            Compacted: meanwhile, what is asked for was compacted.
        """
        if self._history.compact_revision != self._compact_revision:
            self._begin()
        scan = self._history.records(self._next, first_key_of(self._revision + 1))
        records = islice(scan, records_max)
        count = 0
        while chunk := list(islice(records, _CHUNK_RECORDS)):
            count += len(chunk)
            self._hash = crc32(b"".join(self._counted(chunk)), self._hash)
            self._next = chunk[-1][0] + b"\x00"
        if count == records_max:
            return None
        return HashOfKeys(self._hash, self._compact_revision, self._revision)

    def _begin(self) -> None:
        compact_revision = self._history.compact_revision
        if self._revision < compact_revision:
            raise Compacted(compact_revision=compact_revision)
        self._compact_revision = compact_revision
        self._hash = 0
        self._next = first_key_of(0)

    def _counted(self, records: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
        """Yield what counts of these records: not what the compaction removes, and no tombstone
        at the compact revision either, because etcd's older releases remove that too."""
        compact_revision = self._compact_revision
        value_revision = self._history.value_revision
        for revision_key, record in records:
            packed = unpack_key(revision_key)
            if packed >> MAIN_SHIFT <= compact_revision and packed != value_revision(
                key_of(record), compact_revision
            ):
                continue
            yield revision_key
            yield record


def hash_of_leases(leases: Iterable[tuple[int, bytes]], seed: int) -> int:
    """Return `seed` chained with the records of all leases: for a checksum of everything.

    Args:
        leases: (lease id, record), in any order.
    """
    ordered = sorted(leases)
    return crc32(b"".join(b"%d:" % lease_id + record for lease_id, record in ordered), seed)
