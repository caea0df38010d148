"""Who diverges, decided from reports."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.node.state_hash import HashReport
from tianlu_registry.node.state_verdict import Verdict, differ, judge
from tianlu_registry.raft.types import NO_INDEX, Index, MemberId


def reports(chain: int = 0, /, **points: dict[int, int]) -> dict[MemberId, HashReport]:
    """Reports by member: ``m1={index: hash}``."""
    return {
        MemberId(int(name[1:])): HashReport(
            Index(chain), {Index(index): value for index, value in said.items()}
        )
        for name, said in points.items()
    }


def voters(count: int) -> frozenset[MemberId]:
    return frozenset(MemberId(number) for number in range(1, count + 1))


@pytest.mark.parametrize(
    ("said", "of", "verdict"),
    [
        (reports(), 3, Verdict()),
        (reports(m1={256: 7}), 1, Verdict(agreed=Index(256))),
        (reports(m1={256: 7}, m2={256: 7}), 3, Verdict(agreed=Index(256))),
        (
            reports(m1={256: 7}, m2={256: 7}, m3={256: 8}),
            3,
            Verdict({MemberId(3): Index(256)}, agreed=Index(256)),
        ),
        (
            reports(m1={256: 7, 512: 1}, m2={256: 7, 512: 1}, m3={256: 7, 512: 2}),
            3,
            Verdict({MemberId(3): Index(512)}, agreed=Index(512)),
        ),
        # One of two, or one of three with the third away: nobody knows.
        (
            reports(m1={256: 7}, m2={256: 8}),
            2,
            Verdict(disputed=Index(256), disputants=voters(2)),
        ),
        (
            reports(m1={256: 7}, m2={256: 8}),
            3,
            Verdict(disputed=Index(256), disputants=voters(2)),
        ),
        (
            reports(m1={256: 7}, m2={256: 8}, m3={256: 9}),
            3,
            Verdict(disputed=Index(256), disputants=voters(3)),
        ),
        # A learner is judged, but its word does not count.
        (
            reports(m1={256: 7}, m2={256: 8}),
            1,
            Verdict({MemberId(2): Index(256)}, agreed=Index(256)),
        ),
        # Two of five are wrong, each in its own way.
        (
            reports(m1={9: 7}, m2={9: 7}, m3={9: 7}, m4={9: 1}, m5={9: 2}),
            5,
            Verdict({MemberId(4): Index(9), MemberId(5): Index(9)}, agreed=Index(9)),
        ),
        # The third is wrong since 256; who of the others is wrong since 512 is open.
        (
            reports(m1={256: 7, 512: 1}, m2={256: 7, 512: 2}, m3={256: 8, 512: 3}),
            3,
            Verdict({MemberId(3): Index(256)}, Index(512), voters(2), Index(256)),
        ),
        # One that is right at 512 was right at 256.
        (
            reports(m1={512: 7}, m2={512: 7}, m3={256: 1, 512: 7}, m4={256: 2}),
            5,
            Verdict({MemberId(4): Index(256)}, agreed=Index(512)),
        ),
        # Nothing in common: nothing to say.
        (reports(m1={256: 7}, m2={512: 8}), 2, Verdict()),
    ],
)
def test_verdicts(said: dict[MemberId, HashReport], of: int, verdict: Verdict) -> None:
    assert judge(said, voters(of)) == verdict


def test_chains_that_began_elsewhere_are_not_compared() -> None:
    said = {**reports(m1={256: 7}, m2={256: 7}), **reports(100, m3={256: 8})}
    assert judge(said, voters(3)).diverged == {}
    assert differ(said[MemberId(1)], said[MemberId(3)]) == NO_INDEX


def test_two_reports_differ_at_the_first_index_that_both_have() -> None:
    one = HashReport(Index(0), {Index(1): 1, Index(2): 2, Index(3): 3})
    other = HashReport(Index(0), {Index(2): 9, Index(3): 9, Index(4): 9})
    assert differ(one, other) == differ(other, one) == 2
    assert differ(one, one) == NO_INDEX


@given(
    st.integers(1, 7),
    st.data(),
)
def test_a_minority_that_went_wrong_is_found_and_nobody_else(
    count: int, data: st.DataObject
) -> None:
    """Members of one history, each with its own window of it; a minority has gone wrong, each
    from some index on."""
    everybody = sorted(voters(count))
    wrong_max = (count - 1) // 2
    wrong = data.draw(st.lists(st.sampled_from(everybody), max_size=wrong_max, unique=True))
    said, wrong_since = {}, {}
    for member in everybody:
        first = data.draw(st.integers(1, 12))
        last = data.draw(st.integers(first, 15))
        since = data.draw(st.integers(1, 16)) if member in wrong else 99
        wrong_since[member] = since
        said[member] = HashReport(
            Index(0),
            {
                Index(i): 1000 + i if i < since else 7000 * member + i
                for i in range(first, last + 1)
            },
        )
    answered = data.draw(st.lists(st.sampled_from(everybody), unique=True))
    heard = {member: said[member] for member in answered}
    verdict = judge(heard, everybody)
    assert verdict.diverged.keys() <= set(wrong)
    right = [member for member in answered if member not in wrong]
    for member, index in verdict.diverged.items():
        assert index >= wrong_since[member]
    for member in set(wrong) & set(answered):
        certain = [
            i
            for i in said[member].points
            if i >= wrong_since[member]
            and 2 * sum(i in said[other].points for other in right) > count
        ]
        if certain:
            assert verdict.diverged[member] <= min(certain)


@given(
    st.dictionaries(
        st.integers(1, 7).map(MemberId),
        st.builds(
            HashReport,
            st.sampled_from((Index(0), Index(5))),
            st.dictionaries(st.integers(1, 4).map(Index), st.integers(0, 2), max_size=4),
        ),
    ),
    st.integers(0, 7),
    st.randoms(use_true_random=False),
)
def test_whatever_is_claimed_a_majority_of_the_voters_stays(
    said: dict[MemberId, HashReport], count: int, shuffled: random.Random
) -> None:
    verdict = judge(said, voters(count))
    assert 2 * len(verdict.diverged.keys() & voters(count)) < max(count, 1)
    order = list(said)
    shuffled.shuffle(order)
    assert judge({member: said[member] for member in order}, voters(count)) == verdict
