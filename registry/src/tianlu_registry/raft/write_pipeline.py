"""Writes that are under way, and the messages that must not overtake them.

The shell may take several Readies before the first is durable. Each one with something to write is
remembered here, by its number, with

- the last index that its completion makes stable, and
- the messages that acknowledge what it contains: accepted appends, granted votes, and the
  candidate's own vote and requests. They leave when it and all writes before it are durable.

When a conflicting end of the log is replaced, the writes that carried it still complete, but no
longer say anything about the new entries at those indexes, even if these are equal to the old
ones (A replaced by B replaced by A: the write of B is still to come). So every write's last
index is cut back to before the conflict.

Source: Raft dissertation, section 3.8 (what is persisted before answering) and 10.2.1 (writing to
the leader's disk in parallel). etcd raft (rawnode.go) solves A-B-A by comparing terms.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from tianlu_registry.errors import check
from tianlu_registry.raft.messages import Message
from tianlu_registry.raft.types import NO_INDEX, Index


@dataclass(slots=True)
class _Write:
    number: int
    last_index: Index
    messages: list[Message] = field(default_factory=list)


class WritePipeline:
    __slots__ = ("_completed", "_held", "_started", "_writes")

    def __init__(self) -> None:
        self._writes: deque[_Write] = deque()
        self._held: list[Message] = []
        self._started = 0
        self._completed = 0

    @property
    def has_held(self) -> bool:
        """Whether a message waits for the next Ready to be taken."""
        return bool(self._held)

    def hold(self, message: Message) -> None:
        """Keep a message until all that the log and hard state now contain is durable."""
        self._held.append(message)

    def start(self, number: int, last_index: Index, *, writes: bool) -> list[Message]:
        """Note that Ready `number` was taken.

        Args:
            last_index: the log's end, which this write makes stable.
            writes: whether it asks for anything to be written.

        Returns:
            Messages that may leave now: those held, if nothing is or comes under way.
        """
        self._started = number
        held, self._held = self._held, []
        if writes:
            self._writes.append(_Write(number, last_index, held))
            return []
        if self._writes:
            self._writes[-1].messages += held
            return []
        return held

    def truncated(self, index: Index) -> None:
        """Note that the log's entries from `index` on have been replaced."""
        for write in self._writes:
            write.last_index = min(write.last_index, Index(index - 1))

    def complete(self, number: int) -> tuple[Index, list[Message]]:
        """Note that all writes up to `number` are durable.

        Returns:
            The index up to which the present log is now stable by them (0: nothing new), and the
            messages that waited for them.

        Raises:
            InvariantBroken: no such Ready was taken, or a newer one was reported before.
        """
        check(
            self._completed <= number <= self._started,
            f"Ready {number} reported durable; taken {self._started}, before {self._completed}",
        )
        self._completed = number
        stable, released = NO_INDEX, []
        while self._writes and self._writes[0].number <= number:
            write = self._writes.popleft()
            stable = write.last_index
            released += write.messages
        return stable, released
