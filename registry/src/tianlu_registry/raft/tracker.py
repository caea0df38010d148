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
        quorum: the voters.
        progress: of every member, this one included. Meaningful on a leader only.
        peers: the other members, in ascending order, so that runs repeat exactly.
    """

    def __init__(self, config: Config, conf_state: ConfState) -> None:
        overlap = set(conf_state.voters) & set(conf_state.learners)
        check(not overlap, f"members both voter and learner: {sorted(overlap)}")
        self._config = config
        self._learners = frozenset(conf_state.learners)
        self._votes: dict[MemberId, bool] = {}
        self.quorum = Quorum(frozenset(conf_state.voters))
        self.progress: dict[MemberId, Progress] = {}
        members = self.quorum.members | self._learners
        self.peers = tuple(sorted(members - {config.id}))
        self.reset(Index(1))

    @property
    def is_promotable(self) -> bool:
        """Whether this member may become leader: it is a voter."""
        return self._config.id in self.quorum.members

    def reset(self, next_index: Index) -> None:
        """Forget all progress and votes. Every member is probed from `next_index` on."""
        self._votes.clear()
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
            progress.recent_active = False
        return self.quorum.contains_quorum(active)

    def _inflights(self) -> Inflights:
        return Inflights(
            self._config.append_messages_in_flight_max, self._config.append_bytes_in_flight_max
        )
