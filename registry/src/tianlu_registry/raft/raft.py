"""One member's consensus state, its roles and how it passes from one to another.

                  timeout                won pre-vote            won vote
        FOLLOWER ---------> PRE_CANDIDATE ---------> CANDIDATE ---------> LEADER
            ^                 |  ^  timeout              |  timeout          |
            |                 |  `-- again               |  PRE_CANDIDATE    |
            `-----------------+--------------------------+-------------------'
               a leader or a higher term seen, the vote lost, the quorum lost

A follower to which leadership is transferred becomes a CANDIDATE without the pre-vote.

What a member does with a message is in one module per role (`follower`, `candidate`, `leader`)
and, for elections, in `election`. This module holds what they share and keeps it consistent.

Source: Raft, figure 2 and section 5; PreVote, dissertation section 9.6; CheckQuorum,
dissertation section 6.2.
"""

from __future__ import annotations

from tianlu_registry.errors import NoLeader, TooManyRequests, check
from tianlu_registry.raft.budget import ByteBudget
from tianlu_registry.raft.config import Config
from tianlu_registry.raft.log import RaftLog
from tianlu_registry.raft.log_storage import LogStorage
from tianlu_registry.raft.messages import Message
from tianlu_registry.raft.read_only import ReadOnly
from tianlu_registry.raft.tracker import ProgressTracker
from tianlu_registry.raft.types import (
    NO_INDEX,
    NO_MEMBER,
    Entry,
    EntryType,
    HardState,
    Index,
    MemberId,
    ReadState,
    Role,
    SnapshotMeta,
    SoftState,
    Term,
)
from tianlu_registry.raft.write_pipeline import WritePipeline

ROLE_TRANSITIONS: dict[Role, frozenset[Role]] = {
    Role.FOLLOWER: frozenset({Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE}),
    Role.PRE_CANDIDATE: frozenset({Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE}),
    Role.CANDIDATE: frozenset({Role.FOLLOWER, Role.PRE_CANDIDATE, Role.LEADER}),
    Role.LEADER: frozenset({Role.FOLLOWER}),
}


