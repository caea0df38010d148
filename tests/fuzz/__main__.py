"""Damaged and hostile bytes for everything that reads what others wrote.

    cd tests && uv run --no-sync python -m fuzz --seconds 60            all targets, in turn
    cd tests && uv run --no-sync python -m fuzz wal --seed 7 --case 12  one case again

A target is a module in this directory with TARGETS, a sequence of `fuzz.target.Target`. A case is
made of (seed, number) alone, so that what is printed for a failure replays it.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import logging
import pkgutil
import random
import resource
import secrets
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import fuzz
from fuzz.target import Target

MEMORY_BYTES_MAX = 1 << 30
"""What a case may take beyond what the program has at the start."""

_NO_TARGETS = {"__main__", "target"}


def targets() -> dict[str, Target]:
    """Return all targets by name."""
    modules = [
        importlib.import_module(f"fuzz.{module.name}")
        for module in pkgutil.iter_modules(fuzz.__path__)
        if module.name not in _NO_TARGETS
    ]
    return {target.name: target for module in modules for target in module.TARGETS}


def run_case(target: Target, seed: int, number: int) -> str:
    """Run one case.

    Raises:
        BaseException: the reader failed it, hung or took too much memory.
    """
    with _alarm(target.seconds_max):
        return target.run(random.Random(f"{target.name}:{seed}:{number}"))


def fuzz_for(target: Target, seed: int, seconds: float, said: Counter[str]) -> None:
    """Run cases until the time is over."""
    end = time.monotonic() + seconds
    for number in itertools.count():
        try:
            said[run_case(target, seed, number)] += 1
        except BaseException:  # noqa: BLE001 - whatever a reader does wrong is a finding
            traceback.print_exc()
            print(f"FAILED: python -m fuzz {target.name} --seed {seed} --case {number}")
            raise SystemExit(1) from None
        if time.monotonic() > end:
            return


class Hung(Exception):
    """A case took too long."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise Hung(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> None:
    known = targets()
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="target", help=f"of {', '.join(known)}; all")
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--case", type=int, help="run this case of the seed only")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(known):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(known)}")
    _limit_memory()
    logging.disable()
    print(f"seed {arguments.seed}", flush=True)
    for name in arguments.names or known:
        if arguments.case is not None:
            print(f"{name}: {run_case(known[name], arguments.seed, arguments.case)}")
            continue
        said: Counter[str] = Counter()
        fuzz_for(known[name], arguments.seed, arguments.seconds, said)
        print(f"{name}: {said.total():,} cases: {dict(said.most_common())}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
