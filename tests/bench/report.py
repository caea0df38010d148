"""Figures of alternating rounds: medians, spread and ratios."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Report:
    """Collects figures by measure and program.

    Attributes:
        base: the program that ratios are against.
    """

    base: str
    figures: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, measure: str, program: str, value: float) -> None:
        self.figures.setdefault(measure, {}).setdefault(program, []).append(value)
        print(f"  {measure}: {program} {value:,.2f}", flush=True)

    def print(self) -> None:
        """Print a row a measure and program: median, minimum, maximum, ratio to the base."""
        print(
            f"\n{'measure':<44} {'program':<10} {'median':>12} {'min':>12} {'max':>12} {'ratio':>7}"
        )
        for measure, programs in self.figures.items():
            base = statistics.median(programs.get(self.base, [0.0]))
            for program, values in programs.items():
                middle = statistics.median(values)
                ratio = f"{middle / base:.2f}" if base else "-"
                print(
                    f"{measure:<44} {program:<10} {middle:>12,.2f} {min(values):>12,.2f}"
                    f" {max(values):>12,.2f} {ratio:>7}"
                )

    def json(self) -> str:
        return json.dumps(self.figures, indent=2)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
