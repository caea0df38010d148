"""The stable log's tail in memory: what the consensus core reads back.

The WAL on disk is written and, at a start, read from front to back; it is never searched. What the
core may still need (entries to apply, entries that a follower lacks) is kept here until it is
compacted. Its size is bounded by its owner, who compacts it as the state machine advances.
"""

from __future__ import annotations

from collections.abc import Sequence

from tianlu_registry.errors import check
from tianlu_registry.raft import (
    NO_INDEX,
    NO_TERM,
    ConfState,
    Entry,
    HardState,
    Index,
    LogCompacted,
    SnapshotMeta,
    Term,
)
from tianlu_registry.raft.entries import bytes_of, limit_bytes


class MemoryLog:
    """A `raft.LogStorage` over a list. One thread owns it: the one that runs the RawNode.

    Args:
        conf_state: the members at `compacted_index`.
        hard_state: what was recovered; the empty one for a new member.
        compacted_index, compacted_term: the entry before the first one here; 0 and 0 for none.
        entries: those from compacted_index + 1 on, without gaps. Copied.
    """

    def __init__(
        self,
        conf_state: ConfState,
        *,
        hard_state: HardState | None = None,
        compacted_index: Index = NO_INDEX,
        compacted_term: Term = NO_TERM,
        entries: Sequence[Entry] = (),
    ) -> None:
        self._conf_state = conf_state
        self._hard_state = hard_state or HardState()
        self._compacted_index: int = compacted_index
        self._compacted_term = compacted_term
        self._entries: list[Entry] = []
        self._bytes = 0
        self.append(entries)

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._hard_state, self._conf_state

    @property
    def first_index(self) -> Index:
        return Index(self._compacted_index + 1)

    @property
    def last_index(self) -> Index:
        return Index(self._compacted_index + len(self._entries))

    @property
    def bytes(self) -> int:
        """Size of the data of all entries held."""
        return self._bytes

    def term(self, index: Index) -> Term:
        offset = index - self._compacted_index
        if offset == 0:
            return self._compacted_term
        if offset < 0:
            raise LogCompacted(f"entry {index}: the log begins at {self.first_index}")
        check(offset <= len(self._entries), f"term of entry {index} beyond the log's end")
        return self._entries[offset - 1].term

    def entries(self, low: Index, high: Index, bytes_max: int) -> list[Entry]:
        start = low - self._compacted_index - 1
        end = high - self._compacted_index - 1
        if start < 0:
            raise LogCompacted(f"entry {low}: the log begins at {self.first_index}")
        check(start <= end <= len(self._entries), f"entries [{low}, {high}) beyond the log's end")
        return limit_bytes(self._entries[start:end], bytes_max)

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries, replacing everything at their indexes and after.

        Raises:
            InvariantBroken: they would leave a gap, or replace what has been compacted.
        """
        if not entries:
            return
        keep = entries[0].index - self._compacted_index - 1
        check(
            0 <= keep <= len(self._entries),
            f"entry {entries[0].index} appended to a log of "
            f"[{self.first_index}, {self.last_index}]",
        )
        if keep < len(self._entries):
            self._bytes -= bytes_of(self._entries[keep:])
            del self._entries[keep:]
        self._entries += entries
        self._bytes += bytes_of(entries)
        check(
            self._entries[-1].index == self.last_index,
            f"entries up to {self._entries[-1].index} appended with a gap",
        )

    def restore(self, snapshot: SnapshotMeta) -> None:
        """Begin again after a raft_snapshot, which replaces every entry."""
        self._compacted_index = snapshot.index
        self._compacted_term = snapshot.term
        self._entries.clear()
        self._bytes = 0

    def compact(self, up_to: Index) -> None:
        """Forget entries up to and with `up_to`, keeping its term. Older positions are ignored.

        Only what the state machine has applied may be compacted; a follower that needs older
        entries will then need a raft_snapshot.

        Raises:
            InvariantBroken: `up_to` is beyond the log's end.
        """
        if up_to <= self._compacted_index:
            return
        term = self.term(up_to)
        count = up_to - self._compacted_index
        self._bytes -= bytes_of(self._entries[:count])
        del self._entries[:count]
        self._compacted_index = up_to
        self._compacted_term = term
