"""When a child is given up, and when the next one may start: decisions only, no I/O.

A child is *starting* until its first good probe, then *serving*. It is replaced when it exits
without having said why for good (see `is_final`), when it is serving and fails `failures_max`
probes in a row, or when it does not serve within `startup_seconds_max`.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace

FINAL_EXIT_STATUSES = range(64, 79)
"""Exit statuses with which the node itself says that starting it again would not help.
Source: sysexits.h; docs/operations/exit-codes.md lists ours."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The patience of a launcher. All in seconds but `failures_max`.

    Attributes:
        probe_interval, probe_timeout: how often the child is asked, and how long an answer may
            take. A child under more load than it can bear answers late, and must not be killed
            for it: so the timeout is long, and few of them are the patience.
        failures_max: unanswered probes in a row after which a serving child is stuck.
        startup_max: longest time from start to the first answer: recovery from the log is in it.
        backoff_first, backoff_max: pause before a restart; doubles each time.
        backoff_forgotten_after: a child that served so long restarts without a record.
        drain: time given to calls in flight when the node stops.
        stop_max: longest time from SIGTERM to SIGKILL.
    """

    probe_interval: float = 1.0
    probe_timeout: float = 3.5
    failures_max: int = 2
    startup_max: float = 600.0
    backoff_first: float = 0.25
    backoff_max: float = 15.0
    backoff_forgotten_after: float = 60.0
    drain: float = 1.0
    stop_max: float = 10.0


@dataclass(frozen=True, slots=True)
class Health:
    """What the probes of one child have found so far."""

    limits: Limits
    served: bool = False
    failures: int = 0

    def after_probe(self, answered: bool) -> Health:
        """Return the health after one more probe."""
        if answered:
            return replace(self, served=True, failures=0)
        return replace(self, failures=self.failures + 1) if self.served else self

    def stuck(self, seconds_since_start: float) -> bool:
        """Whether the child must be killed."""
        if self.served:
            return self.failures >= self.limits.failures_max
        return seconds_since_start > self.limits.startup_max


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to pause before the next child."""

    limits: Limits
    restarts: int = 0

    def after_exit(self, seconds_served: float) -> tuple[Backoff, float]:
        """Return the next state and the pause in seconds."""
        restarts = 0 if seconds_served >= self.limits.backoff_forgotten_after else self.restarts
        # The exponent is bounded so that a node restarted for weeks does not overflow a float.
        pause = self.limits.backoff_first * 2.0 ** min(restarts, 30)
        return replace(self, restarts=restarts + 1), min(pause, self.limits.backoff_max)


def is_final(exit_status: int, *, ever_served: bool) -> bool:
    """Whether a child's exit ends the launcher too.

    The node's own verdicts do; so does any failure before anything was ever served, which is
    nearly always a mistake in how the node was started, better shown than repeated.
    """
    return exit_status in FINAL_EXIT_STATUSES or (not ever_served and exit_status >= 0)


def describe_exit(exit_status: int) -> str:
    """Return the exit in words, for the log."""
    if exit_status < 0:
        return f"killed by {signal.Signals(-exit_status).name}"
    return f"exited with status {exit_status}"