class Raft:
    """A member's state. RawNode owns it; the role modules change it through its methods.

    Attributes:
        term, vote: as in the paper; made durable through Ready.hard_state.
        role, leader_id: NO_MEMBER while no leader of this term is known.
        log, tracker, read_only, writes: see their modules.
        messages: to be given out with the next Ready.
        read_states: answers to this member's own read requests.
        election_elapsed: ticks since the leader was heard of, or since the campaign began; on a
            leader, since it last checked its quorum.
        heartbeat_elapsed: a leader's ticks since its last heartbeats.
        appends_due: a leader has entries or a commit index that were not offered to its peers.
        heartbeats_due: a leader owes its peers heartbeats.
        pending_conf_index: a leader's log may hold unapplied membership changes up to here.
        transferee: whom a leader is handing over to; NO_MEMBER if it is not.
        transfer_elapsed: ticks since that began.
    """

    __slots__ = (
        "appends_due",
        "config",
        "election_elapsed",
        "election_timeout",
        "heartbeat_elapsed",
        "heartbeats_due",
        "id",
        "leader_id",
        "log",
        "messages",
        "pending_conf_index",
        "read_only",
        "read_states",
        "role",
        "term",
        "tracker",
        "transfer_elapsed",
        "transferee",
        "uncommitted",
        "vote",
        "writes",
    )

    def __init__(self, config: Config, storage: LogStorage) -> None:
        hard_state, conf_state = storage.initial_state()
        self.config = config
        self.id = config.id
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.log = RaftLog(storage, committed=hard_state.commit, applied=config.applied)
        check(
            self.log.last_term <= self.term,
            f"the log ends in term {self.log.last_term}, the hard state in {self.term}",
        )
        self.tracker = ProgressTracker(config, conf_state)
        self.role = Role.FOLLOWER
        self.leader_id = NO_MEMBER
        self.writes = WritePipeline()
        self.messages: list[Message] = []
        self.read_states: list[ReadState] = []
        self._reset(self.term)

    @property
    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote, self.log.committed)

    @property
    def soft_state(self) -> SoftState:
        return SoftState(self.leader_id, self.role)

    @property
    def hears_leader(self) -> bool:
        """Whether a leader was heard of within the minimum election timeout (a leader hears
        itself)."""
        return (
            self.leader_id != NO_MEMBER
            and self.election_elapsed < self.config.election_timeout_ticks
        )

    @property
    def committed_in_term(self) -> bool:
        """Whether an entry of the present term is known to be committed."""
        return self.log.matches(self.log.committed, self.term)

    @property
    def applied_snapshot(self) -> SnapshotMeta:
        """What a raft_snapshot of the state machine as it is now would stand for."""
        applied = self.log.applied
        return SnapshotMeta(applied, self.log.term(applied), self.tracker.conf_state)

    def restore(self, snapshot: SnapshotMeta) -> None:
        """Replace log and membership by a raft_snapshot that is ahead of what is committed."""
        self.log.restore(snapshot)
        next_index = Index(snapshot.index + 1)
        self.writes.truncated(next_index)
        self.tracker.switch(snapshot.conf_state, next_index)

    # Roles

    def become_follower(self, term: Term, leader_id: MemberId) -> None:
        """Follow `leader_id` in `term`, or wait for its leader if that is NO_MEMBER."""
        check(term >= self.term, f"term {self.term} to fall back to {term}")
        self._enter(Role.FOLLOWER)
        self._reset(term)
        self.leader_id = leader_id

    def become_pre_candidate(self) -> None:
        """Ask whether an election could be won, without touching term and vote."""
        self._enter(Role.PRE_CANDIDATE)
        self.tracker.reset_votes()
        self.leader_id = NO_MEMBER
        self._restart_election_timeout()

    def become_candidate(self) -> None:
        """Stand for the next term and vote for oneself."""
        self._enter(Role.CANDIDATE)
        self._reset(Term(self.term + 1))
        self.vote = self.id

    def become_leader(self) -> None:
        """Lead the present term, and open it with an empty entry (Raft, section 5.4.2 and 8:
        earlier terms' entries are committed by committing one of this term)."""
        self._enter(Role.LEADER)
        self._reset(self.term)
        self.leader_id = self.id
        own = self.tracker.progress[self.id]
        own.accepted(self.log.stable_index)
        self.append(b"")
        self.pending_conf_index = self.log.last_index

    def _enter(self, role: Role) -> None:
        check(role in ROLE_TRANSITIONS[self.role], f"{self.role.name} becoming {role.name}")
        self.role = role

    def _reset(self, term: Term) -> None:
        if term != self.term:
            self.term = term
            self.vote = NO_MEMBER
        self.leader_id = NO_MEMBER
        self.heartbeat_elapsed = 0
        self.appends_due = False
        self.heartbeats_due = False
        self.pending_conf_index = NO_INDEX
        self.transferee = NO_MEMBER
        self.transfer_elapsed = 0
        self.uncommitted = ByteBudget()
        self.read_only = ReadOnly(self.config.reads_pending_max)
        self.tracker.reset(Index(self.log.last_index + 1))
        self._restart_election_timeout()

    def _restart_election_timeout(self) -> None:
        # A random timeout in [t, 2t) spreads candidates out (Raft, section 5.2).
        base = self.config.election_timeout_ticks
        self.election_elapsed = 0
        self.election_timeout = base + self.config.random.randrange(base)

    # A leader's log

    def append(self, data: bytes, entry_type: EntryType = EntryType.NORMAL) -> None:
        """Append a leader's new entry; it goes to the peers with the next Ready.

        Raises:
            TooManyRequests: too much is uncommitted. One entry is accepted whatever its size.
            NoLeader: leadership is being transferred.
        """
        if self.transferee:
            raise NoLeader
        size = len(data)
        uncommitted = self.uncommitted
        if uncommitted.outstanding and (
            uncommitted.outstanding + size > self.config.uncommitted_bytes_max
        ):
            raise TooManyRequests
        uncommitted.add(size)
        log = self.log
        log.append_new(Entry(self.term, Index(log.last_index + 1), data, entry_type))
        self.appends_due = True

    def maybe_commit(self) -> bool:
        """Advance a leader's commit index over what a majority holds, if that includes an entry
        of its own term: only those are committed by counting (Raft, section 5.4.2)."""
        index = self.tracker.committed_index()
        if index <= self.log.committed or not self.log.matches(index, self.term):
            return False
        self.log.commit_to(index)
        self.uncommitted.free_to(index)
        self.appends_due = True
        return True
