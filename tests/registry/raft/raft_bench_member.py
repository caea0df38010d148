"""One member on the bench: its core is stepped by hand, and what it sends is looked at."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tianlu_registry.raft import (
    AppendEntries,
    AppendEntriesResponse,
    ConfChange,
    Config,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Heartbeat,
    Index,
    MemberId,
    Message,
    RawNode,
    ReadState,
    Ready,
    RequestVote,
    RequestVoteResponse,
    Role,
    SnapshotMeta,
    Status,
    Term,
)
from tianlu_registry.storage.log import MemoryLog

ELECTION_TICKS = 10


def log_of(*terms: int) -> list[Entry]:
    """Return a log from index 1 with entries of these terms."""
    return [Entry(Term(term), Index(i), b"%d" % i) for i, term in enumerate(terms, start=1)]


class BenchMember:
    """Member 1 of a group, or another if `member_id` says so.

    Args:
        voters, learners: how many members; voters come first.
        log: its durable log.
        term, vote, commit: its durable hard state. The term defaults to the log's last.
        conf_state: its membership, if `voters` and `learners` cannot tell it.
        settings: for Config.
    """

    def __init__(
        self,
        voters: int = 3,
        log: Sequence[Entry] = (),
        *,
        learners: int = 0,
        term: int | None = None,
        vote: int = 0,
        commit: int = 0,
        conf_state: ConfState | None = None,
        seed: int = 1,
        member_id: int = 1,
        **settings: int,
    ) -> None:
        self._voters = voters
        members = [MemberId(i) for i in range(1, voters + learners + 1)]
        last_term = log[-1].term if log else 0
        state = HardState(Term(last_term if term is None else term), MemberId(vote), Index(commit))
        self.log = MemoryLog(
            conf_state or ConfState(tuple(members[:voters]), tuple(members[voters:])),
            hard_state=state,
            entries=log,
        )
        config = Config(
            id=MemberId(member_id),
            random=random.Random(seed),
            election_timeout_ticks=ELECTION_TICKS,
            **settings,
        )
        self.node = RawNode(config, self.log)
        self.applied: list[Entry] = []
        self.restored: list[SnapshotMeta] = []
        self.read_states: list[ReadState] = []
        self.hard_state = state

    @property
    def status(self) -> Status:
        return self.node.status()

    def take(self) -> Ready:
        """Take a Ready and apply what it commits, but persist nothing."""
        ready = self.node.ready()
        for entry in ready.committed_entries:
            self.applied.append(entry)
            if entry.type is EntryType.CONF_CHANGE:
                self.node.apply_conf_change(entry.index, ConfChange.decode(entry.data))
        self.read_states += ready.read_states
        if ready.committed_entries:
            self.node.on_applied(ready.committed_entries[-1].index)
        return ready

    def persist(self, ready: Ready) -> None:
        self.hard_state = ready.hard_state or self.hard_state
        if ready.snapshot is not None:
            self.log.restore(ready.snapshot)
            self.restored.append(ready.snapshot)
        self.log.append(ready.entries)
        self.node.on_persisted(ready.number)

    def work(self) -> list[Message]:
        """Do all work there is; return what was sent."""
        sent: list[Message] = []
        while self.node.has_ready():
            ready = self.take()
            sent += ready.messages
            if ready.must_sync:
                self.persist(ready)
        return sent

    def step(self, message: Message) -> list[Message]:
        self.node.step(message)
        return self.work()

    def tick(self, ticks: int = 1) -> list[Message]:
        """Let ticks pass; return what was sent."""
        sent = []
        for _ in range(ticks):
            self.node.tick()
            sent += self.work()
        return sent

    def entries(self) -> list[Entry]:
        return self.log.entries(self.log.first_index, Index(self.log.last_index + 1), 1 << 30)

    # Ways into a role

    def become_candidate(self) -> list[Message]:
        """Win the pre-vote; return the requests for votes."""
        self.node.campaign()
        self.work()
        return self._win(self.status.term + 1, pre_vote=True)

    def become_leader(self) -> list[Message]:
        """Win an election; return the first appends."""
        self.become_candidate()
        return self._win(self.status.term, pre_vote=False)

    def _win(self, term: int, *, pre_vote: bool) -> list[Message]:
        sent: list[Message] = []
        for peer in range(2, self._voters // 2 + 2):
            sent = self.step(self.vote(peer, term, pre_vote=pre_vote))
        return sent

    # Messages from others

    def vote(
        self, sender: int, term: int, *, granted: bool = True, pre_vote: bool = False
    ) -> RequestVoteResponse:
        return RequestVoteResponse(MemberId(1), MemberId(sender), Term(term), granted, pre_vote)

    def request(
        self, sender: int, term: int, last: tuple[int, int] = (0, 0), *, pre_vote: bool = False
    ) -> RequestVote:
        """A request from a candidate whose log ends at `last` (index, term)."""
        index, last_term = last
        return RequestVote(
            MemberId(1), MemberId(sender), Term(term), Index(index), Term(last_term), pre_vote
        )

    def append(
        self,
        sender: int,
        term: int,
        previous: tuple[int, int] = (0, 0),
        entries: Sequence[Entry] = (),
        commit: int = 0,
    ) -> AppendEntries:
        """A leader's entries after `previous` (index, term)."""
        return AppendEntries(
            MemberId(1),
            MemberId(sender),
            Term(term),
            Index(previous[0]),
            Term(previous[1]),
            tuple(entries),
            Index(commit),
        )

    def accept(self, sender: int, index: int, term: int | None = None) -> AppendEntriesResponse:
        """A follower's answer that it holds everything up to `index`."""
        return AppendEntriesResponse(
            MemberId(1), MemberId(sender), Term(term or self.status.term), Index(index)
        )

    def heartbeat(self, sender: int, term: int, commit: int = 0, read_round: int = 0) -> Heartbeat:
        return Heartbeat(MemberId(1), MemberId(sender), Term(term), Index(commit), read_round)


def role_members() -> dict[Role, BenchMember]:
    """Return a member in each role, in term 2 where the role has one."""
    follower = BenchMember(term=2)
    pre_candidate = BenchMember(term=2)
    pre_candidate.node.campaign()
    pre_candidate.work()
    candidate = BenchMember(term=1)
    candidate.become_candidate()
    leader = BenchMember(term=1)
    leader.become_leader()
    return {
        Role.FOLLOWER: follower,
        Role.PRE_CANDIDATE: pre_candidate,
        Role.CANDIDATE: candidate,
        Role.LEADER: leader,
    }
