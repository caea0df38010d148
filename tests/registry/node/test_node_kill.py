"""SIGKILL at any moment loses nothing that was acknowledged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tianlu_registry.node.crash import ENVIRONMENT_VARIABLE, POINTS

WRITER = Path(__file__).with_name("crash_writer.py")
KILLS_AT_RANDOM = 6
WRITE_SECONDS = 20.0
"""How long a child would go on: it is killed long before."""


@dataclass
class Round:
    """What one child said."""

    found: dict[str, int] = field(default_factory=dict)
    leases: dict[int, int] = field(default_factory=dict)
    revision: int = 0
    acknowledged: dict[str, int] = field(default_factory=dict)
    acknowledged_revision: int = 0

    def take(self, line: str) -> None:
        match line.split():
            case ["STATE", key, value]:
                self.found[key] = int(value)
            case ["LEASE", lease, ttl]:
                self.leases[int(lease)] = int(ttl)
            case ["READY", revision]:
                self.revision = int(revision)
            case ["ACK", key, value, revision]:
                assert int(value) > self.acknowledged.get(key, 0)
                self.acknowledged[key] = int(value)
                self.acknowledged_revision = max(self.acknowledged_revision, int(revision))
            case _:
                raise AssertionError(f"unexpected line {line!r}")


def run(
    data_dir: Path,
    *,
    seconds: float,
    commit_milliseconds: int = 100,
    crash_point: str = "",
    kill_after_lines: int | None = None,
) -> Round:
    """Run a child to its end: its own, its crash point's, or a kill after so many lines."""
    environment = {**os.environ, ENVIRONMENT_VARIABLE: crash_point}
    child = subprocess.Popen(
        [sys.executable, str(WRITER), str(data_dir), str(seconds), str(commit_milliseconds)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    guard = threading.Timer(WRITE_SECONDS, child.kill)
    guard.start()
    said = Round()
    try:
        assert child.stdout is not None
        acknowledged = 0
        for line in child.stdout:
            said.take(line)
            acknowledged += line.startswith("ACK")
            if kill_after_lines is not None and acknowledged == kill_after_lines:
                child.kill()
        child.wait()
        assert guard.is_alive(), f"the child did not end by itself at {crash_point!r}"
    finally:
        guard.cancel()
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    killed = bool(crash_point) or kill_after_lines is not None
    assert child.returncode == (-signal.SIGKILL if killed else 0)
    return said


def check_nothing_lost(before: Round, after: Round) -> None:
    expected = {**before.found, **before.acknowledged}
    for key, value in expected.items():
        if key.endswith("/scratch"):
            continue
        found = after.found.get(key)
        assert found in (value, value + 1), f"{key}: acknowledged {value}, found {found}"
    assert after.revision >= before.acknowledged_revision
    assert before.leases.keys() <= after.leases.keys()
    assert all(ttl >= 598 for ttl in after.leases.values()), "a lease lost time by the restart"


@pytest.mark.timeout(300)
def test_everything_acknowledged_survives_every_kill(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    draw = random.Random(seed)
    kills: list[tuple[str, int | None]] = [
        (f"{point}:{draw.randint(1, 30)}", None) for point in POINTS
    ]
    kills += [("", draw.randint(1, 2_000)) for _ in range(KILLS_AT_RANDOM)]
    draw.shuffle(kills)
    before = Round()
    for crash_point, lines in kills:
        after = run(
            tmp_path,
            seconds=WRITE_SECONDS,
            commit_milliseconds=draw.choice((2, 20, 200)),
            crash_point=crash_point,
            kill_after_lines=lines,
        )
        # A child killed at its start may have said nothing: the next one is compared instead.
        if after.revision:
            check_nothing_lost(before, after)
            before = after
    last = run(tmp_path, seconds=0)
    check_nothing_lost(before, last)
    assert last.revision > 1_000
