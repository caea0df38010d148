"""Whole clusters under every fault that Raft must bear (Raft, figure 3)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry.raft.raft_cluster import Cluster

seeds = st.integers(0, 1 << 32)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from([(1, 0), (2, 0), (3, 0), (3, 1), (5, 0)]), st.sampled_from([0, 0.2]))
def test_faults_break_no_guarantee_and_afterwards_the_cluster_works(
    seed: int, shape: tuple[int, int], loss: float
):
    voters, learners = shape
    cluster = Cluster(seed, voters, learners, loss)
    for step in range(5000):
        cluster.random_step()
        if step % 50 == 0:
            cluster.checker.check_log_matching()
    cluster.heal()
    wait_for_leader(cluster)
    everybody_gets_a_proposal(cluster)
    cluster.checker.check_log_matching()


def wait_for_leader(cluster: Cluster) -> None:
    for _ in range(200):
        cluster.tick()
        if (leader := cluster.leader()) and leader.node.status().committed >= 1:
            return
    raise AssertionError("no leader in a healed cluster")


def everybody_gets_a_proposal(cluster: Cluster) -> None:
    leader = cluster.leader()
    assert leader is not None
    data = cluster.propose(leader)
    for _ in range(200):
        cluster.tick()
        if all(member.applied and member.applied[-1].data == data for member in cluster.members):
            return
    raise AssertionError("a proposal is not applied everywhere in a healed cluster")


def test_a_run_repeats_exactly():
    def run() -> list[object]:
        cluster = Cluster(12345, loss=0.1)
        for _ in range(2000):
            cluster.random_step()
        return [*cluster.network, *(member.applied for member in cluster.members)]

    assert run() == run()


def test_the_simulation_reaches_what_it_is_for():
    """A simulation in which nothing happens would prove nothing."""
    committed = reads = terms = 0
    for seed in range(5):
        cluster = Cluster(seed)
        for _ in range(5000):
            cluster.random_step()
        committed += len(cluster.checker.committed)
        reads += cluster.checker.reads_answered
        terms += max(member.node.status().term for member in cluster.members)
    assert committed > 50
    assert reads > 5
    assert terms > 10


@pytest.mark.parametrize("voters", [2, 3, 5])
def test_a_quiet_cluster_keeps_its_leader(voters: int):
    cluster = Cluster(1, voters)
    wait_for_leader(cluster)
    leader = cluster.leader()
    assert leader is not None
    term = leader.node.status().term
    cluster.tick(200)
    assert cluster.leader() is leader
    assert leader.node.status().term == term
