"""When a part that died is started again."""

from hypothesis import given
from hypothesis import strategies as st

from tianlu_standalone.restart import (
    DELAY_SECONDS_MAX,
    FIRST_DELAY_SECONDS,
    STEADY_SECONDS,
    RestartState,
)


def test_delay_doubles_while_a_part_keeps_dying() -> None:
    state, delays = RestartState(), []
    for _ in range(4):
        state, delay = state.after_death(0.1)
        delays.append(delay)
    assert delays == [FIRST_DELAY_SECONDS * factor for factor in (1, 2, 4, 8)]


def test_a_steady_run_makes_the_next_restart_quick_again() -> None:
    state = RestartState(deaths=9)
    state, delay = state.after_death(STEADY_SECONDS)
    assert (state.deaths, delay) == (1, FIRST_DELAY_SECONDS)


@given(st.integers(0, 10**9), st.floats(0, 1e9))
def test_delay_is_always_within_its_bounds(deaths: int, ran_seconds: float) -> None:
    _, delay = RestartState(deaths).after_death(ran_seconds)
    assert FIRST_DELAY_SECONDS <= delay <= DELAY_SECONDS_MAX
