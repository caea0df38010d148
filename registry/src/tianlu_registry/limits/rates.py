"""A rate of requests for each client, with a burst: the token bucket, kept as one number.

A client's bucket holds `burst` tokens and gains `rate` of them a second; each request takes one.
Instead of tokens and the time when they were counted, one point in time is kept for each client:
when its bucket will be full again. A request moves it on by 1/rate; it may not lie further ahead
than burst/rate. A client whose bucket is full has nothing to be remembered, so:

- forgetting a client whose time has passed changes nothing; forgetting another gives it
  a new burst;
- the table is bounded. When it is full, the client that has asked least recently is forgotten: one
  with a full bucket, unless more than `clients_max` of them ask within burst/rate seconds.

Source: ITU-T I.371, "virtual scheduling algorithm" (GCRA).
"""

from __future__ import annotations

from collections import OrderedDict

from tianlu_registry.errors import InvalidArgument


class Rates:
    """The rates of many clients.

    Args:
        per_second: requests a client may make for ever, more than 0.
        burst: requests it may make at once after a pause, at least 1.
        clients_max: clients remembered.

    Raises:
        InvalidArgument: one of them cannot be.
    """

    def __init__(self, per_second: float, burst: int, clients_max: int = 10_000) -> None:
        if per_second <= 0:
            raise InvalidArgument("per_second", f"is {per_second}, it must be more than 0")
        if burst < 1:
            raise InvalidArgument("burst", f"is {burst}, it must be at least 1")
        if clients_max < 1:
            raise InvalidArgument("clients_max", f"is {clients_max}, it must be at least 1")
        self._interval = 1.0 / per_second
        self._ahead_max = burst * self._interval
        self._clients_max = clients_max
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._full_at)

    def admit(self, client: str, now: float) -> float:
        """Let a client make a request, or not.

        Args:
            now: seconds on a clock that never goes back.

        Returns:
            0 if it may; else the seconds after which it may, and the request has taken nothing.
        """
        full_at = max(self._full_at.get(client, now), now) + self._interval
        wait = full_at - self._ahead_max - now
        # A rounding error must not make a client wait for a nanosecond.
        if wait > self._interval * 1e-6:
            return wait
        self._remember(client, full_at)
        return 0.0

    def reserve(self, client: str, now: float) -> float:
        """Take a request that is already there from the client's tokens, even from future ones.

        Returns:
            The seconds by which what it asks is to be put off; 0 for not at all. They bound what a
            client can be ahead of its rate only if nothing more is read of it meanwhile.
        """
        full_at = max(self._full_at.get(client, now), now) + self._interval
        self._remember(client, full_at)
        return max(0.0, full_at - self._ahead_max - now)

    def _remember(self, client: str, full_at: float) -> None:
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._clients_max:
            self._full_at.popitem(last=False)
