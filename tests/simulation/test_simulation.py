"""Simulated clusters of production cores bear every fault; broken ones are found out.

More seeds: `tianlu sim --minutes 10`. A seed that failed once stays in REGRESSIONS.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from simulation import mutations
from simulation.mutations_state import MUTATIONS
from simulation.test_lease_scenarios import NEEDED

from tianlu_registry.simulation.cluster import Cluster
from tianlu_registry.simulation.plan import Scenario
from tianlu_registry.simulation.violation import Violation

SEEDS = range(40)

LIGHT = {"lease_units": 0, "watchers": 0, "request_units": 10, "value_bytes_max": 200}
"""What faults of consensus and WAL do not need; runs are three times as fast without."""

STORMY = {"voters": 3, "learners": 0, "fault_ticks": 6, "election_timeout_ticks": 4}

LEASES = {"leases": 4, "lease_units": 5, "watchers": 0, "request_units": 10, "skew": 0.0}
PAUSES = {"pause_ticks_max": 40, "change_ticks": 0, "loss": 0.0}

SUITED: dict[str, dict[str, Any]] = {
    "vote_for_an_older_log": STORMY,
    "recover_entries_that_were_replaced": STORMY,
    "serve_a_read_before_the_first_commit": {**STORMY, "request_units": 4},
    "never_send_a_lost_snapshot_again": {**STORMY, "save_ticks": 5, "keep_entries": 0},
    "say_nothing_of_a_compaction": {
        "watchers": 5,
        "request_units": 10,
        "lease_units": 0,
        "fault_ticks": 6,
    },
    "take_an_old_write_for_the_new_entries": {
        **STORMY,
        "disk_units_max": 20,
        "slow_disk": 0.5,
        "change_ticks": 0,
        "delay_units_max": 2,
    },
    "campaign_by_an_old_membership": {**STORMY, "apply_units_max": 150, "change_ticks": 8},
    "keep_quiet_about_what_is_committed": {"voters": 2, "change_ticks": 8, "fault_ticks": 15},
    "begin_the_log_anew_before_the_state_is_there": {
        **STORMY,
        **LIGHT,
        "fault_ticks": 3,
        "change_ticks": 0,
        "save_ticks": 5,
        "keep_entries": 0,
        "disk_units_max": 200,
        "pause_ticks_max": 0,
    },
    "propose_again_what_a_snapshot_may_hold": {
        **STORMY,
        "retries": True,
        "save_ticks": 5,
        "keep_entries": 0,
    },
    "keep_alive_by_a_deposed_leader": {**STORMY, **LEASES, **PAUSES},
}
"""Plans in which what is seldom noticed is noticed soon. A fault that the simulation has found
stays as the mutation that brings it back."""

MUTATION_SEEDS = 60
"""Seeds in which each mutation must be noticed; nearly all are within five."""


def scenario(name: str, seed: int) -> Scenario:
    """Return a run that can show a mutation."""
    drawn = Scenario(seed)
    of_core = MUTATIONS[name].__module__ == mutations.__name__
    suited = {**(LIGHT if of_core else {}), **SUITED.get(name, {})}
    return replace(drawn, plan=replace(drawn.drawn_plan(), **suited))


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """Run the seeds; return how often what happened."""
    total: Counter[str] = Counter()
    for seed in SEEDS:
        total += run(seed)
    return total


def run(seed: int) -> Counter[str]:
    cluster = Cluster(seed)
    try:
        cluster.run()
    except Violation as error:
        trace = "\n".join(cluster.trace_lines)
        pytest.fail(f"seed {seed}: {error}\n{cluster.plan}\n{trace}")
    return cluster.seen


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("what", "at_least"),
    [
        ("crashes", 80),
        ("failed writes", 10),
        ("torn tails", 1),
        ("partitions", 50),
        ("pauses", 15),
        ("slow disks", 5),
        ("elections won", 80),
        ("proposals taken", 3000),
        ("proposals made again", 100),
        ("commands applied", 3000),
        ("commands refused", 300),
        ("writes acknowledged", 2500),
        ("reads served", 1000),
        ("saves", 300),
        ("states compared", 1500),
        ("snapshots installed", 40),
        ("snapshots lost", 10),
        ("joint configurations", 15),
        ("learners promoted", 5),
        ("leaders removed", 3),
        ("transfers made", 3),
        ("leases expired", 30),
        ("leases kept alive", 500),
        ("checkpoints cleared", 50),
        ("watches begun", 400),
        ("watches compacted", 10),
        ("events told", 2000),
    ],
)
def test_no_fault_breaks_a_guarantee_and_all_of_them_happen(
    seen: Counter[str], what: str, at_least: int
):
    """A simulation in which nothing happens would prove nothing."""
    assert seen[what] >= at_least


def test_a_seed_repeats_exactly():
    def trace() -> list[object]:
        cluster = Cluster(1, trace_all=True)
        cluster.run()
        written = [
            bytes(inode.durable)
            for member in cluster.members
            for inode in member.storage._disk._names.values()
        ]
        return [*cluster.trace_lines, cluster.seen, *written]

    assert trace() == trace()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name in MUTATIONS if name not in NEEDED])
def test_a_core_that_is_broken_on_purpose_is_found_out(name: str):
    for seed in range(MUTATION_SEEDS):
        with MUTATIONS[name]():
            try:
                Cluster(scenario(name, seed)).run()
            except Violation:
                return
    pytest.fail(f"{name}: not noticed in {MUTATION_SEEDS} seeds")


def test_there_are_mutations_enough():
    assert len(MUTATIONS) >= 40
