"""What a call does when endpoints are dead, silent, slow or unavailable, by kind of method."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import grpc
import pytest
from fake_node import FakeNode, good, late, nodes, refusing, silent

import tianlu
from tianlu._channel import Connection
from tianlu._endpoint import parse_endpoints
from tianlu._errors import from_rpc
from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._proto.v1 import catalog_pb2 as v1
from tianlu._rpc import AWAIT_APPLIED, DEREGISTER, DISCOVER, KV_PUT, LIST_NAMESPACES, REGISTER

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
FOUND = v1.ListNamespacesResponse(revision=7)


def connect(endpoints: Iterable[FakeNode | str], timeout_seconds: float = 20) -> Connection:
    named = [one if isinstance(one, str) else one.endpoint for one in endpoints]
    return Connection(parse_endpoints(named), timeout_seconds=timeout_seconds)


async def test_a_dead_endpoint_costs_no_call(unused_port: int):
    async with nodes(KV_PUT, good(etcd.PutResponse())) as (node,):
        connection = connect([f"127.0.0.1:{unused_port}", "unix:/nowhere/at.all", node])
        for _ in range(5):
            await connection.call(KV_PUT, etcd.PutRequest(key=b"a"))
        assert node.calls == 5
        assert str(connection.endpoint) == node.endpoint
        await connection.close()


@pytest.mark.parametrize(
    "first",
    [refusing(UNAVAILABLE, "etcdserver: request timed out"), refusing(UNAVAILABLE, "stopping")],
)
async def test_a_repeatable_write_is_made_elsewhere(first):
    answers = (first, good(v1.RegisterResponse(revision=3)))
    async with nodes(REGISTER, *answers) as (bad, node):
        connection = connect([bad, node])
        assert (await connection.call(REGISTER, v1.RegisterRequest())).revision == 3
        assert (bad.calls, node.calls) == (1, 1)
        await connection.close()


async def test_a_raw_write_that_was_sent_is_not_repeated():
    answers = (refusing(UNAVAILABLE, "etcdserver: request timed out"), good(etcd.PutResponse()))
    async with nodes(KV_PUT, *answers) as (bad, node):
        connection = connect([bad, node])
        with pytest.raises(tianlu.OutcomeUnknown, match="may or may not have been done") as raised:
            await connection.call(KV_PUT, etcd.PutRequest(key=b"a"))
        assert not raised.value.retryable
        assert node.calls == 0
        await connection.call(KV_PUT, etcd.PutRequest(key=b"a"))
        assert node.calls == 1, "the next call goes to the other node"
        await connection.close()


async def test_a_raw_write_under_a_node_that_dies_is_not_repeated():
    begun = asyncio.Event()

    async def begin(request: object, context: object) -> None:
        begun.set()
        await asyncio.sleep(60)

    async with nodes(KV_PUT, begin, good(etcd.PutResponse())) as (dying, node):
        connection = connect([dying, node])
        call = asyncio.create_task(connection.call(KV_PUT, etcd.PutRequest(key=b"a")))
        await begun.wait()
        await dying.stop()
        with pytest.raises(tianlu.OutcomeUnknown):
            await call
        assert node.calls == 0
        await connection.close()


async def test_a_raw_write_without_a_leader_was_not_done_and_is_repeated():
    answers = (refusing(UNAVAILABLE, "etcdserver: no leader"), good(etcd.PutResponse()))
    async with nodes(KV_PUT, *answers) as (bad, node):
        connection = connect([bad, node])
        await connection.call(KV_PUT, etcd.PutRequest(key=b"a"))
        assert (bad.calls, node.calls) == (1, 1)
        await connection.close()


async def test_a_removal_whose_first_attempt_was_done_is_done():
    answers = (
        refusing(UNAVAILABLE, "etcdserver: request timed out"),
        refusing(grpc.StatusCode.NOT_FOUND, "not registered"),
    )
    async with nodes(DEREGISTER, *answers) as (first, second):
        connection = connect([first, second])
        await connection.call(DEREGISTER, v1.DeregisterRequest())
        with pytest.raises(tianlu.NotFound):
            await connection.call(DEREGISTER, v1.DeregisterRequest())
        await connection.close()


async def test_a_read_of_a_silent_node_is_answered_by_another():
    async with nodes(LIST_NAMESPACES, silent(), good(FOUND)) as (stuck, node):
        connection = connect([stuck, node], timeout_seconds=4)
        request = v1.ListNamespacesRequest()
        assert await connection.call(LIST_NAMESPACES, request) == FOUND
        assert str(connection.endpoint) == node.endpoint
        await connection.close()


async def test_a_slow_read_is_not_begun_anew():
    """Half the time allowed is not enough for it; all of it is."""
    async with nodes(LIST_NAMESPACES, late(FOUND, 1.5), silent()) as (slow, stuck):
        connection = connect([slow, stuck], timeout_seconds=2)
        request = v1.ListNamespacesRequest()
        assert await connection.call(LIST_NAMESPACES, request) == FOUND
        assert slow.calls == 1
        await connection.close()


async def test_a_read_that_is_refused_is_refused():
    answers = (refusing(grpc.StatusCode.NOT_FOUND, "no such service"), good(v1.DiscoverResponse()))
    async with nodes(DISCOVER, *answers) as (first, second):
        connection = connect([first, second])
        with pytest.raises(tianlu.NotFound):
            await connection.call(DISCOVER, v1.DiscoverRequest())
        assert second.calls == 0
        await connection.close()


async def test_a_node_that_waits_as_it_was_told_is_waited_for():
    answer = v1.AwaitAppliedResponse(reached=True)
    async with nodes(AWAIT_APPLIED, late(answer, 1.2), good(v1.AwaitAppliedResponse())) as (
        one,
        two,
    ):
        connection = connect([one, two], timeout_seconds=2)
        response = await connection.call(AWAIT_APPLIED, v1.AwaitAppliedRequest())
        assert response.reached
        assert two.calls == 0
        await connection.close()


async def test_with_everybody_away_the_deadline_ends_it(unused_port: int):
    connection = connect([f"127.0.0.1:{unused_port}", "unix:/nowhere/at.all"], timeout_seconds=0.5)
    begun = time.monotonic()
    with pytest.raises(tianlu.Unavailable):
        await connection.call(LIST_NAMESPACES, v1.ListNamespacesRequest())
    assert time.monotonic() - begun < 5
    await connection.close()


async def test_own_writes_are_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch):
    async with nodes(REGISTER, good(v1.RegisterResponse(revision=9))) as (node,):
        connection = connect([node])
        assert connection.own_revision == 0
        await connection.call(REGISTER, v1.RegisterRequest())
        assert connection.own_revision == 9
        monkeypatch.setattr("tianlu._channel.OWN_WRITE_SECONDS", 0.0)
        assert connection.own_revision == 0
        await connection.close()


@pytest.mark.parametrize(
    ("code", "text"),
    [("INTERNAL", "Received RST_STREAM with error code 2"), ("UNKNOWN", "Stream removed")],
)
def test_a_proxy_that_loses_the_node_is_no_protocol_error(code: str, text: str):
    error = from_rpc(code, text, endpoint="e:1")
    assert isinstance(error, tianlu.Unavailable)
    assert isinstance(from_rpc(code, "a bug", endpoint="e:1"), tianlu.ProtocolError)
