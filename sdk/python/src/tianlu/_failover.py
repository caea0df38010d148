"""Which of several endpoints to use. Pure: times and dice are arguments.

One endpoint is in use until it fails; then another one is. The rules:

1. The first endpoint named is used first, and for as long as it serves.
2. An endpoint that failed rests, for longer each time that it fails again. Those that do not rest
   are preferred, so a dead node is not asked again by every later failover.
3. Among several the dice choose: when a node dies, its clients spread over the others, instead of
   all falling on the next one of the same list.
4. If all rest, the one whose rest ends soonest is used: somebody always is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tianlu._endpoint import Endpoint
from tianlu._retry import Exponential

REST: Final = Exponential(1.0, seconds_max=15.0)
"""After the first failure in a row, the second, …: a node restarts within a second or two."""


@dataclass(frozen=True, slots=True)
class _Rest:
    """Failures in a row, and the monotonic time at which the rest is over."""

    failures: int
    until: float


class EndpointChoice:
    """The endpoints of one client, one of them in use.

    Args:
        endpoints: at least one, without repetitions; the first is used first. These stay for good.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._given = tuple(endpoints)
        self._learnt: tuple[Endpoint, ...] = ()
        self._current = self._given[0]
        self._rests: dict[Endpoint, _Rest] = {}

    @property
    def current(self) -> Endpoint:
        """The endpoint in use, or to be tried next."""
        return self._current

    @property
    def all(self) -> tuple[Endpoint, ...]:
        """Every endpoint, those that were given first."""
        return self._given + self._learnt

    def learn(self, endpoints: Iterable[Endpoint]) -> None:
        """Take these besides those given, instead of what was learnt before.

        One that is in use is kept until it fails.
        """
        fresh = dict.fromkeys(one for one in endpoints if one not in self._given)
        if self._current not in self._given:
            fresh.setdefault(self._current)
        self._learnt = tuple(fresh)
        self._rests = {one: rest for one, rest in self._rests.items() if one in self.all}

    def served(self, endpoint: Endpoint) -> None:
        """Note that an endpoint answered."""
        if self._rests:
            self._rests.pop(endpoint, None)

    def failed(self, endpoint: Endpoint, now: float, draw: float) -> None:
        """Note that an endpoint failed; another is used if it was in use and there is one.

        Many calls that fail together are one failure: while it rests nothing is added.

        Args:
            draw: a random number in [0, 1).
        """
        rest = self._rests.get(endpoint, _Rest(0, now))
        if now >= rest.until:
            failures = rest.failures + 1
            self._rests[endpoint] = _Rest(failures, now + REST.seconds(failures, 0.0))
        if endpoint == self._current:
            self._current = self._other_than(endpoint, now, draw)

    def _other_than(self, endpoint: Endpoint, now: float, draw: float) -> Endpoint:
        others = [one for one in self.all if one != endpoint]
        if not others:
            return endpoint
        ready = [one for one in others if one not in self._rests or now >= self._rests[one].until]
        if ready:
            return ready[int(draw * len(ready))]
        return min(others, key=lambda one: self._rests[one].until)
