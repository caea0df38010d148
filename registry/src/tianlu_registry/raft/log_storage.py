"""The seam to the durable log: what the core reads back of what its shell has written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tianlu_registry.raft.types import ConfState, Entry, HardState, Index, Term


class LogStorage(Protocol):
    """The stable part of the log, as the core reads it.

    Ownership: the shell writes, the core reads. What a Ready gave to be written must be readable
    here before `RawNode.on_persisted` says that it is durable; reading it earlier does no harm.
    Threading: called only from within RawNode's methods, on their thread. Blocking: answers
    come from memory; a call must not wait for a disk.

    The shell may compact entries that the state machine holds. When it has stored the raft_snapshot
    of a Ready, first_index is the one after it and `term` knows the term at its index.

    The entries are those in [first_index, last_index]; the term of the entry before them is
    kept, so that logs can be compared there. An empty log has last_index == first_index - 1.
    """

    def initial_state(self) -> tuple[HardState, ConfState]:
        """Return what was durable at the start, and the membership. Called once."""
        ...

    @property
    def first_index(self) -> Index: ...

    @property
    def last_index(self) -> Index: ...

    def term(self, index: Index) -> Term:
        """Return the term of the entry at `index`, in [first_index - 1, last_index].

        Raises:
            LogCompacted: `index` is below the range.
        """
        ...

    def entries(self, low: Index, high: Index, bytes_max: int) -> Sequence[Entry]:
        """Return the entries in [low, high), cut off where their data would pass `bytes_max`, but
        at least one.

        Raises:
            LogCompacted: `low` is below first_index.
        """
        ...


class LogCompacted(Exception):
    """The entries asked for have been compacted away. Caught within the core, never seen
    outside."""
