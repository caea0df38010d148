"""Physical removal of compacted revisions, in small steps.

Logical compaction is immediate and takes the same time however much there is: reads below it are
refused, and the keys to look at change hands as a whole. What it makes useless is then removed a
little at a time between other work. The index forgets a key's old revisions at once; the backend
loses them oldest first, over several steps if they are many. So whatever a commit of the backend
falls between, the newest of them, a tombstone perhaps, goes last: a deleted key does not come back
after a restart. A restart resumes from the two revisions kept with the data: that scheduled, and
that finished.

Source: etcd server/storage/mvcc/kvstore_compaction.go (which scans all keys; here only keys that
have changed since the last compaction are looked at).
"""

from __future__ import annotations

from tianlu_registry.mvcc.key_index import KeyIndex
from tianlu_registry.mvcc.protocols import RevisionBackend
from tianlu_registry.mvcc.revision import revision_key

META_SCHEDULED = b"compact_scheduled"
META_FINISHED = b"compact_finished"

NEVER_COMPACTED = -1
"""The compact revision of a store that never was compacted, as etcd reports it."""


class Compactor:
    """Owner of the compact revision and of what it leaves to remove.

    Attributes:
        revision: reads below it are refused.
    """

    __slots__ = ("_backend", "_doomed", "_finished", "_index", "_work", "revision")

    def __init__(self, index: KeyIndex, backend: RevisionBackend) -> None:
        self._index = index
        self._backend = backend
        # Of this compaction and of earlier ones that it overtook. A key in two of them is looked at
        # twice, which does no harm.
        self._work: list[dict[bytes, None]] = []
        self._doomed: list[int] = []  # revisions of one key, the oldest last
        self.revision = _read(backend, META_SCHEDULED)
        self._finished = _read(backend, META_FINISHED)
        if not self.is_done:
            self._take_work()

    @property
    def is_done(self) -> bool:
        return self._finished == self.revision

    def schedule(self, revision: int) -> None:
        """Compact logically: refuse reads below `revision` from now on."""
        self.revision = revision
        self._backend.put_meta(META_SCHEDULED, _encode(revision))
        self._take_work()

    def step(self, budget: int) -> bool:
        """Look at keys and remove revisions, up to `budget` of both together.

        Returns:
            True when nothing is left to remove.
        """
        if self.is_done:
            return True
        while budget > 0 and (self._doomed or self._work):
            budget -= self._remove(budget) if self._doomed else self._look()
        if self._doomed or self._work:
            return False
        self._finished = self.revision
        self._backend.put_meta(META_FINISHED, _encode(self.revision))
        return True

    def _look(self) -> int:
        """Doom what is useless of the next key; returns 1, the work done."""
        keys = self._work[-1]
        key, _ = keys.popitem()
        if not keys:
            self._work.pop()
        self._doomed = self._index.compact_key(key, self.revision)
        self._doomed.reverse()
        return 1

    def _remove(self, count: int) -> int:
        """Remove up to `count` doomed revisions, the oldest first; returns how many."""
        doomed, backend = self._doomed, self._backend
        removed = min(count, len(doomed))
        for _ in range(removed):
            backend.delete(revision_key(doomed.pop()))
        return removed

    def _take_work(self) -> None:
        """Take over the keys to look at; those that an unfinished compaction left stay."""
        keys, self._index.compactable = self._index.compactable, {}
        if keys:
            self._work.append(keys)


def _read(backend: RevisionBackend, name: bytes) -> int:
    value = backend.get_meta(name)
    return NEVER_COMPACTED if value is None else int.from_bytes(value, "big", signed=True)


def _encode(revision: int) -> bytes:
    return revision.to_bytes(8, "big", signed=True)
