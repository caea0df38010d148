"""The session's state machine: every state against every event, and what it does over time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu._retry import STREAM_WAIT, Exponential
from tianlu._session import Action, Event, ImpossibleEvent, Session, State

POSSIBLE = {
    State.IDLE: {Event.NEEDED, Event.CLOSE},
    State.OPENING: {Event.NEEDED, Event.OPENED, Event.OPEN_FAILED, Event.CLOSE},
    State.CONNECTING: {
        Event.NEEDED,
        Event.STREAM_UP,
        Event.STREAM_BROKEN,
        Event.LOST,
        Event.CLOSE,
    },
    State.HELD: {Event.NEEDED, Event.STREAM_BROKEN, Event.LOST, Event.CLOSE},
    State.CLOSED: {Event.CLOSE},
}

WAY = {
    State.IDLE: [],
    State.OPENING: [Event.NEEDED],
    State.CONNECTING: [Event.NEEDED, Event.OPENED],
    State.HELD: [Event.NEEDED, Event.OPENED, Event.STREAM_UP],
    State.CLOSED: [Event.CLOSE],
}


def feed(session: Session, event: Event):
    return session.opened(7, 10) if event is Event.OPENED else session.handle(event)


def in_state(state: State) -> Session:
    session = Session()
    for event in WAY[state]:
        feed(session, event)
    assert session.state is state
    return session


@pytest.mark.parametrize("event", list(Event))
@pytest.mark.parametrize("state", list(State))
def test_every_state_takes_its_events_and_no_others(state: State, event: Event):
    session = in_state(state)
    if event in POSSIBLE[state]:
        feed(session, event)
    else:
        with pytest.raises(ImpossibleEvent):
            feed(session, event)
        assert session.state is state


@given(st.data())
def test_any_life_holds_what_it_promises(data: st.DataObject):
    session = Session()
    for _ in range(data.draw(st.integers(0, 40))):
        event = data.draw(st.sampled_from(sorted(POSSIBLE[session.state])))
        before = session.state
        step = feed(session, event)
        if session.state in (State.CONNECTING, State.HELD):
            assert session.session_id == 7
        if session.state is State.OPENING:
            assert session.session_id == 0
        if session.state is State.OPENING and before is not State.OPENING:
            assert step.actions == (Action.OPEN,)
        if session.state is State.HELD and before is State.CONNECTING:
            assert step.actions == (Action.REGISTER_ALL,)
        if session.state is State.CLOSED and before in (State.CONNECTING, State.HELD):
            assert step.actions == (Action.END,)
        if step.wait_seconds:
            assert event in (Event.OPEN_FAILED, Event.STREAM_BROKEN)


def test_broken_stream_is_reopened_at_once_and_then_ever_later():
    session = in_state(State.HELD)
    waits = [session.handle(Event.STREAM_BROKEN, draw=0.0).wait_seconds for _ in range(8)]
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    session.handle(Event.STREAM_UP)
    assert session.handle(Event.STREAM_BROKEN).wait_seconds == 0.0


def test_a_registry_that_is_away_for_long_does_not_end_the_session():
    session = in_state(State.HELD)
    for _ in range(10_000):
        step = session.handle(Event.STREAM_BROKEN, draw=0.5)
        assert step.actions == (Action.CONNECT,)
        assert step.wait_seconds <= STREAM_WAIT.seconds(100, 0.0)
    assert session.session_id == 7


def test_lost_session_is_replaced_and_everything_registered_again():
    session = Session(Exponential(3.0, seconds_max=3.0))
    session.handle(Event.NEEDED)
    session.opened(7, 9)
    session.handle(Event.STREAM_UP)
    assert session.renew_seconds == 3.0
    assert session.handle(Event.LOST).actions == (Action.OPEN,)
    assert session.session_id == 0
    session.opened(8, 9)
    assert session.handle(Event.STREAM_UP).actions == (Action.REGISTER_ALL,)
    assert session.handle(Event.CLOSE).actions == (Action.END,)
    assert session.session_id == 8
