"""The agent's parts one by one."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest
from mesher.lab.envoy_bench import until
from mesher.lab.views import instance, view

from tianlu import Rung
from tianlu_mesher.agent.admission import refusal
from tianlu_mesher.agent.metrics import AgentMetrics
from tianlu_mesher.agent.pipeline import Pipeline
from tianlu_mesher.agent.resolver import Resolver
from tianlu_mesher.agent.status import Answer, StatusServer, json_answer
from tianlu_mesher.errors import EnvoyFailed
from tianlu_mesher.resources.snapshot import XdsSnapshot
from tianlu_mesher.routing.role import Role

FULL = view(instance("a", 80), revision=5)


@pytest.mark.parametrize(
    ("newer", "allowed"),
    [
        (view(instance("b", 80), revision=6), True),
        (view(revision=6), True),
        (view(revision=0), False),
        (view(revision=6, rung=Rung.SNAPSHOT), False),
        (view(instance("b", 80), revision=4, rung=Rung.SNAPSHOT), False),
        (view(instance("b", 80), revision=5, rung=Rung.SNAPSHOT), True),
        (view(instance("b", 80), revision=2), True),
    ],
    ids=[
        "newer", "a registry says empty", "empty of no revision", "an empty snapshot",
        "an older snapshot", "a snapshot as new", "a registry that was restored",
    ],
)  # fmt: skip
def test_what_may_replace_a_published_view(newer, allowed: bool) -> None:
    assert (refusal(newer, FULL) == "") is allowed
    assert refusal(newer, None) == ""


class Published:
    """What a pipeline published and refused."""

    def __init__(self, role: Role = Role("mesher", bare_namespace="default")) -> None:  # noqa: B008
        self.snapshots: list[XdsSnapshot] = []
        self.problems: list[str] = []
        self.pipeline = Pipeline(role, frozenset(), self.snapshots.append, self.problems.append)


def test_an_inconsistent_plan_is_not_published_and_the_next_one_is() -> None:
    lab = Published()
    lab.pipeline.take_view(FULL)
    slash = instance("x", 80, service="a/b")
    twin = instance("y", 80, namespace="default/a", service="b")
    lab.pipeline.take_view(view(slash, twin, revision=6))
    assert [each.revision for each in lab.snapshots] == [5]
    assert "two resources are named" in lab.pipeline.problem
    assert lab.problems == [lab.pipeline.problem]
    assert lab.pipeline.plan.revision == 5
    lab.pipeline.take_view(view(instance("a", 80), revision=7))
    assert [each.revision for each in lab.snapshots] == [5, 7]
    assert lab.pipeline.problem == ""


def test_new_addresses_are_published_with_the_view_at_hand() -> None:
    lab = Published()
    lab.pipeline.take_addresses({"db": "10.0.0.1"})
    assert lab.snapshots == []
    lab.pipeline.take_view(view(instance("a", 80, address="db"), revision=5))
    lab.pipeline.take_addresses({"db": "10.0.0.2"})
    assert [each.revision for each in lab.snapshots] == [5, 5]
    assert lab.snapshots[0].endpoints != lab.snapshots[1].endpoints


def test_what_can_be_said_without_a_view_never_follows_a_view() -> None:
    lab = Published()
    lab.pipeline.start_unloaded()
    lab.pipeline.take_view(FULL)
    lab.pipeline.start_unloaded()
    assert [each.loaded for each in lab.snapshots] == [False, True]


async def test_names_are_resolved_when_they_are_wanted() -> None:
    found: list[dict[str, str]] = []
    resolver = Resolver(found.append)
    task = asyncio.create_task(resolver.run())
    resolver.want(frozenset({"localhost", "no-such-host.invalid", "x" * 64}))
    await until(lambda: bool(found))
    assert found == [{"localhost": "127.0.0.1"}]
    resolver.want(frozenset())
    await until(lambda: found[-1] == {})
    task.cancel()
    await asyncio.wait([task])


async def test_a_name_that_stops_resolving_keeps_its_address() -> None:
    resolver = Resolver(lambda _addresses: None)
    resolver.addresses = {"no-such-host.invalid": "10.0.0.1"}
    assert await resolver._look_up("no-such-host.invalid") == ("no-such-host.invalid", "10.0.0.1")


async def test_the_status_page_answers_and_refuses() -> None:
    async def fine() -> Answer:
        return json_answer({"fine": True})

    async def failing() -> Answer:
        raise EnvoyFailed("Envoy is away")

    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = StatusServer(listening, {"/fine": fine, "/failing": failing})
    await server.start()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{url}/fine?x=1")).json() == {"fine": True}
        assert (await client.get(f"{url}/failing")).status_code == 503
        assert (await client.get(f"{url}/nothing")).status_code == 404
        assert (await client.post(f"{url}/fine")).status_code == 405
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(b"GET /" + b"x" * 20_000)
    assert await reader.read() == b""  # too long: closed without an answer
    writer.close()
    await server.stop()


def test_metrics_are_named_for_their_part_and_end_in_their_unit() -> None:
    names = [
        line.split()[2]
        for line in AgentMetrics("gateway").render().decode().splitlines()
        if line.startswith("# TYPE")
    ]
    assert all(name.startswith("tianlu_gateway_") for name in names)
    assert "tianlu_gateway_view_age_seconds" in names
    assert "tianlu_gateway_xds_nacks_total" in names
