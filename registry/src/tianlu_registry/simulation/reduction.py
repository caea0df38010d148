"""Makes a failing run short: what can be left out and still fail in the same way is left out.

A run is drawn from its seed, so leaving something out changes what follows: messages are lost
elsewhere, other members are elected. That does no harm. Whatever run still breaks the same
guarantee is as good an explanation, and every try is a whole run that repeats exactly.

First the plan is made simpler, field by field; then steps (faults, changes, requests) are left out,
half of them first, then ever smaller parts (delta debugging).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from typing import Any, Final

from tianlu_registry.simulation.clock import TICK_UNITS
from tianlu_registry.simulation.cluster import Cluster
from tianlu_registry.simulation.plan import Plan, Scenario, Step
from tianlu_registry.simulation.violation import Violation

SIMPLER: Final[dict[str, tuple[Any, ...]]] = {
    "change_ticks": (0,),
    "loss": (0.0,),
    "duplication": (0.0,),
    "skew": (0.0,),
    "pause_ticks_max": (0,),
    "slow_disk": (0.0,),
    "lease_units": (0,),
    "watchers": (0, 1),
    "learners": (0,),
    "value_bytes_max": (0,),
    "delay_units_max": (2,),
    "disk_units_max": (1,),
    "apply_units_max": (0,),
    "append_bytes_max": (1 << 20,),
    "append_messages_in_flight_max": (256,),
    "applying_bytes_max": (1 << 20,),
    "segment_bytes": (8192,),
    "early_log": (False,),
    "retries": (False,),
    "keys": (2,),
    "leases": (1,),
    "voters": (1, 2, 3),
    "save_ticks": (60,),
    "keep_entries": (30,),
    "fault_ticks": (0,),
}
"""Simpler values of the plan's fields, the simplest first. In this order they are tried."""


class Reduction:
    """The search for a shorter run.

    Args:
        violation: what the run that is to be shortened ended with.
        seconds_max: when to be content with what was found.
        on_try: told how many runs were made and how many steps are left.

    Attributes:
        scenario: the shortest run found.
        steps: what it does to the cluster.
        runs: how many were tried.
    """

    def __init__(
        self,
        scenario: Scenario,
        violation: Violation,
        *,
        seconds_max: float,
        on_try: Callable[[int, int], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scenario = scenario
        self.steps: list[Step] = []
        self.violation = violation
        self.runs = 0
        self._on_try = on_try
        self._clock = clock
        self._end = clock() + seconds_max
        self._fails(scenario)

    def run(self) -> Scenario:
        """Search; return the shortest run found, which may be the first."""
        self._shorten()
        self._simplify()
        self._leave_out()
        self._simplify()
        return self.scenario

    def _fails(self, scenario: Scenario) -> bool:
        """Make a run; keep it if it breaks the same guarantee."""
        self.runs += 1
        cluster = Cluster(scenario)
        try:
            cluster.run()
        except Violation as violation:
            if violation.kind == self.violation.kind:
                self.scenario, self.steps, self.violation = scenario, cluster.steps, violation
                self._ended_at_tick = cluster.clock.now // TICK_UNITS
                return True
        finally:
            if self._on_try is not None:
                self._on_try(self.runs, len(self.steps))
        return False

    @property
    def _has_time(self) -> bool:
        return self._clock() < self._end

    def _shorten(self) -> None:
        """End the faults where the guarantee was broken."""
        plan = self.scenario.drawn_plan()
        ticks = min(plan.duration_ticks, self._ended_at_tick + 1)
        self._fails(replace(self.scenario, plan=replace(plan, duration_ticks=ticks)))

    def _simplify(self) -> None:
        for name, values in SIMPLER.items():
            plan = self.scenario.drawn_plan()
            for value in values:
                if not self._has_time or getattr(plan, name) == value:
                    break
                if name == "voters" and value > plan.voters:
                    break
                if self._fails(replace(self.scenario, plan=replace(plan, **{name: value}))):
                    break

    def _leave_out(self) -> None:
        size = max(1, len(self.steps) // 2)
        while self._has_time:
            found = any(self._leave(part) for part in _parts(self.steps, size))
            if not found and size == 1:
                return
            size = max(1, min(size, len(self.steps) // 2) if found else size // 2)

    def _leave(self, part: Sequence[Step]) -> bool:
        left_out = self.scenario.left_out.union(part)
        return self._has_time and self._fails(replace(self.scenario, left_out=left_out))

    def describe(self) -> str:
        """Return the reduced run in words: what differs from the drawn plan, and what is done."""
        plan, drawn = self.scenario.drawn_plan(), Scenario(self.scenario.seed).drawn_plan()
        changed = [
            f"{field.name}={getattr(plan, field.name)}"
            for field in fields(Plan)
            if getattr(plan, field.name) != getattr(drawn, field.name)
        ]
        kinds = sorted({kind for kind, _ in self.steps})
        counts = [f"{sum(step[0] == kind for step in self.steps)} {kind}" for kind in kinds]
        return (
            f"{len(self.steps)} steps are left ({', '.join(counts)}) after {self.runs} runs\n"
            f"simpler than drawn: {' '.join(changed) or 'nothing'}"
        )

    def trace(self, *, all_events: bool = False) -> list[str]:
        """Run the shortest again; return what happens."""
        cluster = Cluster(self.scenario, trace_all=all_events)
        with suppress(Violation):
            cluster.run()
        return list(cluster.trace_lines)


def _parts(steps: Sequence[Step], size: int) -> Iterator[Sequence[Step]]:
    """Return parts of some size, the last first: what came late is the likeliest to matter not."""
    for start in range(((len(steps) - 1) // size) * size, -1, -size):
        yield steps[start : start + size]
