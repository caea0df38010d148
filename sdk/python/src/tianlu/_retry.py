"""When to try again: small values for how long to wait, which compose.

    wait = FirstAtOnce(Jittered(Exponential(0.05, seconds_max=2.0), share=0.5))

They hold no state and read no clock: the caller says which attempt it was and what the dice say,
so a test can check each value.
Source: the form of tenacity's wait values; full jitter is argued in Brooker, "Exponential
Backoff And Jitter" (AWS Architecture Blog, 2015).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Final, Protocol


class Wait(Protocol):
    """How long to wait after a failed attempt."""

    def seconds(self, attempt: int, draw: float) -> float:
        """Return the wait after failed attempt number `attempt` (from 1).

        Args:
            draw: a random number in [0, 1).
        """
        ...


@dataclass(frozen=True, slots=True)
class Exponential:
    """`seconds_first`, then `factor` times more at each attempt, up to `seconds_max`."""

    seconds_first: float
    seconds_max: float
    factor: float = 2.0

    def seconds(self, attempt: int, draw: float) -> float:
        del draw
        # 64 doublings pass any maximum; the bound keeps the power from overflowing.
        return min(self.seconds_max, self.seconds_first * self.factor ** min(attempt - 1, 64))


@dataclass(frozen=True, slots=True)
class Jittered:
    """Another wait, shortened by a random part of it.

    Attributes:
        share: 0 leaves the wait as it is; 1 draws from all of [0, wait).
    """

    wait: Wait
    share: float

    def seconds(self, attempt: int, draw: float) -> float:
        return self.wait.seconds(attempt, draw) * (1.0 - self.share * draw)


@dataclass(frozen=True, slots=True)
class FirstWithin:
    """A random wait below `seconds_max` after the first failed attempt, then another wait."""

    seconds_max: float
    then: Wait

    def seconds(self, attempt: int, draw: float) -> float:
        return self.seconds_max * draw if attempt == 1 else self.then.seconds(attempt - 1, draw)


@dataclass(frozen=True, slots=True)
class FirstAtOnce:
    """No wait after the first failed attempt, then another wait."""

    then: Wait

    def seconds(self, attempt: int, draw: float) -> float:
        return 0.0 if attempt == 1 else self.then.seconds(attempt - 1, draw)


CALL_WAIT: Final[Wait] = FirstAtOnce(Jittered(Exponential(0.05, seconds_max=1.0), share=0.5))
"""Between the attempts of one call: the second endpoint is tried at once."""

STREAM_WAIT: Final[Wait] = FirstWithin(0.1, Jittered(Exponential(0.1, seconds_max=2.0), share=0.5))
"""Between the attempts to reopen a stream. At most 2 s, so that a returning registry is noticed
within that; the jitter spreads the clients of a node that died over time, and the first wait is
within the 0.3 s after which a registry node calls a session without a stream suspect."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time by which something must be done."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def at_most(self, seconds: float) -> Deadline:
        """Return this deadline, or the one `seconds` from now if that comes first."""
        return Deadline(min(self.at, time.monotonic() + seconds))

    def remaining(self) -> float:
        """Return the seconds left, never below 0."""
        return max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.at


def draw() -> float:
    """Return a random number in [0, 1) for a `Wait`. Spreading load needs no secrecy."""
    return random.random()  # noqa: S311
