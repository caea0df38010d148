"""What a member wants done: the core's only way to act upon the world."""

from __future__ import annotations

from dataclasses import dataclass

from tianlu_registry.raft.messages import Message
from tianlu_registry.raft.types import Entry, HardState, ReadState, SnapshotMeta, SoftState


@dataclass(frozen=True, slots=True)
class Ready:
    """Work for the shell. DESIGN.md, "The shell's duties", says in which order it may be done.

    Attributes:
        number: counts up by one from 1. `RawNode.on_persisted` takes it.
        hard_state: to be made durable if not None.
        snapshot: log and state machine are to be replaced by this raft_snapshot, before `entries`.
        entries: to be made durable, replacing everything stored at their indexes and after.
        committed_entries: to be applied in this order, each exactly once. They are durable.
        messages: to be sent, at once if liked: the core holds back what must wait for the disk.
        read_states: indexes for earlier read requests.
        soft_state: the new leader and role if either has changed since the last Ready.
    """

    number: int
    hard_state: HardState | None = None
    snapshot: SnapshotMeta | None = None
    entries: tuple[Entry, ...] = ()
    committed_entries: tuple[Entry, ...] = ()
    messages: tuple[Message, ...] = ()
    read_states: tuple[ReadState, ...] = ()
    soft_state: SoftState | None = None

    @property
    def must_sync(self) -> bool:
        """Whether there is something to write and sync, and then to report with `on_persisted`.

        A new commit index alone never asks for a write: it goes with the next one, and a restart
        finds it again by election.
        """
        return bool(self.entries) or self.hard_state is not None or self.snapshot is not None
