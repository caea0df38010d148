"""The database of a simulated member: what LMDB holds in a real one.

The state machine writes to it at once, and it becomes durable only when a copy of it, with the log
position that it stands for, has been saved. A crash goes back to the newest saved copy; what
follows is applied again from the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sortedcontainers import SortedDict

from tianlu_registry.errors import Corrupt, check
from tianlu_registry.raft import NO_INDEX, NO_TERM, ConfState, Index, SnapshotMeta, Term


@dataclass(frozen=True)
class Saved:
    """A database as of one log position. Never changed.

    Attributes:
        chain: the checker's digest of all that was applied, in order; no part of the state.
        revisions, leases, meta: the tables.
    """

    conf_state: ConfState
    index: Index = NO_INDEX
    term: Term = NO_TERM
    chain: int = 0
    revisions: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    leases: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    meta: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)

    @property
    def snapshot(self) -> SnapshotMeta:
        """What a raft_snapshot of it is called."""
        return SnapshotMeta(self.index, self.term, self.conf_state)


class MemoryBackend:
    """Implements `mvcc.RevisionBackend` and `lease.LeaseBackend` on dictionaries.

    Args:
        saved: what it begins with; copied.
    """

    def __init__(self, saved: Saved) -> None:
        self.replace(saved)

    def replace(self, saved: Saved) -> None:
        """Hold another database's content."""
        self._revisions: SortedDict[bytes, bytes] = SortedDict(saved.revisions)
        self._leases = dict(saved.leases)
        self._meta = dict(saved.meta)
        self._newest = self._revisions.peekitem()[0] if self._revisions else b""

    def freeze(self, conf_state: ConfState, index: Index, term: Term, chain: int) -> Saved:
        """Return a copy, as of a log position."""
        return Saved(
            conf_state,
            index,
            term,
            chain,
            dict(self._revisions),
            dict(self._leases),
            dict(self._meta),
        )

    # The table of revisions

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._revisions.get(key)
        return value

    def get_many(self, keys: list[bytes]) -> list[bytes]:
        try:
            return [self._revisions[key] for key in keys]
        except KeyError as error:
            raise Corrupt(f"no record at {error}") from error

    def put(self, key: bytes, value: bytes) -> None:
        check(key > self._newest, f"{key.hex()} was put after {self._newest.hex()}")
        self._newest = key
        self._revisions[key] = value

    def put_many(self, keys: list[bytes], values: list[bytes]) -> None:
        for key, value in zip(keys, values, strict=True):
            self.put(key, value)

    def delete(self, key: bytes) -> None:
        self._revisions.pop(key, None)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in self._revisions.irange(start, end, inclusive=(True, False)):
            yield key, self._revisions[key]

    def get_meta(self, name: bytes) -> bytes | None:
        return self._meta.get(name)

    def put_meta(self, name: bytes, value: bytes) -> None:
        self._meta[name] = value

    # The table of leases

    def leases(self) -> Iterator[tuple[int, bytes]]:
        yield from sorted(self._leases.items())

    def put_lease(self, lease_id: int, record: bytes) -> None:
        self._leases[lease_id] = record

    def delete_lease(self, lease_id: int) -> None:
        self._leases.pop(lease_id, None)
