"""Run simulations by hand.

cd tests && python -m simulation --seeds 100          seeds 0 to 99
cd tests && python -m simulation --seed 1234 --trace  one seed again, with all that happens
cd tests && python -m simulation --minutes 10         new seeds until the time is up
cd tests && python -m simulation --mutation vote_twice --seeds 50    with the core broken
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import time
from collections import Counter
from contextlib import nullcontext, suppress

from simulation.mutations import MUTATIONS

from tianlu_registry.simulation.cluster import Cluster
from tianlu_registry.simulation.violation import Violation

DETAIL_LINES = 40


def main() -> int:
    options = _options()
    logging.disable()  # torn tails are daily life here
    seen: Counter[str] = Counter()
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    first = secrets.randbelow(1 << 32) if options.minutes else options.first
    seeds = [options.seed] if options.seed is not None else range(first, first + options.seeds)
    print(f"first seed {seeds[0]}", flush=True)
    done = 0
    mutated = MUTATIONS[options.mutation]() if options.mutation else nullcontext()
    with mutated:
        for seed in seeds:
            if end is not None and time.monotonic() > end:
                break
            if not _run(seed, seen, trace=options.trace):
                return 1
            done += 1
    print(f"{done} seeds, no violation")
    for name, count in sorted(seen.items()):
        print(f"  {name}: {count}")
    return 0


def _run(seed: int, seen: Counter[str], *, trace: bool) -> bool:
    """Run one seed; print what went wrong. Returns whether nothing did."""
    cluster = Cluster(seed, trace_all=trace)
    problem: Violation | None = None
    try:
        cluster.run()
    except Violation as error:
        problem = error
    except BaseException:
        print(f"seed {seed}: the simulation itself failed", flush=True)
        raise
    if problem is not None and not trace:
        print("\n".join(last_words(seed)))
    elif trace:
        print("\n".join(cluster.trace_lines))
    if problem is not None:
        print(f"seed {seed}: {problem}\n{cluster.plan}")
        print(f"again: python -m simulation --seed {seed} --trace")
    seen += cluster.seen
    return problem is None


def last_words(seed: int) -> list[str]:
    """Run a failing seed again; return the rare events of its end, and its last messages and
    Readies."""
    brief, full = Cluster(seed), Cluster(seed, trace_all=True)
    for cluster in (brief, full):
        with suppress(Violation):
            cluster.run()
    return [*brief.trace_lines, "--- in detail ---", *list(full.trace_lines)[-DETAIL_LINES:]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this seed only")
    parser.add_argument("--first", type=int, default=0, help="the first of --seeds")
    parser.add_argument("--seeds", type=int, default=1 << 40, help="how many")
    parser.add_argument("--minutes", type=float, help="new seeds until this time is up")
    parser.add_argument("--trace", action="store_true", help="print all that happens")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="break the core so")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
