"""Which endpoint is used next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tianlu._endpoint import Endpoint
from tianlu._failover import REST, EndpointChoice

A, B, C, D = (Endpoint(f"{name}:1") for name in "abcd")


def test_the_first_is_used_until_it_fails():
    choice = EndpointChoice((A, B, C))
    choice.failed(B, 0.0, 0.0)  # not in use: a stream of before
    assert choice.current == A
    choice.failed(A, 0.1, 0.0)
    assert choice.current == C  # B rests


def test_a_dead_node_is_not_asked_again_by_the_next_failover():
    choice = EndpointChoice((A, B, C))
    choice.failed(A, 0.0, 0.0)
    assert choice.current == B
    choice.failed(B, 0.5, 0.0)
    assert choice.current == C
    choice.failed(C, 0.6, 0.0)
    assert choice.current == A  # all rest: the one whose rest ends soonest


def test_who_rested_long_enough_is_as_good_as_any():
    choice = EndpointChoice((A, B, C))
    choice.failed(A, 0.0, 0.0)
    choice.failed(B, REST.seconds(1, 0), 0.0)
    assert choice.current == A


def test_calls_that_fail_together_are_one_failure():
    choice = EndpointChoice((A, B))
    for _ in range(100):
        choice.failed(A, 0.0, 0.0)
    choice.failed(B, REST.seconds(1, 0), 0.0)
    assert choice.current == A
    choice.failed(A, REST.seconds(1, 0), 0.0)  # the second in a row: it rests longer than B
    choice.failed(B, 2.1, 0.0)
    choice.failed(A, 2.2, 0.0)
    assert choice.current == B


def test_an_answer_ends_the_row():
    choice = EndpointChoice((A, B, C))
    for now in (0.0, 10.0, 20.0):
        choice.failed(A, now, 0.0)
    choice.served(A)
    choice.failed(choice.current, 20.1, 0.0)
    assert choice.current == A


def test_the_dice_spread_the_clients_of_a_dead_node():
    taken = []
    for dice in (0.0, 0.4, 0.7, 0.999):
        choice = EndpointChoice((A, B, C, D))
        choice.failed(A, 0.0, dice)
        taken.append(choice.current)
    assert taken == [B, C, D, D]


def test_one_endpoint_is_used_whatever_happens():
    choice = EndpointChoice((A,))
    choice.failed(A, 0.0, 0.5)
    assert choice.current == A


def test_learnt_endpoints_come_and_go_and_given_ones_stay():
    choice = EndpointChoice((A, B))
    choice.learn([B, C])
    assert choice.all == (A, B, C)
    choice.failed(A, 0.0, 0.9)
    assert choice.current == C
    choice.learn([D])
    assert choice.current == C, "in use: kept until it fails"
    assert choice.all == (A, B, D, C)
    choice.failed(C, 0.1, 0.0)
    choice.learn([D])
    assert choice.all == (A, B, D)


@given(st.lists(st.tuples(st.sampled_from((A, B, C, D)), st.floats(0, 9), st.floats(0, 0.999))))
def test_somebody_is_always_in_use_and_never_the_one_that_just_failed(steps):
    choice = EndpointChoice((A, B, C))
    now = 0.0
    for endpoint, pause, dice in steps:
        now += pause
        if endpoint == D:
            choice.learn([D])
        choice.failed(endpoint, now, dice)
        assert choice.current in choice.all
        assert choice.current != endpoint
