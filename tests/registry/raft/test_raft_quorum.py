"""Majorities, against an oracle that tries every subset of voters."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from tianlu_registry.raft.quorum import Quorum, VoteResult

voter_sets = st.frozensets(st.integers(1, 7), min_size=1, max_size=5)
outgoing_sets = st.frozensets(st.integers(1, 7), max_size=5)


def majorities(voters: frozenset[int]) -> list[set[int]]:
    return [
        set(chosen)
        for size in range(len(voters) // 2 + 1, len(voters) + 1)
        for chosen in combinations(voters, size)
    ]


@settings(max_examples=150)
@given(voter_sets, outgoing_sets, st.dictionaries(st.integers(1, 7), st.integers(0, 9)))
def test_the_committed_index_is_the_highest_that_some_majority_of_each_set_has(
    voters: frozenset[int], outgoing: frozenset[int], acknowledged: dict[int, int]
):
    def highest(members: frozenset[int]) -> int:
        return max(
            min(acknowledged.get(member, 0) for member in chosen) for chosen in majorities(members)
        )

    expected = min(highest(members) for members in (voters, outgoing) if members)
    assert Quorum(voters, outgoing).committed_index(acknowledged) == expected


@settings(max_examples=150)
@given(voter_sets, outgoing_sets, st.dictionaries(st.integers(1, 7), st.booleans()))
def test_a_vote_is_won_by_a_majority_of_each_set_and_lost_when_none_is_left(
    voters: frozenset[int], outgoing: frozenset[int], votes: dict[int, bool]
):
    granted = {voter for voter, vote in votes.items() if vote}
    refused = {voter for voter, vote in votes.items() if not vote}
    sets = [members for members in (voters, outgoing) if members]
    won = all(any(chosen <= granted for chosen in majorities(members)) for members in sets)
    winnable = all(any(not chosen & refused for chosen in majorities(members)) for members in sets)
    expected = VoteResult.WON if won else VoteResult.PENDING if winnable else VoteResult.LOST
    assert Quorum(voters, outgoing).vote_result(votes) is expected


@settings(max_examples=100)
@given(voter_sets, outgoing_sets, st.sets(st.integers(1, 7)), st.sets(st.integers(1, 7)))
def test_any_two_quorums_have_a_member_in_common(
    voters: frozenset[int], outgoing: frozenset[int], one: set[int], other: set[int]
):
    quorum = Quorum(voters, outgoing)
    if quorum.contains_quorum(one) and quorum.contains_quorum(other):
        assert one & other & voters


def test_without_voters_nothing_is_ever_decided():
    nobody = Quorum(frozenset())
    assert nobody.committed_index({1: 5}) == 0
    assert nobody.vote_result({1: True}) is VoteResult.LOST
    assert not nobody.contains_quorum({1, 2, 3})
