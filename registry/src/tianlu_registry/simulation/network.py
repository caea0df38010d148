"""A network that loses, repeats, delays and reorders messages, and cuts one direction or both."""

from __future__ import annotations

import random
from collections.abc import Callable

from tianlu_registry.raft import ForwardedProposal, MemberId, Message
from tianlu_registry.simulation.clock import Clock


class Network:
    """Carries messages.

    A forwarded proposal may be lost, but is never repeated: it would be a second write. A transport
    sends one at most once, on a connection that repeats nothing.

    Args:
        deliver: takes one that has arrived.

    Attributes:
        loss, duplication, delay_units_max: see `plan.Plan`; they may be changed at any time.
        cut: directions in which nothing passes, as pairs of sender and receiver.
    """

    def __init__(
        self, clock: Clock, chance: random.Random, deliver: Callable[[Message], None]
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._deliver = deliver
        self.loss = 0.0
        self.duplication = 0.0
        self.delay_units_max = 1
        self.cut: set[tuple[MemberId, MemberId]] = set()

    def passes(self, sender: MemberId, receiver: MemberId) -> bool:
        return (sender, receiver) not in self.cut

    def send(self, message: Message) -> None:
        chance = self._chance
        if not self.passes(message.sender, message.to) or chance.random() < self.loss:
            return
        repeated = chance.random() < self.duplication
        copies = 2 if repeated and not isinstance(message, ForwardedProposal) else 1
        for _ in range(copies):
            delay = chance.randint(1, self.delay_units_max)
            self._clock.after(delay, lambda: self._deliver(message))

    def call(
        self,
        sender: MemberId,
        receiver: MemberId,
        action: Callable[[], None],
    ) -> None:
        """Carry a request or an answer that is no raft message. It may be lost."""
        if self.passes(sender, receiver) and self._chance.random() >= self.loss:
            self._clock.after(self._chance.randint(1, self.delay_units_max), action)

    def partition(self, members: list[MemberId], chance: random.Random) -> None:
        """Cut some directions: a group from the rest, both ways or one, or single links."""
        kind = chance.choice(["split", "out", "in", "links"])
        if kind == "links":
            for _ in range(chance.randint(1, len(members))):
                self.cut.add((chance.choice(members), chance.choice(members)))
            return
        group = set(chance.sample(members, chance.randint(1, max(1, len(members) // 2))))
        for one in group:
            for other in set(members) - group:
                if kind in ("split", "out"):
                    self.cut.add((one, other))
                if kind in ("split", "in"):
                    self.cut.add((other, one))
