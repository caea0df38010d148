"""Leases over changes of leader, step by step; and that each rule is needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simulation.mutations_state import MUTATIONS
from simulation.scenarios import ELECTION_TICKS, Calm, applying_slowly

from tianlu_registry.simulation.violation import Violation

LEASE = 7


def a_deposed_leader_does_not_end_what_its_successor_has_renewed() -> None:
    calm = Calm(tick_seconds=0.1, retries=True)
    calm.grant(LEASE, ttl_seconds=3)
    deposed = calm.leader
    calm.pass_ticks(27)
    calm.isolate(deposed)  # just before the lease runs out, as it counts
    calm.pass_until(lambda: calm.counting is not None and calm.leader is not deposed)
    calm.keep_alive(LEASE)
    calm.mend()
    calm.pass_ticks(10)
    assert calm.is_alive(LEASE)
    calm.pass_until(lambda: not calm.is_alive(LEASE))


def a_renewal_outlasts_the_checkpoint_before_it() -> None:
    calm = Calm(tick_seconds=60.0)
    calm.grant(LEASE, ttl_seconds=3600)
    calm.pass_ticks(40)  # checkpoints every 5 ticks: 1,200 seconds are left
    calm.keep_alive(LEASE)
    calm.leader.crash()
    calm.pass_until(lambda: calm.counting is not None)
    calm.pass_ticks(40)
    assert calm.is_alive(LEASE)
    calm.pass_until(lambda: not calm.is_alive(LEASE))


def a_new_leader_counts_what_it_has_yet_to_apply() -> None:
    calm = Calm(tick_seconds=60.0)
    calm.grant(LEASE, ttl_seconds=3600)
    calm.pass_ticks(40)
    successor = calm.followers()[0]
    with applying_slowly(successor, ticks=3 * ELECTION_TICKS):
        calm.keep_alive(LEASE)  # that the checkpoint is cleared waits to be applied there
        calm.leader.call(lambda node: node.transfer_leadership(successor.id))
        calm.pass_until(lambda: successor.is_leader)
        calm.pass_until(lambda: successor.machine.lessor.is_leader)
    calm.pass_ticks(40)
    assert calm.is_alive(LEASE)
    calm.pass_until(lambda: not calm.is_alive(LEASE))


NEEDED: dict[str, Callable[[], None]] = {
    "end_a_lease_again_in_a_later_term": (
        a_deposed_leader_does_not_end_what_its_successor_has_renewed
    ),
    "keep_alive_over_a_checkpoint": a_renewal_outlasts_the_checkpoint_before_it,
    "count_leases_before_the_log_is_applied": a_new_leader_counts_what_it_has_yet_to_apply,
}
"""By the mutation that each run notices. Random runs notice these too, but seldom."""


@pytest.mark.parametrize("scenario", NEEDED.values(), ids=lambda scenario: scenario.__name__)
def test_leases_over_a_change_of_leader(scenario: Callable[[], None]):
    scenario()


@pytest.mark.parametrize("name", NEEDED)
def test_each_rule_is_needed(name: str):
    with MUTATIONS[name](), pytest.raises(Violation, match="lease safety"):
        NEEDED[name]()
