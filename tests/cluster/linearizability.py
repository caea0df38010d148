"""Whether the history of a key could be that of one register doing one thing at a time.

An operation takes effect at one moment between its invocation and its completion. One whose outcome
is unknown takes effect at any moment after its invocation, or never. The history is linearizable if
moments exist such that a register with put, get, compare-and-swap and delete would have given every
answer that was given.

**The search.** Invocations and completions are met in the order of time. A *configuration* is one
way in which it can have gone so far: the register's value, and which of the open operations have
taken effect. An invocation opens an operation. A completion keeps those configurations in which the
operation has taken effect, after every other open operation has been given the chance to do so
first. When no configuration is left, the history is not linearizable, and the completion at which
that happened is the evidence. Three rules keep the set small without losing any answer:

1. Nothing takes effect before a completion asks for it (it could as well have waited).
2. An open operation that only looks (a get, a refused swap or deletion) and whose answer fits now
   takes effect now: it is in nobody's way.
3. Of two configurations with the same value and the same known operations done, the one that has
   used fewer of the unknown ones can do all that the other can.

The search is exponential in the worst case, as the problem is; so it has a bound, and says
`UNDECIDED` at it.

Source: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993); Lowe, "Testing for
Linearizability" (2017), for the configurations remembered.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cluster.histories import Kind, Operation, by_key

CONFIGURATIONS_MAX = 2_000_000
"""Configurations looked at for one key, about ten seconds."""


class Outcome(enum.Enum):
    LINEARIZABLE = "linearizable"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about one key, or all.

    Attributes:
        evidence: the operation that no order explains.
        values: what the key can have held just before its completion.
        configurations: how many were looked at.
    """

    outcome: Outcome
    configurations: int
    evidence: Operation | None = None
    values: tuple[str | None, ...] = ()

    def __str__(self) -> str:
        if self.evidence is None:
            return self.outcome.value
        return f"{self.outcome.value} by {self.evidence}; the key can have held {self.values}"


@dataclass(frozen=True, slots=True)
class _Configuration:
    """One way in which it can have gone.

    Attributes:
        value: the register's.
        done: open operations with a known outcome that have taken effect.
        used: operations with an unknown outcome that have taken effect.
    """

    value: str | None
    done: frozenset[int] = frozenset()
    used: frozenset[int] = frozenset()


def judge(operations: Iterable[Operation]) -> Verdict:
    """Judge a history of any number of keys, each by itself; a violation is worse than no decision.

    Linearizability is local: all keys together are linearizable exactly if each one is.
    """
    undecided: Verdict | None = None
    looked_at = 0
    for history in by_key(operations).values():
        verdict = judge_key(history)
        looked_at += verdict.configurations
        if verdict.outcome is Outcome.VIOLATED:
            return verdict
        if verdict.outcome is Outcome.UNDECIDED:
            undecided = verdict
    return undecided or Verdict(Outcome.LINEARIZABLE, looked_at)


def judge_key(
    history: Sequence[Operation],
    initial: str | None = None,
    configurations_max: int = CONFIGURATIONS_MAX,
) -> Verdict:
    """Judge the history of one key that held `initial` before it."""
    search = _Search(history, configurations_max)
    possible = {_Configuration(initial)}
    for number, completes in _moments(history):
        if not completes:
            search.open(number)
            continue
        before = possible
        possible = search.complete(number, possible)
        if search.looked_at > configurations_max:
            return Verdict(Outcome.UNDECIDED, search.looked_at, history[number])
        if not possible:
            values = tuple({configuration.value for configuration in before})
            return Verdict(Outcome.VIOLATED, search.looked_at, history[number], values)
    return Verdict(Outcome.LINEARIZABLE, search.looked_at)


def _moments(history: Sequence[Operation]) -> list[tuple[int, bool]]:
    """Return (operation, whether it completes) in the order of time.

    Of two at the same moment the invocation comes first: they may have overlapped.
    """
    moments = [(operation.invoked, False, n) for n, operation in enumerate(history)]
    moments += [
        (operation.completed, True, n) for n, operation in enumerate(history) if operation.is_known
    ]
    return [(number, completes) for _, completes, number in sorted(moments)]


