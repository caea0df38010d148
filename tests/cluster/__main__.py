"""Put a real cluster to the proof, as long as you like.

    cd tests && python -m cluster --system tianlu --scenario everything --seconds 300

Needs root. Logs, histories and data stay in the directory that is named when something was wrong.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from cluster import kills
from cluster.members import Cluster
from cluster.netns import Network, why_unusable
from cluster.proof import Verdict, prove
from cluster.scenarios import SCENARIOS
from cluster.systems import SYSTEMS


def main() -> int:
    arguments = _arguments()
    reason = why_unusable()
    if reason is not None:
        sys.exit(f"cluster: {reason}")
    names = list(SCENARIOS) if arguments.scenario == "all" else [arguments.scenario]
    seed = (
        arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 32)
    )
    wrong = 0
    for position, name in enumerate(names):
        wrong += not _one(arguments, name, seed + position)
    return 1 if wrong else 0


def _one(arguments: argparse.Namespace, name: str, seed: int) -> bool:
    """Run one scenario; return whether all was well."""
    print(f"seed {seed}: {arguments.system}, {name}, {arguments.seconds:.0f} s", flush=True)
    reason = SCENARIOS[name].why_not_here() if name in SCENARIOS else None
    if reason is not None:
        print(f"skipped: {reason}", flush=True)
        return True
    directory = Path(tempfile.mkdtemp(prefix=f"tianlu-cluster-{name}-", dir=arguments.directory))
    began = time.monotonic()
    if name == "kills":
        verdict = kills.prove(SYSTEMS[arguments.system], directory, arguments.kills, seed, _said)
    else:
        verdict = _scenario(arguments, name, seed, directory)
    for failure, count in verdict.failures.most_common(8):
        print(f"  {count} times: {failure}")
    print(f"{name}: {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
    if verdict.violations:
        print(f"all is kept in {directory}", flush=True)
        return False
    shutil.rmtree(directory, ignore_errors=True)
    return True


def _scenario(arguments: argparse.Namespace, name: str, seed: int, directory: Path) -> Verdict:
    scenario = SCENARIOS[name]
    with (
        Network(scenario.members + scenario.spare) as network,
        Cluster(
            SYSTEMS[arguments.system],
            network,
            directory,
            size=scenario.members,
            disk_megabytes=scenario.disk_megabytes,
            snapshot_count=scenario.snapshot_count,
        ) as cluster,
    ):
        return prove(
            cluster,
            scenario.faults,
            seconds=arguments.seconds,
            seed=seed,
            history_file=directory / "history.jsonl",
            exits_allowed=scenario.exits_allowed,
            say=_said,
        )


def _said(line: str) -> None:
    print(f"  {time.strftime('%H:%M:%S')} {line}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=list(SYSTEMS), default="tianlu")
    parser.add_argument("--scenario", choices=[*SCENARIOS, "kills", "all"], default="everything")
    parser.add_argument("--seconds", type=float, default=60.0, help="of faults, a scenario")
    parser.add_argument("--kills", type=int, default=500, help="how many, of scenario kills")
    parser.add_argument("--seed", type=int, help="drawn and printed when it is not given")
    parser.add_argument("--directory", type=Path, help="where data lie; on a real disk")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
