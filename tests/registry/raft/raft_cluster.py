"""A cluster of production cores on a simulated network and disk, watched by a checker.

Everything that happens is drawn from one seeded generator, so that a seed repeats a run exactly.
The network loses, repeats, delays and reorders messages and cuts members off from each other. A
disk completes writes in order, some time after they were asked for; a crash loses what it had not
completed. The checker knows the whole cluster and stops the run where Raft's figure 3 is broken.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tianlu_registry.errors import NoLeader
from tianlu_registry.raft import (
    AppendEntriesResponse,
    ConfChange,
    Config,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Index,
    MemberId,
    Message,
    RawNode,
    Ready,
    RequestVoteResponse,
    Role,
    Term,
)
from tianlu_registry.storage.log import MemoryLog

MANY_BYTES = 1 << 40


@dataclass
class Disk:
    """What one member has made durable, and what it is still writing."""

    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)
    writing: list[Ready] = field(default_factory=list)

    def complete(self, count: int) -> None:
        """Make the first `count` writes durable."""
        for ready in self.writing[:count]:
            self.hard_state = ready.hard_state or self.hard_state
            if ready.entries:
                self.entries = self.entries[: ready.entries[0].index - 1] + list(ready.entries)
        del self.writing[:count]

    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else 0

    def holds(self, entry: Entry) -> bool:
        return len(self.entries) >= entry.index and self.entries[entry.index - 1] == entry


class Member:
    """A core with its shell: disk, state machine, outbox."""

    def __init__(self, cluster: Cluster, member_id: MemberId) -> None:
        self.id = member_id
        self.cluster = cluster
        self.disk = Disk()
        self.applied: list[Entry] = []
        self.conf_states = {0: cluster.conf_state}  # by the index from which on they were applied
        self.running = False
        self.reads: dict[int, int] = {}  # context -> what was committed when it was asked
        self.start()

    def start(self) -> None:
        """Run from what the disk holds. The state machine may have forgotten its newest part."""
        chance = self.cluster.chance
        del self.applied[chance.randint(0, len(self.applied)) :]
        self.log = MemoryLog(
            self.conf_states[max(i for i in self.conf_states if i <= len(self.applied))],
            hard_state=self.disk.hard_state,
            entries=self.disk.entries,
        )
        config = Config(
            id=self.id,
            random=random.Random(chance.random()),
            election_timeout_ticks=5,
            applied=Index(len(self.applied)),
            append_bytes_max=chance.choice([1, 20, 1 << 20]),
            append_messages_in_flight_max=chance.choice([1, 2, 256]),
            applying_bytes_max=chance.choice([1, 1 << 20]),
        )
        self.node = RawNode(config, self.log)
        self.running = True

    def crash(self) -> None:
        self.disk.complete(self.cluster.chance.randint(0, len(self.disk.writing)))
        self.disk.writing.clear()
        self.reads.clear()
        self.running = False

    @property
    def is_leader(self) -> bool:
        return self.running and self.node.status().role is Role.LEADER

    def work(self) -> None:
        """Take one Ready and do what may be done at once."""
        ready = self.node.ready()
        self.cluster.checker.on_role(self)
        if ready.must_sync:
            self.disk.writing.append(ready)
        for message in ready.messages:
            self.cluster.checker.on_send(self, message)
            self.cluster.send(message)
        if ready.committed_entries:
            self.cluster.checker.on_apply(self, ready.committed_entries)
            for entry in ready.committed_entries:
                self._apply(entry)
            self.node.on_applied(ready.committed_entries[-1].index)
        for state in ready.read_states:
            self.cluster.checker.on_read(self, state.context, state.index)

    def _apply(self, entry: Entry) -> None:
        self.applied.append(entry)
        if entry.type is EntryType.CONF_CHANGE:
            change = ConfChange.decode(entry.data)
            self.conf_states[entry.index] = self.node.apply_conf_change(entry.index, change)

    def persist(self, count: int) -> None:
        """Complete the first `count` writes and report them."""
        done = self.disk.writing[:count]
        self.disk.complete(count)
        for ready in done:
            self.log.append(ready.entries)
        if done:
            self.node.on_persisted(done[-1].number)
            self.cluster.checker.on_role(self)


class Checker:
    """Raft's guarantees (figure 3), and what durability adds to them."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._leaders: dict[int, MemberId] = {}
        self.committed: list[Entry] = []
        self.reads_answered = 0

    def on_role(self, member: Member) -> None:
        status = member.node.status()
        assert member.node.status().committed <= status.last_index
        if status.role is not Role.LEADER:
            return
        leader = self._leaders.get(status.term)
        assert leader in (None, member.id), "election safety: two leaders in a term"
        if leader is None:
            self._leaders[status.term] = member.id
            self._check_leader_completeness(member)

    def _check_leader_completeness(self, member: Member) -> None:
        log = whole_log(member)
        assert log[: len(self.committed)] == self.committed, "leader completeness"

    def on_send(self, member: Member, message: Message) -> None:
        """What a member acknowledges must be on its disk.

        An answer of an earlier term than the disk's is one that was held until several writes
        had completed together: it was true between two of them, as if the network had been slow.
        """
        durable = member.disk.hard_state
        if isinstance(message, AppendEntriesResponse) and not message.rejected:
            assert durable.term >= message.term, "an acknowledged leader's term is not durable"
            if durable.term == message.term:
                assert len(member.disk.entries) >= message.index, "acknowledged, but not durable"
        elif isinstance(message, RequestVoteResponse) and message.granted and not message.pre_vote:
            assert durable.term >= message.term, "a vote's term is not durable"
            if durable.term == message.term:
                assert durable.vote == message.to, "a vote is not durable"

    def on_apply(self, member: Member, entries: tuple[Entry, ...]) -> None:
        assert entries[0].index == len(member.applied) + 1, "entries applied out of order"
        for entry in entries:
            if entry.index <= len(self.committed):
                known = self.committed[entry.index - 1]
                assert entry == known, "state machine safety: different entries at an index"
            else:
                assert entry.index == len(self.committed) + 1
                self._check_durable_on_majority(entry)
                self.committed.append(entry)

    def _check_durable_on_majority(self, entry: Entry) -> None:
        members = self._cluster.voters
        if any(entry.type is EntryType.CONF_CHANGE for entry in (*self.committed, entry)):
            return  # whose majority it was is for tests/simulation to judge
        holding = sum(member.disk.holds(entry) for member in members)
        assert holding > len(members) // 2, "committed, but not durable on a majority"

    def on_read(self, member: Member, context: int, index: int) -> None:
        asked_at = member.reads.pop(context, None)
        if asked_at is not None:
            assert index >= asked_at, "a read index older than what was committed when asked"
            self.reads_answered += 1

    def check_log_matching(self) -> None:
        logs = [whole_log(member) for member in self._cluster.members if member.running]
        for one in logs:
            for other in logs:
                common = min(len(one), len(other))
                while common and one[common - 1].term != other[common - 1].term:
                    common -= 1
                assert one[:common] == other[:common], "log matching"


