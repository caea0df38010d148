"""Configurations as values: every change keeps what makes neighbouring ones overlap."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.errors import Conflict, InvalidArgument
from tianlu_registry.raft import (
    LEAVE_JOINT,
    ChangeKind,
    ConfChange,
    ConfState,
    MemberChange,
    MemberId,
    Transition,
    conf_change,
)
from tianlu_registry.raft.confchange import CHANGES_MAX, changed
from tianlu_registry.raft.quorum import Quorum

VOTER, LEARNER, REMOVE = ChangeKind
SIMPLE, JOINT, EXPLICIT, LEAVE = Transition

member_changes = st.builds(MemberChange, st.sampled_from(ChangeKind), st.integers(1, 5))
changes = st.builds(
    ConfChange,
    st.sampled_from(Transition),
    st.lists(member_changes, max_size=4).map(tuple),
    st.binary(max_size=5),
)


def conf(voters: str, learners: str = "", outgoing: str = "", learners_next: str = "") -> ConfState:
    return ConfState(*(tuple(map(int, ids)) for ids in (voters, learners, outgoing, learners_next)))


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        (conf("1"), conf_change(SIMPLE, (VOTER, 2)), conf("12")),
        (conf("12"), conf_change(SIMPLE, (LEARNER, 3)), conf("12", "3")),
        (conf("12", "3"), conf_change(SIMPLE, (VOTER, 3)), conf("123")),
        (conf("123"), conf_change(SIMPLE, (REMOVE, 1)), conf("23")),
        (conf("123"), conf_change(SIMPLE, (LEARNER, 3)), conf("12", "3")),
        (conf("12", "3"), conf_change(SIMPLE, (REMOVE, 3), (LEARNER, 4)), conf("12", "4")),
        (conf("123"), conf_change(SIMPLE), conf("123")),
        (
            conf("123"),
            conf_change(EXPLICIT, (REMOVE, 2), (LEARNER, 3), (VOTER, 4), (LEARNER, 5)),
            conf("14", "5", "123", "3"),
        ),
        (conf("14", "5", "123", "3"), LEAVE_JOINT, conf("14", "35")),
    ],
)
def test_what_a_change_makes(before: ConfState, change: ConfChange, after: ConfState):
    assert changed(before, change) == after


def test_a_joint_change_says_whether_it_ends_by_itself():
    assert changed(conf("1"), conf_change(JOINT, (VOTER, 2))).auto_leave
    assert not changed(conf("1"), conf_change(EXPLICIT, (VOTER, 2))).auto_leave
    assert not changed(changed(conf("1"), conf_change(JOINT, (VOTER, 2))), LEAVE_JOINT).auto_leave


@pytest.mark.parametrize(
    ("before", "change", "problem"),
    [
        (conf("123"), conf_change(SIMPLE, (VOTER, 4), (VOTER, 5)), "more than one voter"),
        (conf("1"), conf_change(SIMPLE, (REMOVE, 1)), "no voter"),
        (conf("1"), conf_change(JOINT, (LEARNER, 1)), "no voter"),
        (conf("12"), conf_change(SIMPLE, (VOTER, 2)), "voter already"),
        (conf("12", "3"), conf_change(SIMPLE, (LEARNER, 3)), "learner already"),
        (conf("12"), conf_change(SIMPLE, (REMOVE, 7)), "no member"),
        (conf("12"), conf_change(SIMPLE, (VOTER, 0)), "no member's number"),
        (conf("12"), LEAVE_JOINT, "only a joint"),
        (conf("12", "", "1"), conf_change(SIMPLE, (VOTER, 3)), "is joint"),
        (conf("12", "", "1"), conf_change(JOINT, (VOTER, 3)), "is joint"),
        (conf("12", "", "1"), conf_change(LEAVE, (VOTER, 3)), "by nothing else"),
    ],
)
def test_what_cannot_be_is_refused(before: ConfState, change: ConfChange, problem: str):
    with pytest.raises(Conflict, match=problem):
        changed(before, change)


def quorums(state: ConfState) -> list[set[int]]:
    quorum = Quorum(frozenset(state.voters), frozenset(state.voters_outgoing))
    members = sorted(quorum.members)
    subsets = (set(chosen) for n in range(len(members) + 1) for chosen in combinations(members, n))
    return [chosen for chosen in subsets if quorum.contains_quorum(chosen)]


@given(st.lists(changes, max_size=12))
def test_neighbouring_configurations_share_a_member_of_any_two_quorums(made: list[ConfChange]):
    state = conf("123")
    for change in made:
        try:
            after = changed(state, change)
        except Conflict:
            continue
        for one in quorums(state):
            assert all(one & other for other in quorums(after))
        voters = {*after.voters, *after.voters_outgoing}
        assert not voters & {*after.learners}
        assert {*after.learners_next} <= {*after.voters_outgoing} - {*after.voters}
        assert after.voters
        state = after


@given(changes)
def test_the_encoding_brings_every_change_back(change: ConfChange):
    data = change.encode()
    assert data, "an entry without data would pass for a leader's first"
    assert ConfChange.decode(data) == change


@given(st.binary(max_size=40))
def test_no_bytes_do_more_than_be_refused(data: bytes):
    try:
        change = ConfChange.decode(data)
    except InvalidArgument:
        return
    assert change.encode() == data


def test_a_change_has_a_maximum_size():
    member = MemberChange(VOTER, MemberId(1))
    with pytest.raises(InvalidArgument, match="changes"):
        ConfChange(SIMPLE, (member,) * (CHANGES_MAX + 1)).encode()
