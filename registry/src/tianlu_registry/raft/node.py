"""RawNode: the core's face to its shell. DESIGN.md has the shell's duties."""

from __future__ import annotations

from tianlu_registry.errors import InvalidArgument, NoLeader
from tianlu_registry.raft import election, membership, replication, transfer
from tianlu_registry.raft.budget import ByteBudget
from tianlu_registry.raft.confchange import ConfChange
from tianlu_registry.raft.config import Config
from tianlu_registry.raft.entries import bytes_of
from tianlu_registry.raft.log_storage import LogStorage
from tianlu_registry.raft.messages import (
    ForwardedProposal,
    ForwardedTransfer,
    Message,
    ReadIndexRequest,
)
from tianlu_registry.raft.progress import Progress, ProgressState
from tianlu_registry.raft.raft import Raft
from tianlu_registry.raft.read_only import ReadRequest
from tianlu_registry.raft.reads import request_read
from tianlu_registry.raft.ready import Ready
from tianlu_registry.raft.status import PeerStatus, Status
from tianlu_registry.raft.step import step, tick
from tianlu_registry.raft.types import (
    NO_INDEX,
    NO_MEMBER,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Index,
    MemberId,
    Role,
    SnapshotMeta,
    SoftState,
    Term,
)


class RawNode:
    """One member of a Raft group. Not thread-safe, never blocks, does no I/O.

    It starts as a follower and waits for a leader; a single voter calls `campaign()` at once
    instead of waiting for its timeout.

    Args:
        config: this member's settings.
        storage: the durable log, with what was recovered of it.

    Raises:
        InvariantBroken: (every method) a bug, or a storage that has lost what it acknowledged. The
            member must stop.
    """

    def __init__(self, config: Config, storage: LogStorage) -> None:
        self._config = config
        self._raft = Raft(config, storage)
        self._applying = ByteBudget()
        self._number = 0
        self._given_hard_state = self._raft.hard_state
        self._given_soft_state = SoftState(NO_MEMBER, Role.FOLLOWER)

    # Events

    def tick(self) -> None:
        """Let one unit of time pass. The shell chooses its length; the timeouts count it."""
        tick(self._raft)

    def campaign(self) -> None:
        """Seek leadership now instead of at the next election timeout.

        Does nothing on a leader and on a member that is no voter.
        """
        election.campaign(self._raft)

    def step(self, message: Message) -> None:
        """Take a message from another member, in whatever order, however often. One that is not
        addressed to this member is dropped."""
        step(self._raft, message)

    def propose(self, data: bytes) -> None:
        """Ask for `data` to be appended to the log; a follower passes it on to its leader.

        Nothing says here whether it will be: see DESIGN.md, duty 9.

        Args:
            data: not empty; kept, not copied.

        Raises:
            NoLeader: none is known, or this one is handing over.
            TooManyRequests: Config.uncommitted_bytes_max bytes wait to be committed.
            InvalidArgument: `data` is empty.
        """
        if not data:
            raise InvalidArgument("data", "must not be empty")
        raft = self._raft
        if raft.role is Role.LEADER:
            raft.append(data)
        elif raft.leader_id == NO_MEMBER:
            raise NoLeader
        else:
            raft.messages.append(ForwardedProposal(raft.leader_id, raft.id, raft.term, data))

    def read_index(self, context: int) -> None:
        """Ask at which applied index reads are linearizable, as of now.

        The answer comes as a ReadState with this context, or never, if the leader changes or a
        message is lost: ask again after a deadline.

        Args:
            context: the caller's own number for the reads that wait for it.

        Raises:
            NoLeader: none is known.
            TooManyRequests: Config.reads_pending_max requests wait.
        """
        raft = self._raft
        if raft.role is Role.LEADER:
            request_read(raft, ReadRequest(raft.id, context))
        elif raft.leader_id == NO_MEMBER:
            raise NoLeader
        else:
            raft.messages.append(ReadIndexRequest(raft.leader_id, raft.id, context))

    def propose_conf_change(self, change: ConfChange) -> None:
        """Ask for the membership to be changed; a follower passes it on to its leader.

        When its entry is committed, `apply_conf_change` puts it into force. Like any proposal it
        may vanish without a word.

        Raises:
            NoLeader: none is known, or this one is handing over.
            ConfChangePending: (on the leader) an earlier change has not been applied, or the leader
                has not applied an entry of its own term yet.
            Conflict: (on the leader) it does not fit the present membership.
            TooManyRequests: as for `propose`.
            InvalidArgument: it holds too many changes.
        """
        raft = self._raft
        if raft.role is Role.LEADER:
            membership.propose(raft, change)
        elif raft.leader_id == NO_MEMBER:
            raise NoLeader
        else:
            data = change.encode()
            raft.messages.append(
                ForwardedProposal(raft.leader_id, raft.id, raft.term, data, EntryType.CONF_CHANGE)
            )

    def apply_conf_change(self, index: Index, change: ConfChange) -> ConfState:
        """Put a committed change into force. It also counts everything up to `index` as applied.

        Args:
            index: of its entry, in the order of `committed_entries`.
            change: decoded from it; `ConfChange()` if the shell's own rules refuse it.

        Returns:
            The membership from this entry on. It must be stored with the state machine.
        """
        conf_state = membership.apply(self._raft, index, change)
        self._applying.free_to(index)
        return conf_state

    def transfer_leadership(self, to: MemberId) -> None:
        """Ask for another member to lead; a follower passes it on to its leader.

        The leader refuses proposals until it has handed over or an election timeout has passed;
        `status().transferee` tells. A second call replaces the first; the leader's own number
        cancels.

        Args:
            to: a voter.

        Raises:
            NoLeader: none is known.
            InvalidArgument: `to` is no voter.
        """
        raft = self._raft
        if to not in raft.tracker.quorum.members:
            raise InvalidArgument("to", "must be a voter")
        if raft.role is Role.LEADER:
            transfer.start(raft, to)
        elif raft.leader_id == NO_MEMBER:
            raise NoLeader
        else:
            raft.messages.append(ForwardedTransfer(raft.leader_id, raft.id, to))

    def report_snapshot(self, member: MemberId, *, installed: bool) -> None:
        """Learn how the sending of an InstallSnapshot ended. Every one must be reported.

        Args:
            member: its receiver.
            installed: the receiver's shell has taken all of it. False: it has to be sent anew.
        """
        replication.report_snapshot(self._raft, member, installed=installed)

    def report_unreachable(self, member: MemberId) -> None:
        """Learn that messages to a member could not be sent and have been dropped."""
        replication.report_unreachable(self._raft, member)

    def on_persisted(self, number: int) -> None:
        """Learn that everything which the Readies up to `number` asked to write is durable, and
        readable through LogStorage.

        Args:
            number: Ready.number; the newest of several that were synced together.
        """
        raft = self._raft
        if raft.log.pending_snapshot is not None:
            raft.log.snapshot_stored(number)
        stable, released = raft.writes.complete(number)
        raft.log.stable_to(stable)
        for message in released:
            if message.to == raft.id:
                step(raft, message)  # its own vote
            else:
                raft.messages.append(message)
        if raft.role is Role.LEADER:
            raft.tracker.progress[raft.id].accepted(raft.log.stable_index)
            replication.commit_if_possible(raft)

    def on_applied(self, index: Index) -> None:
        """Learn that the state machine holds every committed entry up to `index`."""
        self._raft.log.applied_to(index)
        if self._raft.tracker.conf_state.auto_leave:
            membership.leave_joint_if_due(self._raft)
        self._applying.free_to(index)

    @property
    def term(self) -> Term:
        """The present term."""
        return self._raft.term

    @property
    def leads(self) -> bool:
        """Whether this member leads its term, as far as it knows."""
        return self._raft.role is Role.LEADER

    def status(self) -> Status:
        """Return the state of the moment. Makes new objects: not for every message."""
        raft = self._raft
        is_leader = raft.role is Role.LEADER
        return Status(
            id=raft.id,
            term=raft.term,
            vote=raft.vote,
            role=raft.role,
            leader_id=raft.leader_id,
            committed=raft.log.committed,
            applied=raft.log.applied,
            last_index=raft.log.last_index,
            stable_index=raft.log.stable_index,
            conf_state=raft.tracker.conf_state,
            transferee=raft.transferee,
            uncommitted_bytes=raft.uncommitted.outstanding if is_leader else 0,
            peers={
                peer: self._peer_status(raft.tracker.progress[peer]) for peer in raft.tracker.peers
            }
            if is_leader
            else {},
        )

    def _peer_status(self, progress: Progress) -> PeerStatus:
        return PeerStatus(
            match=progress.match,
            next=progress.next,
            state=progress.state,
            in_flight=len(progress.inflights),
            # Just after a check of the quorum nobody has been heard of since.
            recent_active=progress.recent_active or progress.active_before,
            is_learner=progress.is_learner,
            pending_snapshot=progress.pending_snapshot
            if progress.state is ProgressState.SNAPSHOT
            else NO_INDEX,
            needs_snapshot=self._raft.log.lacks(progress.next),
        )

    # Work

    def has_ready(self) -> bool:
        """Whether `ready()` would hold anything to do."""
        raft = self._raft
        return bool(
            raft.log.has_untaken
            or self._may_apply
            or raft.messages
            or raft.read_states
            or raft.appends_due
            or raft.heartbeats_due
            or raft.writes.has_held
            or self._vote_changed
            or self._soft_state_changed
            or (raft.log.pending_snapshot is not None and raft.log.has_untaken_snapshot)
        )

    def ready(self) -> Ready:
        """Take the work that has come up since the last Ready."""
        raft = self._raft
        self._number += 1
        replication.send_due(raft)
        snapshot = None if raft.log.pending_snapshot is None else self._take_snapshot()
        entries = self._take_entries()
        hard_state = self._take_hard_state(writing=bool(entries) or snapshot is not None)
        released = raft.writes.start(
            self._number,
            raft.log.last_index,
            writes=bool(entries) or hard_state is not None or snapshot is not None,
        )
        messages, raft.messages = (*raft.messages, *released), []
        read_states, raft.read_states = tuple(raft.read_states), []
        return Ready(
            self._number,
            hard_state,
            snapshot,
            entries,
            self._take_committed(),
            messages,
            read_states,
            self._take_soft_state(),
        )

    def _take_snapshot(self) -> SnapshotMeta | None:
        snapshot = self._raft.log.take_snapshot(self._number)
        if snapshot is not None:
            # What was handed out before it will not be reported as applied any more.
            self._applying.free_to(snapshot.index)
        return snapshot

    def _take_entries(self) -> tuple[Entry, ...]:
        raft = self._raft
        if not raft.log.has_untaken:
            return ()
        raft.uncommitted.end_batch(raft.log.last_index)
        return raft.log.take_unstable()

    def _take_committed(self) -> tuple[Entry, ...]:
        if not self._may_apply:
            return ()
        room = self._config.applying_bytes_max - self._applying.outstanding
        entries = self._raft.log.take_committed(room)
        self._applying.add(bytes_of(entries))
        self._applying.end_batch(entries[-1].index)
        return entries

    def _take_hard_state(self, *, writing: bool) -> HardState | None:
        given = self._given_hard_state
        commit_moved = writing and self._raft.log.committed != given.commit
        if not commit_moved and not self._vote_changed:
            return None
        self._given_hard_state = self._raft.hard_state
        return self._given_hard_state

    def _take_soft_state(self) -> SoftState | None:
        if not self._soft_state_changed:
            return None
        self._given_soft_state = self._raft.soft_state
        return self._given_soft_state

    @property
    def _may_apply(self) -> bool:
        return (
            self._raft.log.has_applicable
            and self._applying.outstanding < self._config.applying_bytes_max
        )

    @property
    def _vote_changed(self) -> bool:
        given = self._given_hard_state
        return given.term != self._raft.term or given.vote != self._raft.vote

    @property
    def _soft_state_changed(self) -> bool:
        given = self._given_soft_state
        return given.role is not self._raft.role or given.leader_id != self._raft.leader_id