def whole_log(member: Member) -> list[Entry]:
    """Return a member's log, durable or not."""
    log = member.node._raft.log
    return log.entries_from(Index(1), MANY_BYTES)


class Cluster:
    """Members, and the network between them.

    Args:
        seed: of everything drawn at random.
        voters, learners: how many at the start.
        joining: members that are running, but not yet part of it.
        loss: the chance that a message is lost.
    """

    def __init__(
        self, seed: int, voters: int = 3, learners: int = 0, loss: float = 0.0, joining: int = 0
    ) -> None:
        self.chance = random.Random(seed)
        ids = [MemberId(i) for i in range(1, voters + learners + joining + 1)]
        self.conf_state = ConfState(tuple(ids[:voters]), tuple(ids[voters : voters + learners]))
        self.loss = loss
        self.network: list[Message] = []
        self.cut_off: set[MemberId] = set()
        self.checker = Checker(self)
        self.members = [Member(self, member_id) for member_id in ids]
        self.voters = self.members[:voters]
        self._proposals = 0

    def member(self, member_id: int) -> Member:
        return self.members[member_id - 1]

    def leader(self) -> Member | None:
        """Return the leader of the highest term."""
        leaders = [member for member in self.members if member.is_leader]
        return max(leaders, key=lambda member: member.node.status().term, default=None)

    def send(self, message: Message) -> None:
        if self.chance.random() >= self.loss:
            self.network.append(message)

    def deliver(self, position: int) -> None:
        message = self.network.pop(position)
        receiver = self.member(message.to)
        if receiver.running and not self.cut_off & {message.to, message.sender}:
            receiver.node.step(message)
            self.checker.on_role(receiver)

    def propose(self, member: Member) -> bytes | None:
        self._proposals += 1
        data = f"proposal {self._proposals}".encode()
        try:
            member.node.propose(data)
        except NoLeader:
            return None
        return data

    def read(self, member: Member) -> None:
        context = self.chance.getrandbits(32)
        member.reads[context] = len(self.checker.committed)
        try:
            member.node.read_index(context)
        except NoLeader:
            del member.reads[context]

    def settle(self, rounds: int = 200_000) -> None:
        """Do all work there is, deliver everything in order, let every write complete."""
        for _ in range(rounds):
            busy = False
            for member in self.members:
                if member.running and member.node.has_ready():
                    member.work()
                    busy = True
                if member.running and member.disk.writing:
                    member.persist(len(member.disk.writing))
                    busy = True
            if self.network:
                self.deliver(0)
                busy = True
            if not busy:
                return
        raise AssertionError("the cluster does not come to rest")

    def tick(self, ticks: int = 1) -> None:
        for _ in range(ticks):
            for member in self.members:
                if member.running:
                    member.node.tick()
            self.settle()

    def elect(self, member_id: int = 1) -> Member:
        """Make a member the leader."""
        member = self.member(member_id)
        member.node.campaign()
        self.settle()
        assert member.is_leader
        return member

    def random_step(self) -> None:
        """Let one thing happen, somewhere. Faults are rare enough for work to be done."""
        chance = self.chance
        member = chance.choice(self.members)
        if not member.running:
            if chance.random() < 0.05:
                member.start()
            return
        if self.cut_off and chance.random() < 0.02:
            self.cut_off.clear()
        (action,) = chance.choices(
            (self._work, self._persist, self._tick, self.propose, self.read, self._deliver),
            (20, 15, 6, 4, 2, 50),
        )
        action(member)
        if chance.random() < 0.002:
            member.crash()
        if chance.random() < 0.002:
            self.cut_off ^= {member.id}

    def _work(self, member: Member) -> None:
        if member.node.has_ready():
            member.work()

    def _persist(self, member: Member) -> None:
        member.persist(self.chance.randint(0, len(member.disk.writing)))

    def _tick(self, member: Member) -> None:
        member.node.tick()

    def _deliver(self, _member: Member) -> None:
        """Deliver any message; it may come again."""
        if self.network:
            position = self.chance.randrange(min(len(self.network), 8))
            if self.chance.random() < 0.1:
                self.network.append(self.network[position])
            self.deliver(position)

    def heal(self) -> None:
        """End all faults."""
        self.loss = 0.0
        self.cut_off.clear()
        for member in self.members:
            if not member.running:
                member.start()


def entry(term: int, index: int, data: bytes = b"x") -> Entry:
    return Entry(Term(term), Index(index), data)
