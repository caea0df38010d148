"""Raft's guarantees (Raft, figure 3; dissertation, chapters 3, 4 and 6), watched over a whole run.

The checker knows all members at once. It computes majorities by itself: it must not share a fault
with the code that it judges.

    election safety          at most one leader in a term; one vote of each member in a term
    leader append-only       a leader's log only grows while it leads
    log matching             equal index and term: equal entry, and equal entries before it
    leader completeness      what was committed in a term is in the log of each later term's leader
    state machine safety     only what is committed is applied (the rest of it: `history`)
    durability               what is acknowledged, voted or committed is on the disks it must be on
    membership               the same configuration everywhere at the same index; who is elected
                             knows all committed changes but, at most, the last
    linearizable reads       a read index covers what was committed when the read was asked for
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tianlu_registry.raft import (
    AppendEntriesResponse,
    ConfState,
    Entry,
    EntryType,
    Index,
    MemberId,
    Message,
    RequestVote,
    RequestVoteResponse,
    Role,
    Term,
)
from tianlu_registry.simulation.violation import require

if TYPE_CHECKING:
    from tianlu_registry.simulation.member import SimulatedMember


class Checker:
    """Raises Violation as soon as a guarantee is broken.

    Attributes:
        committed_index: the newest that any leader has committed.
        conf_state: the newest configuration that any member has applied.
        seen: how often what happened, by name.
    """

    def __init__(self, conf_state: ConfState) -> None:
        self.seen: Counter[str] = Counter()
        self.conf_state = conf_state
        self._conf_states: dict[int, ConfState] = {0: conf_state}
        self._leaders: dict[int, MemberId] = {}
        self._votes: dict[tuple[MemberId, int], MemberId] = {}
        self._leader_ends: dict[MemberId, tuple[int, Index, Term]] = {}
        self._entries: dict[tuple[int, int], tuple[Entry, int]] = {}
        # The term of each committed entry, from index 1, and the term in which it was committed.
        self._committed: list[tuple[int, int]] = []
        self._conf_changes: dict[int, int] = {}  # by index, the term in which it was committed
        self._transferees: dict[int, MemberId] = {}
        self._asked: dict[int, int] = {}
        self._members: list[SimulatedMember] = []

    @property
    def committed_index(self) -> int:
        return len(self._committed)

    def watch(self, member: SimulatedMember) -> None:
        self._members.append(member)

    # After each thing that a member has done

    def observe(self, member: SimulatedMember) -> None:
        raft = member.node._raft
        if raft.role is not Role.LEADER:
            self._leader_ends.pop(member.id, None)
            return
        if raft.term not in self._leaders:
            self._leaders[raft.term] = member.id
            self._check_completeness(member, self.committed_index)
            self._check_neighbouring(member)
            self.seen["elections won"] += 1
            self.seen["transfers made"] += self._transferees.get(raft.term - 1) == member.id
        require(
            self._leaders[raft.term] == member.id,
            f"election safety: {self._leaders[raft.term]} and {member.id} lead term {raft.term}",
        )
        self._check_append_only(member)
        self._note_transfer(member)
        if raft.log.committed > self.committed_index:
            self._commit(member)

    def _note_transfer(self, leader: SimulatedMember) -> None:
        raft = leader.node._raft
        if raft.transferee:
            self._transferees[raft.term] = raft.transferee

    def _check_append_only(self, member: SimulatedMember) -> None:
        raft = member.node._raft
        log = raft.log
        term, last_index, last_term = self._leader_ends.get(member.id, (0, Index(0), Term(0)))
        if term == raft.term:
            require(
                log.last_index >= last_index and log.matches(last_index, last_term),
                f"leader append-only: {member.id} changed entry {last_index} while it led",
            )
        self._leader_ends[member.id] = (raft.term, log.last_index, log.last_term)

    def _check_completeness(self, leader: SimulatedMember, up_to: int) -> None:
        raft = leader.node._raft
        for index in range(leader.log.first_index, up_to + 1):
            term, commit_term = self._committed[index - 1]
            require(
                commit_term >= raft.term or raft.log.matches(Index(index), Term(term)),
                f"leader completeness: {leader.id}, leader of term {raft.term}, "
                f"lacks entry {term}/{index}, committed in term {commit_term}",
            )

    def _check_neighbouring(self, leader: SimulatedMember) -> None:
        raft = leader.node._raft
        unapplied = [
            index
            for index, commit_term in self._conf_changes.items()
            if index > raft.log.applied and commit_term < raft.term
        ]
        require(
            len(unapplied) <= 1,
            f"membership: {leader.id} is elected without the changes at {unapplied}",
        )

    def _commit(self, leader: SimulatedMember) -> None:
        """Note what a leader has just committed."""
        raft = leader.node._raft
        index, term = raft.log.committed, raft.log.term(raft.log.committed)
        holding = {member.id for member in self._members if member.storage.holds(index, term)}
        require(
            term == raft.term,
            f"leader completeness: {leader.id}, leader of term {raft.term}, commits {term}/{index} "
            "by counting (Raft, 5.4.2)",
        )
        conf_state = raft.tracker.conf_state
        for voters in filter(None, (conf_state.voters, conf_state.voters_outgoing)):
            require(
                len(holding & set(voters)) * 2 > len(voters),
                f"durability: entry {term}/{index} is committed, but of {voters} only "
                f"{sorted(holding & set(voters))} hold it",
            )
        for new in range(self.committed_index + 1, index + 1):
            new_term = raft.log.term(Index(new))
            self._committed.append((new_term, raft.term))
            known = self._entries.get((new_term, new))
            if known is not None and known[0].type is EntryType.CONF_CHANGE:
                self._conf_changes[new] = raft.term
        for member in self._members:
            if member.running and member.is_leader and member.node._raft.term > raft.term:
                self._check_completeness(member, index)

    # What a member does

    def on_append(self, member: SimulatedMember, entries: Iterable[Entry]) -> None:
        """See entries that a member has taken into its log."""
        for entry in entries:
            previous = member.node._raft.log.term(Index(entry.index - 1))
            known, known_previous = self._entries.setdefault(
                (entry.term, entry.index), (entry, previous)
            )
            require(
                known == entry and known_previous == previous,
                f"log matching: {member.id} has another entry {entry.term}/{entry.index}",
            )

    def on_send(self, member: SimulatedMember, message: Message) -> None:
        """See a message that a member sends.

        An answer of an earlier term than the disk's is one that was held until several writes had
        completed together: true between two of them, as if the network had been slow.
        """
        synced = member.storage.synced
        durable = synced.hard_state
        if isinstance(message, AppendEntriesResponse) and not message.rejected and message.index:
            require(durable.term >= message.term, "durability: a leader's term acknowledged")
            if durable.term == message.term:
                last = synced.before + len(synced.entries)
                require(
                    max(last, member.storage.saved.index) >= message.index,
                    f"durability: {member.id} acknowledges entry {message.index}, holds {last}",
                )
        elif isinstance(message, RequestVoteResponse) and message.granted and not message.pre_vote:
            self._on_vote(member, message.term, message.to)
        elif isinstance(message, RequestVote) and not message.pre_vote:
            self._on_vote(member, message.term, member.id)

    def _on_vote(self, member: SimulatedMember, term: int, candidate: MemberId) -> None:
        known = self._votes.setdefault((member.id, term), candidate)
        require(
            known == candidate,
            f"election safety: {member.id} votes for {known} and {candidate} in term {term}",
        )
        durable = member.storage.synced.hard_state
        require(
            durable.term > term or (durable.term, durable.vote) == (term, candidate),
            f"durability: {member.id}'s vote in term {term} is not durable",
        )

    def on_apply(self, member: SimulatedMember, entry: Entry) -> None:
        """See an entry that has been applied."""
        index, conf_state = entry.index, member.machine.conf_state
        require(
            index <= self.committed_index and self._committed[index - 1][0] == entry.term,
            f"state machine safety: {member.id} applies {entry.term}/{index}, not committed",
        )
        if index not in self._conf_states:
            self._conf_states[index] = conf_state
            self._note_conf_state(conf_state)
        self.check_position(member, index, conf_state)

    def _note_conf_state(self, conf_state: ConfState) -> None:
        before, self.conf_state = self.conf_state, conf_state
        if conf_state.voters_outgoing and not before.voters_outgoing:
            self.seen["joint configurations"] += 1
        if set(conf_state.voters) & set(before.learners):
            self.seen["learners promoted"] += 1

    def check_position(self, member: SimulatedMember, index: int, conf_state: ConfState) -> None:
        """Compare a state machine's membership with what all others had at its index."""
        require(
            self._conf_states.get(index) == conf_state,
            f"membership: {member.id} has another configuration at {index}",
        )

    def on_ask(self, context: int) -> None:
        self._asked[context] = self.committed_index

    def on_read(self, member: SimulatedMember, context: int, index: int) -> None:
        asked_at = self._asked[context]
        require(
            index >= asked_at,
            f"linearizable reads: {member.id} reads at {index}, {asked_at} was committed before",
        )
        self.seen["reads answered"] += 1
