"""Choosing an instance: smooth weighted round robin, or the less loaded of two.

*Eligible* instances may be sent traffic (UP, not isolated, weight above 0). Of these the suspect
ones are left out, unless fewer than PANIC_SHARE of the eligible would remain: then the suspicion is
more likely about the registry's side of the network than about the instances, and all are used.
Source: Envoy, "Panic threshold" (default 50 %).

Round robin: each pick adds to every instance its weight, takes the one with the most, and subtracts
the sum of the weights from it; over a full round every instance is picked in proportion, spread
evenly. Source: nginx, ngx_http_upstream_round_robin.c (smooth weighted balancing).

Least request: draw two by weight, take the one with fewer requests under way per weight.
Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (1996).

Deterministic given the random source; no I/O, no clock. `Balancer` may be used from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Final

from tianlu._model import Instance, LoadBalancer
from tianlu._view import ServiceView

PANIC_SHARE: Final = 0.5


def candidates(instances: Sequence[Instance]) -> list[Instance]:
    """Return the instances to choose among, by the rule at the head of this module."""
    eligible = [instance for instance in instances if instance.eligible]
    serving = [instance for instance in eligible if not instance.suspect]
    return serving if len(serving) >= PANIC_SHARE * len(eligible) else eligible


class Balancer:
    """The choosing state of one service: round-robin credits and requests under way.

    Args:
        draw: returns a random number in [0, 1).
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._lock = threading.Lock()
        self._view: ServiceView | None = None
        self._choices: list[Instance] = []
        self._credits: dict[str, int] = {}
        self._active: dict[str, int] = {}

    def pick(self, view: ServiceView, exclude: Collection[str] = ()) -> Instance | None:
        """Choose an instance of `view`; None if there is none.

        Args:
            exclude: ids to leave out while anything else is left.
        """
        with self._lock:
            if view is not self._view:
                self._take(view)
            choices = self._choices
            if exclude:
                choices = [one for one in choices if one.id not in exclude] or choices
            if len(choices) < 2:
                return choices[0] if choices else None
            if view.service.load_balancer is LoadBalancer.ROUND_ROBIN:
                return self._next_in_round(choices)
            return self._less_loaded(choices)

    def begin(self, instance_id: str) -> None:
        """Count a request to an instance as under way. Each needs one `end`."""
        with self._lock:
            self._active[instance_id] = self._active.get(instance_id, 0) + 1

    def end(self, instance_id: str) -> None:
        """Count a request as done."""
        with self._lock:
            left = self._active.get(instance_id, 0) - 1
            if left > 0:
                self._active[instance_id] = left
            else:
                self._active.pop(instance_id, None)

    def _take(self, view: ServiceView) -> None:
        """Move to a newer view; credits of instances that stay are kept, so the round goes on."""
        self._view = view
        self._choices = candidates(view.instances)
        self._credits = {one.id: self._credits.get(one.id, 0) for one in self._choices}

    def _next_in_round(self, choices: list[Instance]) -> Instance:
        for one in choices:
            self._credits[one.id] += one.weight
        best = max(choices, key=lambda one: self._credits[one.id])
        self._credits[best.id] -= sum(one.weight for one in choices)
        return best

    def _less_loaded(self, choices: list[Instance]) -> Instance:
        first = _by_weight(choices, self._draw())
        second = _by_weight([one for one in choices if one is not first], self._draw())
        return min(first, second, key=lambda one: self._active.get(one.id, 0) / one.weight)


def _by_weight(choices: Sequence[Instance], share: float) -> Instance:
    """Return the instance at `share` (0 to below 1) of the total weight."""
    point = share * sum(one.weight for one in choices)
    for one in choices:
        point -= one.weight
        if point < 0:
            return one
    return choices[-1]
