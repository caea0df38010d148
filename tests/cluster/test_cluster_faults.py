"""A real cluster of the registry survives what happens to clusters: the short form.

`python -m cluster` runs any of it for as long as you like (docs/reference/testing-clusters.md).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import kills
from cluster.members import Cluster
from cluster.netns import Network, why_unusable
from cluster.proof import prove
from cluster.scenarios import SCENARIOS, tour
from cluster.systems import SYSTEMS

REASON = why_unusable()
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.timeout(600),
]

SYSTEM = SYSTEMS["tianlu"]
SPARE = 1


@pytest.fixture
def seed() -> int:
    drawn = random.SystemRandom().randrange(1 << 32)
    print(f"seed {drawn}")
    return drawn


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    with (
        Network(3 + SPARE) as network,
        Cluster(SYSTEM, network, directory, snapshot_count=500) as started,
    ):
        yield started


def test_histories_survive_faults_of_processes_network_and_membership(
    cluster: Cluster, seed: int
) -> None:
    stations = ["kill", "isolate-leader", "pause-leader", "one-way", "lossy", "kill-all"]
    faults = tour(*stations, "wipe", "membership")
    verdict = prove(cluster, faults, seconds=30, seed=seed)
    assert not verdict.violations, str(verdict)
    assert verdict.counts["operations answered"] > 100
    assert verdict.counts["kills"] >= 5


def test_what_was_acknowledged_survives_kills(cluster: Cluster, seed: int) -> None:
    verdict = kills.prove_on(cluster, 9, random.Random(seed), print)
    assert not verdict.violations, str(verdict)
    assert verdict.counts["acknowledged writes"] > 100


def test_a_full_disk_stops_one_member_at_most(tmp_path: Path, seed: int) -> None:
    scenario = SCENARIOS["full-disk"]
    with (
        Network(3) as network,
        Cluster(SYSTEM, network, tmp_path, disk_megabytes=scenario.disk_megabytes) as cluster,
    ):
        verdict = prove(cluster, scenario.faults, seconds=5, seed=seed, exits_allowed=True)
    assert not verdict.violations, str(verdict)
