"""Endpoints learnt from the members: only those at which the very member answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from typing import cast

import pytest
from fake_node import nodes

import tianlu
from tianlu._channel import Connection
from tianlu._endpoint import Endpoint, parse_endpoints
from tianlu._members import MemberLearner
from tianlu._proto.etcd import rpc_pb2 as etcd
from tianlu._rpc import MEMBER_LIST

Until = Callable[..., Awaitable[None]]
CLUSTER = 7


class Cluster:
    """What MemberList says; each node says with whose id it answers."""

    def __init__(self) -> None:
        self.members: list[etcd.Member] = []

    def name(self, member_id: int, *urls: str, learner: bool = False) -> None:
        self.members.append(etcd.Member(ID=member_id, clientURLs=urls, isLearner=learner))

    def node(self, member_id: int, cluster_id: int = CLUSTER):
        async def answer(request: object, context: object) -> etcd.MemberListResponse:
            header = etcd.ResponseHeader(cluster_id=cluster_id, member_id=member_id)
            return etcd.MemberListResponse(header=header, members=self.members)

        return answer


async def test_members_that_answer_are_learnt_and_no_others(unused_port: int, until: Until):
    cluster = Cluster()
    answers = (cluster.node(1), cluster.node(2), cluster.node(3), cluster.node(4, cluster_id=8))
    async with AsyncExitStack() as stack:
        first, second, third, stranger = await stack.enter_async_context(
            nodes(MEMBER_LIST, *answers)
        )
        cluster.name(1, f"http://{first.endpoint}", "nonsense")
        cluster.name(2, f"http://{second.endpoint}", f"http://127.0.0.1:{unused_port}")
        cluster.name(3, f"http://{third.endpoint}", learner=True)
        cluster.name(4, f"http://{stranger.endpoint}")
        cluster.name(5, f"http://{third.endpoint}")  # that is member 3
        async with tianlu.AsyncClient(first.endpoint, learn_endpoints=True) as client:
            assert client.status().endpoints == (first.endpoint,)
            await _use(client)
            await until(lambda: len(client.status().endpoints) > 1, "a member is learnt")
            assert client.status().endpoints == (first.endpoint, second.endpoint)
        async with tianlu.AsyncClient(first.endpoint) as client:
            await _use(client)
            assert client.status().endpoints == (first.endpoint,)


async def test_a_member_that_is_gone_is_forgotten():
    cluster = Cluster()
    async with nodes(MEMBER_LIST, cluster.node(1), cluster.node(2)) as (first, second):
        cluster.name(2, f"http://{second.endpoint}")
        async with tianlu.AsyncClient(first.endpoint) as client:
            learner = MemberLearner(client._connection)
            await learner.learn_once()
            assert client.status().endpoints == (first.endpoint, second.endpoint)
            await learner.learn_once()
            assert second.calls == 1, "a known endpoint is not asked again"
            cluster.members.clear()
            await learner.learn_once()
            assert client.status().endpoints == (first.endpoint,)


class Announced:
    """A connection at which every member is who it should be."""

    def __init__(self, given: str, *urls: str) -> None:
        self.endpoints = parse_endpoints(given)
        self.learnt: list[str] = []
        header = etcd.ResponseHeader(cluster_id=CLUSTER, member_id=1)
        members = [etcd.Member(ID=1, clientURLs=urls)]
        self._answer = etcd.MemberListResponse(header=header, members=members)

    async def call(self, *_: object) -> etcd.MemberListResponse:
        return self._answer

    ask = call

    async def learn(self, endpoints: Iterable[Endpoint]) -> None:
        self.learnt = [str(endpoint) for endpoint in endpoints]


@pytest.mark.parametrize(
    ("given", "learnt"),
    [
        ("https://a:1", ["https://b:2"]),
        ("https://a:1,c:3", ["127.0.0.1:2379", "https://b:2"]),
        ("c:3", ["127.0.0.1:2379", "https://b:2"]),
    ],
)
async def test_who_was_given_tls_alone_learns_nothing_else(given: str, learnt: list[str]):
    """Whoever listens at 127.0.0.1:2379 of this machine would be told the password."""
    connection = Announced(given, "http://127.0.0.1:2379", "https://b:2")
    await MemberLearner(cast("Connection", connection)).learn_once()
    assert connection.learnt == learnt


async def _use(client: tianlu.AsyncClient) -> None:
    """Make a call; these nodes do not serve it."""
    try:
        await client.kv.get("a")
    except tianlu.TianluError:
        return
