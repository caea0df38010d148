"""The checker of histories: what it accepts and refuses, and that brute force agrees."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import replace

from cluster.histories import NEVER, Kind, Operation
from cluster.linearizability import Outcome, judge, judge_key
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st


def get(client: int, invoked: float, completed: float, value: str | None) -> Operation:
    return Operation(client, Kind.GET, "k", invoked, completed, value)


def put(client: int, invoked: float, completed: float, value: str) -> Operation:
    return Operation(client, Kind.PUT, "k", invoked, completed, value)


def swap(
    client: int,
    invoked: float,
    completed: float,
    expected: str | None,
    value: str,
    *,
    succeeded: bool = True,
) -> Operation:
    return Operation(client, Kind.SWAP, "k", invoked, completed, value, expected, succeeded)


def delete(client: int, invoked: float, completed: float, *, succeeded: bool = True) -> Operation:
    return Operation(client, Kind.DELETE, "k", invoked, completed, succeeded=succeeded)


def accepted(*history: Operation) -> bool:
    verdict = judge_key(history)
    assert verdict.outcome is not Outcome.UNDECIDED
    return verdict.outcome is Outcome.LINEARIZABLE


def test_a_read_beside_a_write_may_see_either() -> None:
    for seen in (None, "a"):
        assert accepted(put(1, 0, 10, "a"), get(2, 1, 2, seen))
    assert not accepted(put(1, 0, 10, "a"), get(2, 1, 2, "b"))


def test_a_read_after_a_write_sees_it() -> None:
    assert accepted(put(1, 0, 1, "a"), get(2, 2, 3, "a"))
    assert not accepted(put(1, 0, 1, "a"), get(2, 2, 3, None))
    assert not accepted(put(1, 0, 1, "a"), put(1, 2, 3, "b"), get(2, 4, 5, "a"))


def test_two_reads_see_a_write_in_one_order() -> None:
    write = put(1, 0, 10, "a")
    assert accepted(write, get(2, 1, 2, None), get(3, 3, 4, "a"))
    assert not accepted(write, get(2, 1, 2, "a"), get(3, 3, 4, None))


def test_a_lost_write_shows() -> None:
    assert not accepted(put(1, 0, 1, "a"), put(2, 2, 3, "b"), get(1, 4, 5, "a"))
    assert not accepted(put(1, 0, 1, "a"), delete(2, 2, 3, succeeded=False))


def test_only_one_of_two_swaps_from_one_value_can_win() -> None:
    first = put(1, 0, 1, "a")
    both = swap(1, 2, 9, "a", "b"), swap(2, 2, 9, "a", "c")
    assert not accepted(first, *both)
    assert accepted(first, both[0], replace(both[1], succeeded=False))
    assert not accepted(first, *(replace(one, succeeded=False) for one in both))


def test_a_swap_from_an_absent_key_creates_it_once() -> None:
    assert accepted(swap(1, 0, 1, None, "a"), swap(2, 2, 3, None, "b", succeeded=False))
    assert not accepted(swap(1, 0, 1, None, "a"), swap(2, 2, 3, None, "b"))
    assert accepted(swap(1, 0, 1, None, "a"), delete(1, 2, 3), swap(2, 4, 5, None, "b"))


def test_an_unknown_outcome_may_show_late_or_never_but_not_twice() -> None:
    unknown = put(1, 0, NEVER, "a")
    assert accepted(unknown, get(2, 50, 51, None), get(2, 60, 61, "a"))
    assert accepted(unknown, get(2, 50, 51, None))
    assert not accepted(unknown, get(2, 1, 2, "a"), get(2, 3, 4, None))
    again = put(2, 3, 4, "b")
    assert not accepted(unknown, get(2, 1, 2, "a"), again, get(2, 5, 6, "a"))
    assert not accepted(get(2, 1, 2, "a"), put(1, 3, NEVER, "a"))


def test_an_unknown_swap_or_deletion_has_its_own_effect_only() -> None:
    first = put(1, 0, 1, "a")
    assert accepted(first, swap(1, 2, NEVER, "a", "b"), get(2, 3, 4, "b"))
    assert not accepted(first, swap(1, 2, NEVER, "x", "b"), get(2, 3, 4, "b"))
    assert accepted(first, delete(1, 2, NEVER), get(2, 3, 4, None))
    assert not accepted(first, delete(1, 2, NEVER), get(2, 3, 4, None), get(2, 5, 6, "a"))


def test_a_write_of_what_is_there_already_may_be_needed_later() -> None:
    """Found by brute force: the second put of one value brings back what a deletion took away."""
    puts = [put(1, 0, 9, "a"), put(2, 0, 9, "a")]
    assert accepted(*puts, delete(3, 0, 9), delete(4, 0, 9))
    assert not accepted(*puts, delete(3, 0, 9), delete(4, 0, 9), delete(5, 0, 9))


def test_an_unknown_read_says_nothing() -> None:
    assert accepted(get(1, 0, NEVER, "never written"))


def test_the_evidence_names_the_operation_and_what_was_possible() -> None:
    stale = get(2, 2, 3, "old")
    verdict = judge([put(1, 0, 1, "a"), stale])
    assert verdict.evidence == stale
    assert verdict.values == ("a",)
    assert "violated" in str(verdict)


def test_keys_are_judged_each_by_itself() -> None:
    others = [replace(put(1, 0, 1, "b"), key="other"), replace(get(2, 2, 3, "b"), key="other")]
    fine = [put(1, 0, 1, "a"), *others, get(2, 2, 3, "a")]
    assert judge(fine).outcome is Outcome.LINEARIZABLE
    assert judge([*fine, get(2, 4, 5, "b")]).outcome is Outcome.VIOLATED


def test_the_search_has_a_bound() -> None:
    crowd = [put(n, n / 100, 100 + n, f"v{n}") for n in range(30)]
    crowd += [swap(50 + n, 1 + n / 100, 100 + n, f"x{n}", "y", succeeded=True) for n in range(12)]
    began = time.monotonic()
    verdict = judge_key(crowd, configurations_max=3_000)
    assert verdict.outcome is Outcome.UNDECIDED
    assert time.monotonic() - began < 30


def test_many_unknown_outcomes_are_no_trouble() -> None:
    history = []
    for turn in range(60):
        at = turn * 10.0
        history.append(put(100 + turn, at, NEVER, f"unknown {turn}"))
        history.append(put(1, at + 1, at + 2, f"value {turn}"))
        seen = f"unknown {turn}" if turn % 3 == 0 else f"value {turn}"
        history.append(get(2, at + 3, at + 4, seen))
        history.append(swap(3, at + 5, NEVER, seen, f"swapped {turn}"))
    assert accepted(*history)
    assert not accepted(*history, get(2, 10_000, 10_001, "value 3"))


# A register that does one thing at a time, called by several clients.

SLOW = [HealthCheck.too_slow]
VALUES = st.sampled_from("abc")
CALLS = st.one_of(
    st.tuples(st.just(Kind.GET), st.none(), st.none()),
    st.tuples(st.just(Kind.PUT), VALUES, st.none()),
    st.tuples(st.just(Kind.SWAP), VALUES, st.none() | VALUES),
    st.tuples(st.just(Kind.DELETE), st.none(), st.none()),
)


@st.composite
def simulated(draw: st.DrawFn, calls_max: int = 25, unique: bool = False) -> list[Operation]:
    """Draw a history of a correct register: calls overlap, and some answers are lost."""
    held: str | None = None
    busy_until: dict[int, float] = {}
    history: list[Operation] = []
    for turn in range(draw(st.integers(1, calls_max))):
        client = draw(st.integers(0, 3))
        kind, value, expected = draw(CALLS)
        if unique and value is not None:
            value = f"v{turn}"
        if unique and expected is not None:
            expected = held
        moment = float(turn * 10)
        invoked = max(moment - draw(st.integers(0, 35)), busy_until.get(client, -1.0))
        if invoked > moment:
            continue
        completed = moment + draw(st.integers(0, 35))
        busy_until[client] = completed + 0.5
        call = Operation(client, kind, "k", invoked, completed, value, expected)
        call, held = register(call, held, draw(st.booleans()))
        if draw(st.integers(0, 7)) == 0:
            call = replace(call, completed=NEVER)
        history.append(call)
    return history


def register(call: Operation, held: str | None, lost: bool = False) -> tuple[Operation, str | None]:
    """Return the call with its answer, and what is held afterwards."""
    match call.kind:
        case Kind.GET:
            return replace(call, value=held), held
        case Kind.PUT:
            return call, call.value
        case Kind.SWAP:
            succeeded = held == call.expected
            return replace(call, succeeded=succeeded), call.value if succeeded else held
        case Kind.DELETE:
            return replace(call, succeeded=held is not None), None


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(simulated())
def test_a_correct_register_is_always_accepted(history: list[Operation]) -> None:
    assert accepted(*history)


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW)
@given(simulated(unique=True), st.data())
def test_a_stale_read_is_refused(history: list[Operation], data: st.DataObject) -> None:
    """With unique values, a value that was overwritten before the read began is never read."""
    writes = [one for one in history if one.kind is Kind.PUT and one.is_known]
    assume(len(writes) >= 2)
    end = max(one.completed for one in history if one.is_known) + 10
    last = put(9, end, end + 1, "last")
    stale = get(9, end + 2, end + 3, data.draw(st.sampled_from(writes)).value)
    assert accepted(*history, last)
    assert not accepted(*history, last, replace(stale, invoked=end + 2))


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW)
@given(simulated(unique=True))
def test_a_lost_write_is_refused(history: list[Operation]) -> None:
    """A write that was acknowledged and that no later read finds, with none in between."""
    end = max((one.completed for one in history if one.is_known), default=0.0) + 10
    before, lost = put(8, end, end + 1, "before"), put(9, end + 2, end + 3, "lost")
    assert accepted(*history, before, lost)
    assert not accepted(*history, before, lost, get(8, end + 4, end + 5, "before"))


@settings(max_examples=80, deadline=None, suppress_health_check=SLOW)
@given(simulated(unique=True), st.booleans())
def test_a_double_swap_is_refused(history: list[Operation], overlapping: bool) -> None:
    end = max((one.completed for one in history if one.is_known), default=0.0) + 10
    base = put(8, end, end + 1, "base")
    one = swap(8, end + 2, end + 3, "base", "first")
    two = swap(9, end + 2 if overlapping else end + 4, end + 6, "base", "second")
    assert accepted(*history, base, one)
    assert not accepted(*history, base, one, two)


# Against brute force.


@st.composite
def arbitrary(draw: st.DrawFn) -> list[Operation]:
    """Draw a few calls with any answers at all."""
    history = []
    for client in range(draw(st.integers(1, 5))):
        kind, value, expected = draw(CALLS)
        if kind is Kind.GET:
            value = draw(st.none() | VALUES)
        invoked = draw(st.integers(0, 12))
        completed = draw(st.just(NEVER) | st.integers(invoked, invoked + 8).map(float))
        succeeded = draw(st.booleans()) if kind in (Kind.SWAP, Kind.DELETE) else True
        history.append(
            Operation(client, kind, "k", float(invoked), completed, value, expected, succeeded)
        )
    return history


def explained(history: Sequence[Operation]) -> bool:
    """Try every order of every choice of the operations with unknown outcomes."""
    known = [one for one in history if one.is_known]
    unknown = [one for one in history if not one.is_known and one.kind is not Kind.GET]
    return any(
        in_time(order) and told(order)
        for size in range(len(unknown) + 1)
        for chosen in itertools.combinations(unknown, size)
        for order in itertools.permutations([*known, *chosen])
    )


def in_time(order: Sequence[Operation]) -> bool:
    return all(
        later.completed >= earlier.invoked
        for position, earlier in enumerate(order)
        for later in order[position + 1 :]
    )


def told(order: Sequence[Operation]) -> bool:
    held: str | None = None
    for call in order:
        answered, held = register(call, held)
        if call.is_known and answered != call:
            return False
    return True


@settings(max_examples=400, deadline=None, suppress_health_check=SLOW)
@given(arbitrary())
def test_it_agrees_with_brute_force(history: list[Operation]) -> None:
    assert accepted(*history) == explained(history)


def test_operations_survive_their_files() -> None:
    for one in (put(1, 0.25, NEVER, "a"), swap(2, 1, 2, None, "b", succeeded=False)):
        assert Operation.of(json.loads(json.dumps(one.record()))) == one
