"""What a leader knows of each member's log, and how it therefore talks to it.

    PROBE      where the logs agree is not known: one message, then wait for the answer or for a
               heartbeat's answer (so that a lost probe does not stop replication)
    REPLICATE  the logs agree: send optimistically, many messages in flight, up to a window
    SNAPSHOT   entries that it lacks have been compacted away: a raft_snapshot is on its way, and
               nothing else is sent

An accepted append turns PROBE into REPLICATE; a rejection turns REPLICATE into PROBE. SNAPSHOT ends
when the member has what the log can continue from (REPLICATE), or when the shell reports how
sending it went (PROBE).

Invariant: 0 <= match < next. Entries in (match, next) are in flight.

Source: etcd raft, tracker/progress.go and tracker/inflights.go; Raft, section 5.3 (nextIndex and
matchIndex of figure 2).
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from tianlu_registry.raft.types import NO_INDEX, Index


class ProgressState(Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Inflights:
    """The window of unacknowledged AppendEntries messages of one follower.

    Args:
        messages_max: full at this many messages.
        bytes_max: full at this many bytes of entries, or at the first message beyond.
    """

    __slots__ = ("_bytes", "_bytes_max", "_messages", "_messages_max")

    def __init__(self, messages_max: int, bytes_max: int) -> None:
        self._messages_max = messages_max
        self._bytes_max = bytes_max
        self._messages: deque[tuple[Index, int]] = deque()  # last index, size
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        return len(self._messages) >= self._messages_max or self._bytes >= self._bytes_max

    def add(self, last_index: Index, size: int) -> None:
        self._messages.append((last_index, size))
        self._bytes += size

    def free_to(self, index: Index) -> None:
        """Forget the messages whose entries are all at or before `index`."""
        while self._messages and self._messages[0][0] <= index:
            self._bytes -= self._messages.popleft()[1]

    def clear(self) -> None:
        self._messages.clear()
        self._bytes = 0


class Progress:
    """One member's progress, owned by the leader's core.

    Attributes:
        match: the logs are known to agree, durably at the member, up to here.
        next: the next entry to send.
        state: see the module.
        paused: nothing more is sent until an answer to an append or a heartbeat.
        recent_active: heard of since the last check of the quorum.
        active_before: heard of in the time between that check and the one before.
        commit_sent: newest commit index that the member has been told.
        pending_snapshot: in SNAPSHOT, the index of the one that is on its way.
        is_learner: receives entries, but counts in no majority.
    """

    __slots__ = (
        "active_before",
        "commit_sent",
        "inflights",
        "is_learner",
        "match",
        "next",
        "paused",
        "pending_snapshot",
        "recent_active",
        "state",
    )

    def __init__(self, next_index: Index, inflights: Inflights, *, is_learner: bool) -> None:
        self.match = NO_INDEX
        self.next = next_index
        self.state = ProgressState.PROBE
        self.paused = False
        self.recent_active = False
        self.active_before = False
        self.commit_sent = NO_INDEX
        self.pending_snapshot = NO_INDEX
        self.inflights = inflights
        self.is_learner = is_learner

    def become_probe(self) -> None:
        self.state = ProgressState.PROBE
        self.paused = False
        self.inflights.clear()
        self.next = Index(self.match + 1)
        self.commit_sent = min(self.commit_sent, self.match)

    def become_snapshot(self, index: Index) -> None:
        self.state = ProgressState.SNAPSHOT
        self.paused = True
        self.inflights.clear()
        self.pending_snapshot = index

    def snapshot_ended(self, *, installed: bool) -> None:
        """Note that the raft_snapshot has arrived or failed. Ask what the member holds now, but not
        before its next answer to a heartbeat: that spaces attempts that fail."""
        next_index = self.pending_snapshot + 1 if installed else 0
        self.become_probe()
        self.next = Index(max(self.next, next_index))
        self.paused = True

    def become_replicate(self) -> None:
        self.state = ProgressState.REPLICATE
        self.paused = False
        self.inflights.clear()
        self.next = Index(self.match + 1)

    def sent(self, last_index: Index, size: int, commit: Index) -> None:
        """Note a message with entries up to `last_index` (next - 1 if it had none)."""
        if self.state is ProgressState.PROBE:
            self.paused = True
        else:
            if last_index >= self.next:
                self.next = Index(last_index + 1)
                self.inflights.add(last_index, size)
            self.paused = self.inflights.full
        self.commit_sent = commit

    def accepted(self, index: Index) -> bool:
        """Note that the logs agree up to `index`. False if that was known (a repeated answer)."""
        if index <= self.match:
            return False
        self.match = index
        self.next = max(self.next, Index(index + 1))
        self.paused = self.state is ProgressState.SNAPSHOT
        self.inflights.free_to(index)
        return True

    def rejected(self, prev_index: Index, hint_index: Index) -> bool:
        """Note that the logs disagree at `prev_index` and may agree at `hint_index`.

        Returns:
            False if the answer is stale: to a message other than the one waited for, or about
            what has been acknowledged since; or if a raft_snapshot is on its way.
        """
        if self.state is ProgressState.SNAPSHOT:
            return False
        if self.state is ProgressState.REPLICATE:
            if prev_index <= self.match:
                return False
            self.become_probe()
            return True
        if self.next - 1 != prev_index:
            return False
        self.next = Index(max(min(prev_index, hint_index + 1), self.match + 1))
        self.commit_sent = min(self.commit_sent, Index(self.next - 1))
        self.paused = False
        return True

    @property
    def window_full(self) -> bool:
        """Whether a message may carry no entries: too many are in flight."""
        return self.state is ProgressState.REPLICATE and self.inflights.full

    def lacks_commit(self, commit: Index) -> bool:
        """Whether telling the member `commit` may let it commit more than it has been told."""
        return self.commit_sent < commit and self.commit_sent < self.next - 1
