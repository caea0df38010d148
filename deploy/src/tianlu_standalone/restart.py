"""When to start a part again after it ended. Pure: time is an argument.

The delay doubles from `FIRST_DELAY_SECONDS` to `DELAY_SECONDS_MAX` while a part keeps dying, and
falls back to the first once it has run for `STEADY_SECONDS`.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST_DELAY_SECONDS = 0.2
DELAY_SECONDS_MAX = 15.0
STEADY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class RestartState:
    """How often a part has died in a row."""

    deaths: int = 0

    def after_death(self, ran_seconds: float) -> tuple[RestartState, float]:
        """Return the next state and how long to wait before the next start.

        Args:
            ran_seconds: how long the part ran before it ended.
        """
        deaths = 1 if ran_seconds >= STEADY_SECONDS else self.deaths + 1
        # The exponent is bounded so that a part that dies for days does not overflow a float.
        delay = FIRST_DELAY_SECONDS * 2.0 ** min(deaths - 1, 16)
        return RestartState(deaths), min(delay, DELAY_SECONDS_MAX)
