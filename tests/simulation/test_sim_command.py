"""`tianlu sim`: what a user sees, and how a failing run becomes a short one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from simulation.mutations_state import MUTATIONS
from typer.testing import CliRunner

from tianlu._cli import root
from tianlu_registry.simulation.cluster import Cluster
from tianlu_registry.simulation.plan import Scenario
from tianlu_registry.simulation.reduction import Reduction
from tianlu_registry.simulation.violation import Violation

NOTICED = "skip_a_revision_after_a_reconnect"
"""A mutation that seed 0 notices."""

WITH_FAULTS = 7
"""A seed that draws faults."""


def invoke(*arguments: str):
    return CliRunner().invoke(root.app, ["sim", *arguments])


def test_seeds_that_end_well():
    result = invoke("--first-seed", "1", "--seeds", "2", "--output", "json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert (found["first_seed"], found["seeds"], found["failed_seed"]) == (1, 2, None)
    assert found["seen"]["writes acknowledged"] > 0
    assert "first seed 1" in result.stderr


def test_time_is_a_bound_too():
    result = invoke("--minutes", "0.01")
    assert result.exit_code == 0
    assert "nothing found" in result.stdout


def test_one_seed_with_all_that_happens():
    result = invoke("--seed", "1", "--trace")
    assert result.exit_code == 0
    assert "RequestVote" in result.stdout
    assert "1 seeds, nothing found" in result.stdout


def test_a_violation_is_explained_by_a_short_run(monkeypatch: pytest.MonkeyPatch):
    result = invoke("--seed", "0", "--mutation", NOTICED, "--reduce-seconds", "20")
    assert result.exit_code == 1
    assert "watch completeness" in result.stdout
    assert "steps are left" in result.stdout
    assert "tianlu sim --seed 0 --trace" in result.stdout


def test_an_unknown_mutation_is_wrong_usage():
    result = invoke("--mutation", "make_coffee")
    assert result.exit_code == 2
    assert "make_coffee" in result.output
    assert invoke("--mutation", "nowhere:at_all").exit_code == 2


def test_help_teaches():
    result = invoke("--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout


def test_what_is_left_out_is_not_done_and_changes_no_other_step():
    whole = Cluster(WITH_FAULTS)
    whole.run()
    left_out = frozenset(step for step in whole.steps if step[0] == "fault")
    assert left_out
    fewer = Cluster(Scenario(WITH_FAULTS, left_out=left_out))
    fewer.run()
    assert not any(step[0] == "fault" for step in fewer.steps)
    assert [step for step in whole.steps if step not in left_out] == fewer.steps


def test_a_reduction_keeps_the_kind_of_violation_and_repeats():
    with MUTATIONS[NOTICED]():
        with pytest.raises(Violation) as caught:
            Cluster(0).run()
        reduction = Reduction(Scenario(0), caught.value, seconds_max=20)
        before = len(reduction.steps)
        shortest = reduction.run()
        assert reduction.violation.kind == caught.value.kind
        assert len(reduction.steps) < min(20, before)
        assert reduction.trace() == reduction.trace()
        assert shortest.drawn_plan() != Scenario(0).drawn_plan()


def test_a_reduction_without_time_gives_the_run_as_it_was():
    with MUTATIONS[NOTICED]():
        with pytest.raises(Violation) as caught:
            Cluster(0).run()
        reduction = Reduction(Scenario(0), caught.value, seconds_max=0)
        reduction.run()
    plan = Scenario(0).drawn_plan()
    assert replace(reduction.scenario.drawn_plan(), duration_ticks=0) == replace(
        plan, duration_ticks=0
    )
    assert not reduction.scenario.left_out
