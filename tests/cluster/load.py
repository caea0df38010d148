"""Clients that put, get, swap and delete a few keys at once, and write down what they were told."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cluster.client import Answer, CallFailed, Client, Found
from cluster.histories import History, Kind, Operation, now

OPERATIONS_OF_A_KEY_MAX = 150
UNKNOWN_OF_A_KEY_MAX = 12
"""A key is left for a fresh one before judging it becomes laborious."""

KEYS_AT_ONCE = 3
_KINDS = [Kind.GET] * 4 + [Kind.PUT] * 3 + [Kind.SWAP] * 4 + [Kind.DELETE]


@dataclass
class Keys:
    """The keys in use: a few at once, each replaced when it has been used enough."""

    prefix: str
    _used: dict[str, list[int]] = field(default_factory=dict)
    _made: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def choose(self, draw: random.Random) -> str:
        with self._lock:
            while len(self._used) < KEYS_AT_ONCE:
                self._made += 1
                self._used[f"{self.prefix}{self._made:05}"] = [0, 0]
            return draw.choice(list(self._used))

    def note(self, operation: Operation) -> None:
        with self._lock:
            counts = self._used.get(operation.key)
            if counts is None:
                return
            counts[0] += 1
            counts[1] += not operation.is_known and operation.kind is not Kind.GET
            if counts[0] >= OPERATIONS_OF_A_KEY_MAX or counts[1] >= UNKNOWN_OF_A_KEY_MAX:
                del self._used[operation.key]


class Worker(threading.Thread):
    """One client: one call after the other, at a pace, on one connection for each member.

    Args:
        number: of the client.
        pause_seconds: mean time between two calls.
    """

    def __init__(
        self,
        number: int,
        addresses: Sequence[str],
        keys: Keys,
        history: History,
        draw: random.Random,
        pause_seconds: float = 0.02,
        timeout_seconds: float = 3.0,
    ) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.answered = 0
        self.failures: Counter[str] = Counter()
        self._clients = [Client(address, timeout_seconds) for address in addresses]
        self._home = number % len(self._clients)
        self._keys = keys
        self._history = history
        self._draw = draw
        self._pause_seconds = pause_seconds
        self._calls = 0
        self._found: dict[str, Found | None] = {}
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(self._draw.uniform(0, 2 * self._pause_seconds)):
            operation = self._call(self._plan())
            if operation is not None:
                self._history.add(operation)
                self._keys.note(operation)

    def stop(self) -> None:
        self.stopped.set()
        self.join(20)
        for client in self._clients:
            client.close()

    def _plan(self) -> Operation:
        self._calls += 1
        kind = self._draw.choice(_KINDS)
        key = self._keys.choose(self._draw)
        if kind is Kind.SWAP and key not in self._found:
            kind = Kind.GET  # nothing to compare with yet
        value = f"{self.number}.{self._calls}" if kind in (Kind.PUT, Kind.SWAP) else None
        expected = self._found.get(key) if kind is Kind.SWAP else None
        return Operation(
            self.number, kind, key, now(), value=value, expected=expected and expected.value
        )

    def _call(self, plan: Operation) -> Operation | None:
        """Make a call; return it with its outcome, or None when it certainly had no effect."""
        client = self._clients[self._home]
        try:
            answer = self._ask(client, plan)
        except CallFailed as error:
            self.failures[f"{error.code.name}: {error.text[:60]}"] += 1
            self._home = self._draw.randrange(len(self._clients))
            self._found.pop(plan.key, None)
            return None if error.certain or plan.kind is Kind.GET else plan
        self.answered += 1
        self._learn(plan, answer)
        if self._draw.random() < 0.02:
            self._home = self._draw.randrange(len(self._clients))
        done = replace(plan, completed=now(), succeeded=answer.succeeded, revision=answer.revision)
        if plan.kind is not Kind.GET:
            return done
        found = answer.found
        return replace(
            done,
            value=found.value if found else None,
            mod_revision=found.mod_revision if found else 0,
        )

    def _ask(self, client: Client, plan: Operation) -> Answer:
        match plan.kind:
            case Kind.GET:
                return client.get(plan.key)
            case Kind.PUT:
                return client.put(plan.key, str(plan.value))
            case Kind.DELETE:
                return client.delete(plan.key)
            case Kind.SWAP:
                found = self._found[plan.key]
                if found is not None and self._draw.random() < 0.5:
                    return client.compare_value_and_swap(plan.key, found.value, str(plan.value))
                return client.compare_and_swap(plan.key, found, str(plan.value))

    def _learn(self, plan: Operation, answer: Answer) -> None:
        """Remember what the key holds, for the next swap."""
        match plan.kind:
            case Kind.PUT:
                self._found[plan.key] = Found(str(plan.value), 0, answer.revision)
            case Kind.SWAP if answer.succeeded:
                self._found[plan.key] = Found(str(plan.value), 0, answer.revision)
            case Kind.DELETE:
                self._found[plan.key] = None
            case _:
                self._found[plan.key] = answer.found
