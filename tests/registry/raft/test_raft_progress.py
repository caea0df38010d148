"""A leader's bookkeeping for one follower."""

from __future__ import annotations

import pytest

from tianlu_registry.raft import ProgressState
from tianlu_registry.raft.progress import Inflights, Progress


def replicating(match: int = 5) -> Progress:
    progress = Progress(match + 1, Inflights(10, 1000), is_learner=False)
    progress.accepted(match)
    progress.become_replicate()
    return progress


def probing(match: int, next_index: int) -> Progress:
    progress = Progress(next_index, Inflights(10, 1000), is_learner=False)
    progress.match = match
    return progress


def test_a_probe_waits_for_its_answer():
    progress = probing(match=0, next_index=6)
    progress.sent(last_index=8, size=10, commit=3)
    assert progress.paused
    assert progress.next == 6
    progress.accepted(8)
    assert not progress.paused
    assert (progress.match, progress.next) == (8, 9)


def test_replication_goes_on_without_answers_until_the_window_is_full():
    progress = replicating()
    for last_index in range(6, 16):
        assert not progress.paused
        progress.sent(last_index, size=10, commit=0)
    assert progress.paused
    assert progress.window_full
    progress.accepted(6)
    assert not progress.paused
    assert progress.next == 16


def test_the_window_is_limited_in_bytes():
    progress = replicating()
    progress.sent(6, size=999, commit=0)
    assert not progress.paused
    progress.sent(7, size=1, commit=0)
    assert progress.paused


@pytest.mark.parametrize("index", [0, 3, 5])
def test_a_repeated_acceptance_changes_nothing(index: int):
    progress = replicating(match=5)
    assert not progress.accepted(index)
    assert (progress.match, progress.next) == (5, 6)


def test_a_rejection_makes_a_replicating_follower_be_probed():
    progress = replicating(match=5)
    progress.sent(9, size=1, commit=4)
    assert progress.rejected(prev_index=9, hint_index=7)
    assert progress.state is ProgressState.PROBE
    assert (progress.next, len(progress.inflights), progress.paused) == (6, 0, False)


@pytest.mark.parametrize("prev_index", [0, 4, 5])
def test_a_rejection_of_what_was_accepted_since_is_stale(prev_index: int):
    progress = replicating(match=5)
    assert not progress.rejected(prev_index, hint_index=0)
    assert progress.state is ProgressState.REPLICATE


@pytest.mark.parametrize("prev_index", [4, 6, 9])
def test_a_rejection_of_another_probe_is_stale(prev_index: int):
    progress = probing(match=2, next_index=6)
    assert not progress.rejected(prev_index, hint_index=0)
    assert progress.next == 6


@pytest.mark.parametrize(("hint", "next_index"), [(9, 5), (4, 5), (3, 4), (2, 3), (0, 3)])
def test_a_rejected_probe_goes_back_to_the_hint_but_never_behind_the_match(
    hint: int, next_index: int
):
    progress = probing(match=2, next_index=6)
    assert progress.rejected(prev_index=5, hint_index=hint)
    assert progress.next == next_index


def test_a_commit_index_is_sent_once():
    progress = replicating(match=5)
    progress.sent(8, size=1, commit=4)
    assert not progress.lacks_commit(4)
    assert progress.lacks_commit(6)
    progress.sent(8, size=0, commit=8)
    assert not progress.lacks_commit(9)  # beyond what it has been sent, it could not commit it


def test_a_snapshot_stops_everything_until_it_ends():
    progress = probing(match=3, next_index=4)
    progress.become_snapshot(9)
    assert progress.paused
    assert not progress.rejected(5, 2)
    assert progress.accepted(4)
    assert progress.paused, "an old answer is no end of it"


@pytest.mark.parametrize(("installed", "next_index"), [(True, 10), (False, 4)])
def test_its_end_is_followed_by_a_probe_that_waits(installed: bool, next_index: int):
    progress = probing(match=3, next_index=4)
    progress.become_snapshot(9)
    progress.snapshot_ended(installed=installed)
    assert progress.state is ProgressState.PROBE
    assert progress.next == next_index
    assert progress.paused
