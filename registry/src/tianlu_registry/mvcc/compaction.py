"""Physical removal of compacted revisions, in small steps.

Logical compaction is immediate: reads below it are refused. What it makes useless is then removed
a few keys at a time between other work. A key's revisions are removed in one step, so a commit of
the backend never separates them (half of a generation without its tombstone would bring a deleted
key back after a restart). A restart resumes from the two revisions kept with the data: that
scheduled, and that finished.

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

    __slots__ = ("_backend", "_finished", "_index", "_work", "revision")

    def __init__(self, index: KeyIndex, backend: RevisionBackend) -> None:
        self._index = index
        self._backend = backend
        self._work: list[bytes] = []
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
        """Remove what is left of up to `budget` keys.

        Returns:
            True when nothing is left to remove.
        """
        if self.is_done:
            return True
        work = self._work
        for _ in range(min(budget, len(work))):
            for packed in self._index.compact_key(work.pop(), self.revision):
                self._backend.delete(revision_key(packed))
        if not work:
            self._finished = self.revision
            self._backend.put_meta(META_FINISHED, _encode(self.revision))
        return not work

    def _take_work(self) -> None:
        """Take over the keys to look at, with those that an unfinished compaction left."""
        work = dict.fromkeys(self._work)
        work.update(self._index.compactable)
        self._index.compactable.clear()
        self._work = list(work)


def _read(backend: RevisionBackend, name: bytes) -> int:
    value = backend.get_meta(name)
    return NEVER_COMPACTED if value is None else int.from_bytes(value, "big", signed=True)


def _encode(revision: int) -> bytes:
    return revision.to_bytes(8, "big", signed=True)
