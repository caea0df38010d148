"""The members as one of them sees them: who votes, how far each has come, who voted for whom."""

from __future__ import annotations

from tianlu_registry.errors import check
from tianlu_registry.raft.config import Config
from tianlu_registry.raft.progress import Inflights, Progress
from tianlu_registry.raft.quorum import Quorum, VoteResult
from tianlu_registry.raft.types import ConfState, Index, MemberId


class ProgressTracker:
    """Membership, progress and votes.

    Attributes:
        conf_state: the membership in force.
        quorum: its voters.
        progress: of every member, this one included. Meaningful on a leader only.
        peers: the other members, in ascending order, so that runs repeat exactly.
    """

    def __init__(self, config: Config, conf_state: ConfState) -> None:
        self._config = config
        self._votes: dict[MemberId, bool] = {}
        self.progress: dict[MemberId, Progress] = {}
        self._adopt(conf_state)
        self.reset(Index(1))

    def switch(self, conf_state: ConfState, next_index: Index) -> None:
        """Put another membership into force. Who stays keeps its progress; who is new is probed
        from `next_index` on, and counts as heard of, or a leader might step down before the
        new member has had time to answer."""
        known = self.progress
        self._adopt(conf_state)
        self.reset_progress(next_index)
        for member, progress in self.progress.items():
            progress.recent_active = True
            if member in known:
                self.progress[member] = known[member]
                known[member].is_learner = progress.is_learner

    def _adopt(self, conf_state: ConfState) -> None:
        learners = frozenset(conf_state.learners)
        quorum = Quorum(frozenset(conf_state.voters), frozenset(conf_state.voters_outgoing))
        overlap = quorum.members & learners
        check(not overlap, f"members both voter and learner: {sorted(overlap)}")
        check(
            quorum.outgoing >= frozenset(conf_state.learners_next),
            "a learner waits for the end of a joint configuration in which it does not vote",
        )
        self.conf_state = conf_state
        self.quorum = quorum
        self._learners = learners
        self.peers = tuple(sorted((quorum.members | learners) - {self._config.id}))

    @property
    def is_promotable(self) -> bool:
        """Whether this member may become leader: it is a voter."""
        return self._config.id in self.quorum.members

    def reset(self, next_index: Index) -> None:
        """Forget all progress and votes. Every member is probed from `next_index` on."""
        self._votes.clear()
        self.reset_progress(next_index)

    def reset_progress(self, next_index: Index) -> None:
        self.progress = {
            member: Progress(next_index, self._inflights(), is_learner=member in self._learners)
            for member in sorted(self.quorum.members | self._learners)
        }

    def reset_votes(self) -> None:
        self._votes.clear()

    def record_vote(self, voter: MemberId, granted: bool) -> VoteResult:
        """Note a vote, the first one of a voter counting, and tell how the election stands."""
        self._votes.setdefault(voter, granted)
        return self.quorum.vote_result(self._votes)

    def committed_index(self) -> Index:
        """Return the highest index that a majority of voters holds durably."""
        return self.quorum.committed_index(
            {member: progress.match for member, progress in self.progress.items()}
        )

    def take_quorum_activity(self) -> bool:
        """Whether a quorum, this member counted, was heard of since the last call."""
        active = {self._config.id}
        for member, progress in self.progress.items():
            if progress.recent_active:
                active.add(member)
            progress.active_before, progress.recent_active = progress.recent_active, False
        return self.quorum.contains_quorum(active)

    def _inflights(self) -> Inflights:
        return Inflights(
            self._config.append_messages_in_flight_max, self._config.append_bytes_in_flight_max
        )
