"""The replicated log as its core sees it: what storage holds, and the unstable end in memory.

    compacted | storage (stable)          | unstable                      |
              first_index ... stable_index| stable_index + 1 ... last_index
                    ^ applied   ^ applying           ^ committed

Entries are unstable from when they are appended until the shell reports them durable; a part of
them is being written meanwhile. Storage may at the same time hold other entries at the same
indexes (a conflicting end that is being overwritten), so what is unstable is never read from
storage.

A raft_snapshot replaces everything up to its index. Until the shell has stored it (it is pending),
what storage holds is the old log, and nothing is read from it.

Invariants: applied <= applying <= committed <= last_index; applying <= stable_index. An entry at
or before committed never changes (Raft, section 5.4.3, state machine safety).
"""

from __future__ import annotations

from collections.abc import Sequence

from tianlu_registry.errors import check
from tianlu_registry.raft.entries import bytes_of, limit_bytes
from tianlu_registry.raft.log_storage import LogCompacted, LogStorage
from tianlu_registry.raft.types import (
    NO_INDEX,
    NO_TERM,
    Entry,
    EntryType,
    Index,
    SnapshotMeta,
    Term,
)

_PAGE_BYTES = 1024 * 1024


class RaftLog:
    """The log.

    Attributes:
        last_index, committed, applying, applied: see the module.
        pending_snapshot: what the shell is to replace log and state machine by; None if nothing.

    Raises:
        InvariantBroken: (every method) the log would break one of its invariants.
    """

    __slots__ = (
        "_restored_index",
        "_snapshot_number",
        "_storage",
        "_taken",
        "_unstable",
        "applied",
        "applying",
        "committed",
        "last_index",
        "pending_snapshot",
        "stable_index",
    )

    def __init__(self, storage: LogStorage, *, committed: Index, applied: Index) -> None:
        first, last = storage.first_index, storage.last_index
        check(applied >= first - 1, f"state applied to {applied}, but the log begins at {first}")
        check(applied <= last, f"state applied to {applied}, but the log ends at {last}")
        check(committed <= last, f"commit index {committed}, but the log ends at {last}")
        self._storage = storage
        self._unstable: list[Entry] = []
        self._taken = 0  # how many of the unstable entries have been given out to be written
        self.pending_snapshot: SnapshotMeta | None = None
        self._snapshot_number = 0  # the Ready that gave it out; 0 before
        self._restored_index = NO_INDEX
        self.stable_index = last
        self.last_index = last
        self.committed = max(committed, applied)  # what is applied has been committed
        self.applying = applied
        self.applied = applied

    # Reading

    @property
    def last_term(self) -> Term:
        return self._unstable[-1].term if self._unstable else self._stable_term(self.last_index)

    def term(self, index: Index) -> Term:
        """Return the term of the entry at `index`.

        Raises:
            LogCompacted: it is no longer known.
        """
        if index > self.stable_index:
            check(index <= self.last_index, f"term of entry {index} beyond {self.last_index}")
            return self._unstable[index - self.stable_index - 1].term
        return self._stable_term(index)

    def _stable_term(self, index: Index) -> Term:
        snapshot = self.pending_snapshot
        if snapshot is None:
            return self._storage.term(index)
        if index < snapshot.index:
            raise LogCompacted(f"entry {index}: raft_snapshot {snapshot.index} replaces it")
        return snapshot.term

    def matches(self, index: Index, term: Term) -> bool:
        """Whether the log has an entry of `term` at `index`. A compacted one has no known term,
        so it does not match."""
        if index > self.last_index:
            return False
        try:
            return self.term(index) == term
        except LogCompacted:
            return False

    def is_up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """Whether a log that ends so is at least as up-to-date as this one (Raft, 5.4.1)."""
        own_term = self.last_term
        return last_term > own_term or (last_term == own_term and last_index >= self.last_index)

    def lacks(self, low: Index) -> bool:
        """Whether a follower that needs the entries from `low` on can no longer be served."""
        return low < self._storage.first_index

    def entries_from(self, low: Index, bytes_max: int) -> list[Entry]:
        """Return entries from `low` on, within `bytes_max` but at least one if there is any.

        Raises:
            LogCompacted: `low` is no longer there.
        """
        if low > self.last_index:
            return []
        if low > self.stable_index:
            return limit_bytes(self._unstable[low - self.stable_index - 1 :], bytes_max)
        check(self.pending_snapshot is None, f"entry {low} read while the log is being replaced")
        high = Index(self.stable_index + 1)
        stable = list(self._storage.entries(low, high, bytes_max))
        room = bytes_max - bytes_of(stable)
        if len(stable) < high - low or not self._unstable or len(self._unstable[0].data) > room:
            return stable
        return stable + limit_bytes(self._unstable[:], room)

    def holds_conf_change(self, low: Index, high: Index) -> bool:
        """Whether a membership change is among the entries in [low, high]."""
        while low <= high:
            page = self.entries_from(low, _PAGE_BYTES)
            if any(entry.type is EntryType.CONF_CHANGE for entry in page[: high - low + 1]):
                return True
            low = Index(page[-1].index + 1)
        return False

    def find_conflict(self, index: Index, term: Term) -> tuple[Index, Term]:
        """Return the last position at or before `index` whose term is at most `term`.

        Given another log's entry at `index`, it is the last place at which that log may still
        agree with this one: terms never fall along a log. The term is NO_TERM where it is not
        known any more; an agreement there cannot be ruled out.

        Source: etcd raft, log.go, findConflictByTerm (an improvement on Raft, section 5.3).
        """
        position = min(index, self.last_index)
        try:
            while position > 0 and self.term(position) > term:
                position = Index(position - 1)
            return position, self.term(position)
        except LogCompacted:
            return position, NO_TERM

    # Growing

    def append_new(self, entry: Entry) -> None:
        """Add a leader's new entry. Its index must be last_index + 1."""
        self._unstable.append(entry)
        self.last_index = entry.index

    def append_after(self, index: Index, entries: Sequence[Entry]) -> Index | None:
        """Make the log hold `entries` after `index`, which is known to agree (Raft, 5.3).

        Entries already held are kept, also those after the last of `entries`: the message may be
        an old one. The first that differs is removed with all that follow it.

        Returns:
            The first index whose former entry is gone, or None if the log only grew.
        """
        if entries:
            first, last = entries[0].index, entries[-1].index
            check(
                (first, last) == (index + 1, index + len(entries)),
                f"entries [{first}, {last}] do not follow {index}",
            )
        for position, entry in enumerate(entries):
            if not self.matches(entry.index, entry.term):
                return self._replace_end(entries[position:])
        return None

    def _replace_end(self, entries: Sequence[Entry]) -> Index | None:
        start = entries[0].index
        check(start > self.committed, f"committed entry {start} would be replaced")
        truncated = start <= self.last_index
        if start <= self.stable_index:
            self.stable_index = Index(start - 1)
            self._unstable.clear()
        else:
            del self._unstable[start - self.stable_index - 1 :]
        self._taken = min(self._taken, len(self._unstable))
        self._unstable += entries
        self.last_index = entries[-1].index
        return start if truncated else None

    # Being replaced

    def restore(self, snapshot: SnapshotMeta) -> None:
        """Begin again after a raft_snapshot, which is ahead of what is committed."""
        index = snapshot.index
        check(index > self.committed, f"raft_snapshot {index} behind entry {self.committed}")
        self._unstable.clear()
        self._taken = 0
        self.pending_snapshot = snapshot
        self._snapshot_number = 0
        self._restored_index = index
        self.stable_index = self.last_index = index
        self.committed = self.applying = self.applied = index

    @property
    def has_untaken_snapshot(self) -> bool:
        return self.pending_snapshot is not None and not self._snapshot_number

    def take_snapshot(self, number: int) -> SnapshotMeta | None:
        """Return the raft_snapshot that Ready `number` is to have stored, once."""
        if not self.has_untaken_snapshot:
            return None
        self._snapshot_number = number
        return self.pending_snapshot

    def snapshot_stored(self, number: int) -> None:
        """Note that everything of the Readies up to `number` is stored."""
        snapshot = self.pending_snapshot
        if snapshot is None or not 0 < self._snapshot_number <= number:
            return
        storage = self._storage
        check(
            storage.first_index == snapshot.index + 1
            and storage.term(snapshot.index) == snapshot.term,
            f"raft_snapshot {snapshot.index} stored, but the log begins at {storage.first_index}",
        )
        self.pending_snapshot = None

    def is_replaced(self, index: Index) -> bool:
        """Whether a raft_snapshot has taken the place of an entry that was given out before."""
        return index <= self._restored_index

    # Becoming durable, committed and applied

    @property
    def has_untaken(self) -> bool:
        return self._taken < len(self._unstable)

    def take_unstable(self) -> tuple[Entry, ...]:
        """Return the entries that are to be written, each once."""
        entries = tuple(self._unstable[self._taken :])
        self._taken = len(self._unstable)
        return entries

    def stable_to(self, index: Index) -> None:
        """Note that storage holds this log's entries up to `index`. Older news is ignored."""
        count = index - self.stable_index
        if count <= 0:
            return
        check(count <= self._taken, f"entry {index} durable before it was written")
        del self._unstable[:count]
        self._taken -= count
        self.stable_index = index

    def commit_to(self, index: Index) -> bool:
        """Advance the commit index, never back. Returns whether it moved."""
        if index <= self.committed:
            return False
        check(index <= self.last_index, f"commit index {index} beyond {self.last_index}")
        self.committed = index
        return True

    @property
    def has_applicable(self) -> bool:
        return self.applying < min(self.committed, self.stable_index)

    def take_committed(self, bytes_max: int) -> tuple[Entry, ...]:
        """Return the next entries to apply, each once: committed, and durable here."""
        high = min(self.committed, self.stable_index)
        if self.applying >= high:
            return ()
        low = Index(self.applying + 1)
        entries = tuple(self._storage.entries(low, Index(high + 1), bytes_max))
        check(bool(entries) and entries[0].index == low, f"entry {low} is not in storage")
        self.applying = entries[-1].index
        return entries

    def applied_to(self, index: Index) -> None:
        """Note that the state machine holds entry `index`. News from before a raft_snapshot is
        ignored."""
        if index <= self._restored_index:
            return
        check(
            self.applied <= index <= self.applying,
            f"applied index {index} outside [{self.applied}, {self.applying}]",
        )
        self.applied = index