@dataclass
class _Search:
    """The open operations, and the configurations that they allow."""

    history: Sequence[Operation]
    configurations_max: int
    known: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    looked_at: int = 0

    def open(self, number: int) -> None:
        operation = self.history[number]
        if operation.is_known:
            self.known.add(number)
        elif operation.kind is not Kind.GET:  # nobody was told what it found
            self.unknown.add(number)

    def complete(self, number: int, possible: set[_Configuration]) -> set[_Configuration]:
        """Return the configurations in which an operation has taken effect, and close it."""
        kept = _Frontier()
        seen = _Frontier()
        # Those that used fewer unknown operations first, so that rule 3 drops the others at sight.
        waiting: list[list[_Configuration]] = [[]]
        for configuration in possible:
            _put(waiting, self._observe(configuration))
        level = 0
        while level < len(waiting):
            while waiting[level] and self.looked_at <= self.configurations_max:
                configuration = waiting[level].pop()
                if not seen.add(configuration):
                    continue
                self.looked_at += 1
                if number in configuration.done:
                    kept.add(_without(configuration, number))
                    continue
                for following in self._steps(configuration):
                    _put(waiting, following)
            level += 1
        self.known.discard(number)
        return kept.all()

    def _steps(self, configuration: _Configuration) -> Iterable[_Configuration]:
        """Yield what one more open operation makes of a configuration."""
        value, done, used = configuration.value, configuration.done, configuration.used
        for number in self.known - done:
            fits, after = _effect(self.history[number], value)
            if fits:
                yield self._observe(_Configuration(after, done | {number}, used))
        for number in self.unknown - used:
            after = _unknown_effect(self.history[number], value)
            if after != value:
                yield self._observe(_Configuration(after, done, used | {number}))

    def _observe(self, configuration: _Configuration) -> _Configuration:
        """Let those take effect that only look and whose answer fits (rule 2).

        A put of the value that is there already does not count: it may be needed later.
        """
        value = configuration.value
        fitting = {
            number
            for number in self.known - configuration.done
            if not self.history[number].writes() and _effect(self.history[number], value)[0]
        }
        if not fitting:
            return configuration
        return _Configuration(value, configuration.done | fitting, configuration.used)


def _put(waiting: list[list[_Configuration]], configuration: _Configuration) -> None:
    level = len(configuration.used)
    while len(waiting) <= level:
        waiting.append([])
    waiting[level].append(configuration)


def _without(configuration: _Configuration, number: int) -> _Configuration:
    return _Configuration(configuration.value, configuration.done - {number}, configuration.used)


class _Frontier:
    """Configurations of which none can do all that another one can (rule 3)."""

    def __init__(self) -> None:
        self._used: dict[tuple[str | None, frozenset[int]], list[frozenset[int]]] = {}

    def add(self, configuration: _Configuration) -> bool:
        """Add one unless it is no better than one that is there; return whether it was added."""
        smallest = self._used.setdefault((configuration.value, configuration.done), [])
        if any(used <= configuration.used for used in smallest):
            return False
        smallest[:] = [used for used in smallest if not configuration.used < used]
        smallest.append(configuration.used)
        return True

    def all(self) -> set[_Configuration]:
        return {
            _Configuration(value, done, used)
            for (value, done), smallest in self._used.items()
            for used in smallest
        }


def _effect(operation: Operation, value: str | None) -> tuple[bool, str | None]:
    """Return whether an answer fits a register that holds `value`, and what it then holds."""
    match operation.kind:
        case Kind.GET:
            return value == operation.value, value
        case Kind.PUT:
            return True, operation.value
        case Kind.SWAP:
            fits = (value == operation.expected) == operation.succeeded
            return fits, operation.value if operation.succeeded else value
        case Kind.DELETE:
            return (value is not None) == operation.succeeded, None


def _unknown_effect(operation: Operation, value: str | None) -> str | None:
    """Return what a register holds after an operation of which no answer is known."""
    match operation.kind:
        case Kind.PUT:
            return operation.value
        case Kind.SWAP:
            return operation.value if value == operation.expected else value
        case Kind.DELETE:
            return None
        case Kind.GET:
            return value
