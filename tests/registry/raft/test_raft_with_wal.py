"""The core and the WAL together, as a standalone node joins them, on a disk that loses power."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from registry.storage.simulated_disk import SimulatedCrash, SimulatedDisk

from tianlu_registry.raft import Config, ConfState, Index, MemberId, RawNode, Ready
from tianlu_registry.storage.log import MemoryLog
from tianlu_registry.storage.wal import Wal

ONE = MemberId(1)
DIRECTORY = Path("/wal")
SEGMENT_BYTES = 4096


class Node:
    """A standalone node in miniature: a single voter, its WAL, and a state machine that saves
    itself now and then.

    Attributes:
        answered: proposals whose answer has been given. They must never be lost.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.disk = SimulatedDisk(self.chance)
        self.answered: list[bytes] = []
        self.saved: list[bytes] = []  # the state machine's own file: what it holds, entry by entry
        self._proposed = 0
        self.restart()

    def restart(self) -> None:
        after = Index(len(self.saved))
        conf_state = ConfState((ONE,))
        if Wal.exists(DIRECTORY, files=self.disk):
            self.wal, found = Wal.open(
                DIRECTORY, after, files=self.disk, segment_bytes=SEGMENT_BYTES
            )
            self.log = MemoryLog(
                conf_state,
                hard_state=found.hard_state,
                compacted_index=found.after,
                compacted_term=found.after_term,
                entries=found.entries,
            )
        else:
            self.wal = Wal.create(DIRECTORY, b"m", files=self.disk, segment_bytes=SEGMENT_BYTES)
            self.log = MemoryLog(conf_state)
        config = Config(id=ONE, random=self.chance, applied=after)
        self.raft = RawNode(config, self.log)
        self.state = list(self.saved)
        self.writing: list[Ready] = []
        self.raft.campaign()

    def run(self) -> None:
        """Serve proposals; only a crash ends it."""
        while True:
            action = self.chance.random()
            if action < 0.4:
                self._propose()
            elif action < 0.7:
                self._take_work()
            elif action < 0.95:
                self._sync()
            else:
                self._save()

    def _propose(self) -> None:
        if self.raft.status().leader_id == ONE:
            self._proposed += 1
            size = self.chance.choice([0, 10, 700])
            self.raft.propose(b"%d." % self._proposed + self.chance.randbytes(size))

    def _take_work(self) -> None:
        while self.raft.has_ready():
            ready = self.raft.ready()
            if ready.must_sync:
                self.writing.append(ready)
            for entry in ready.committed_entries:
                self.state.append(entry.data)
                if entry.data:
                    self.answered.append(entry.data)
                self.raft.on_applied(entry.index)

    def _sync(self) -> None:
        if not self.writing:
            return
        for ready in self.writing:
            self.wal.append(ready.hard_state, ready.entries)
        self.wal.sync()
        for ready in self.writing:
            self.log.append(ready.entries)
        self.raft.on_persisted(self.writing[-1].number)
        self.writing.clear()

    def _save(self) -> None:
        self.saved = list(self.state)
        self.wal.release(Index(len(self.saved)))
        self.log.compact(Index(len(self.saved)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.lists(st.integers(1, 150), min_size=1, max_size=5))
def test_no_answered_proposal_is_lost_whatever_the_power_does(seed: int, crash_points: list[int]):
    node = Node(seed)
    for crash_point in crash_points:
        node.disk.crash_at = node.disk.operations + crash_point
        try:
            node.run()
        except SimulatedCrash:
            node.disk.crash()
        node.restart()
        finish(node)
        found = [data for data in node.state if data]
        assert set(node.answered) <= set(found)
        assert len(found) == len(set(found)), "a proposal was applied twice"


def finish(node: Node) -> None:
    """Do all work there is."""
    for _ in range(20):
        node._take_work()
        node._sync()
    assert not node.raft.has_ready()
