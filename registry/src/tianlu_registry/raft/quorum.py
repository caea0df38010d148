"""Majorities: what a set of voters has agreed upon.

A configuration is one set of voters or, while membership changes, two: joint consensus asks for a
majority of each (Raft, section 6). The rules here do not know what is voted upon.

Source: Raft, sections 5.2, 5.3 and 6; the treatment of an empty second set is etcd raft's
(quorum/majority.go): it agrees with everything, so that joint rules hold for a single set too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from tianlu_registry.raft.types import NO_INDEX, Index, MemberId


class VoteResult(Enum):
    PENDING = "pending"
    WON = "won"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Quorum:
    """The voters whose majority decides.

    Attributes:
        voters: empty only where no configuration is known; then nothing is ever decided.
        outgoing: during joint consensus the voters of the configuration that is being left;
            empty otherwise.
    """

    voters: frozenset[MemberId]
    outgoing: frozenset[MemberId] = frozenset()

    @property
    def members(self) -> frozenset[MemberId]:
        return self.voters | self.outgoing

    def committed_index(self, acknowledged: Mapping[MemberId, Index]) -> Index:
        """Return the highest index that a majority of each set has acknowledged.

        Args:
            acknowledged: each voter's newest acknowledged index; one missing counts as 0.
        """
        index = _majority_index(self.voters, acknowledged)
        if self.outgoing:
            index = min(index, _majority_index(self.outgoing, acknowledged))
        return index

    def vote_result(self, votes: Mapping[MemberId, bool]) -> VoteResult:
        """Tell how a vote stands. It is lost when no remaining voter can turn it."""
        results = {_majority_vote(self.voters, votes)}
        if self.outgoing:
            results.add(_majority_vote(self.outgoing, votes))
        for result in (VoteResult.LOST, VoteResult.PENDING):
            if result in results:
                return result
        return VoteResult.WON

    def contains_quorum(self, members: Collection[MemberId]) -> bool:
        """Whether these members are enough to decide."""
        return self.vote_result(dict.fromkeys(members, True)) is VoteResult.WON


def _majority_index(voters: frozenset[MemberId], acknowledged: Mapping[MemberId, Index]) -> Index:
    if len(voters) == 1:
        (voter,) = voters
        return acknowledged.get(voter, NO_INDEX)
    if not voters:
        return NO_INDEX
    indexes = sorted((acknowledged.get(voter, NO_INDEX) for voter in voters), reverse=True)
    return indexes[len(indexes) // 2]


def _majority_vote(voters: frozenset[MemberId], votes: Mapping[MemberId, bool]) -> VoteResult:
    needed = len(voters) // 2 + 1
    granted = sum(1 for voter in voters if votes.get(voter) is True)
    refused = sum(1 for voter in voters if votes.get(voter) is False)
    if granted >= needed:
        return VoteResult.WON
    if len(voters) - refused < needed:
        return VoteResult.LOST
    return VoteResult.PENDING
