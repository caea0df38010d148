"""Simulated clusters of production cores and WALs bear every fault; broken ones are found out.

More seeds: `cd tests && python -m simulation --minutes 10`. A seed that failed once stays in
REGRESSIONS.
"""

from __future__ import annotations

from collections import Counter

import pytest
from simulation.mutations import MUTATIONS

from tianlu_registry.simulation.cluster import Cluster
from tianlu_registry.simulation.violation import Violation

SEEDS = range(40)

REGRESSIONS = {
    "keep_quiet_about_what_is_committed": (155, 179),
}
"""Seeds that found a fault, by the mutation that brings it back. They must still find it."""

NOTICED_BY = {
    **REGRESSIONS,
    "campaign_by_an_old_membership": (51, 74),
    "take_an_old_write_for_the_new_entries": (77,),
}
"""Seeds that notice what few do; they are tried first. (`plan.py` decides what a seed means.)"""

MUTATION_SEEDS = 60
"""Seeds in which each mutation must be noticed; nearly all are within five."""


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


@pytest.mark.parametrize("seed", [seed for seeds in REGRESSIONS.values() for seed in seeds])
def test_what_failed_once_does_not_fail_again(seed: int):
    run(seed)


@pytest.mark.parametrize(
    ("what", "at_least"),
    [
        ("crashes", 80),
        ("failed writes", 10),
        ("torn tails", 3),
        ("partitions", 50),
        ("slow disks", 5),
        ("elections won", 100),
        ("proposals taken", 5000),
        ("reads answered", 1000),
        ("snapshots installed", 50),
        ("snapshots lost", 10),
        ("joint configurations", 15),
        ("learners promoted", 5),
        ("leaders removed", 3),
        ("transfers made", 3),
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


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_core_that_is_broken_on_purpose_is_found_out(name: str):
    for seed in (*NOTICED_BY.get(name, ()), *range(MUTATION_SEEDS)):
        with MUTATIONS[name]():
            try:
                Cluster(seed).run()
            except Violation:
                return
    pytest.fail(f"{name}: not noticed in {MUTATION_SEEDS} seeds")


def test_there_are_mutations_enough():
    assert len(MUTATIONS) >= 12
