"""Sessions: broken streams make instances suspect, renewals clear that, stops and restarts of the
node do neither."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import pytest
from registry.catalog.catalog_fakes import registration, until
from registry.catalog.conftest import QUICK

from tianlu._proto.etcd.rpc_pb2 import LeaseTimeToLiveRequest
from tianlu._proto.v1.catalog_pb2 import RegisterRequest
from tianlu._proto.v1.model_pb2 import Instance, Liveness
from tianlu_registry.catalog import plans
from tianlu_registry.catalog.holding import Holding
from tianlu_registry.catalog.keys import InstanceName
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import InvalidArgument, Unavailable
from tianlu_registry.governance import Governance, GovernanceConfig
from tianlu_registry.governance import sessions as sessions_module

SETTLE_SECONDS = 3 * QUICK.stream_grace_seconds


async def streamed(governance: Governance, *requests: RegisterRequest, ttl: int = 60) -> int:
    """Open a session with a stream and register instances on it."""
    session, _ = await governance.sessions.open(ttl, "test")
    governance.sessions.stream_opened(session)
    for request in requests:
        request.session_id = session
        await governance.registrar.register(request)
    return session


def suspects(governance: Governance, namespace: str) -> list[str]:
    found = governance.feed.view.service(namespace, "orders")
    if found is None:
        return []
    return [each.message().id for each in found.instances if each.suspect]


def one(governance: Governance, namespace: str, id_: str = "orders-1") -> Instance:
    found = governance.feed.view.instance(InstanceName(namespace, "orders", id_))
    assert found is not None
    return found


async def test_a_broken_stream_makes_suspect_and_a_renewal_clears(
    governance: Governance, namespace: str, store: Store
) -> None:
    session = await streamed(governance, registration(0, namespace))
    began = time.monotonic()
    governance.sessions.stream_closed(session)
    await until(lambda: suspects(governance, namespace) == ["orders-1"])
    assert QUICK.stream_grace_seconds * 0.9 <= time.monotonic() - began < 2
    marked = one(governance, namespace)
    assert marked.health.reason == "the session's stream broke"
    assert marked.health.since_unix_ms > 0
    assert marked.mod_revision > marked.create_revision
    # Marked, not removed, and the mark leaves with the lease.
    attached = await store.lease_time_to_live(LeaseTimeToLiveRequest(ID=session, keys=True))
    assert len(attached.keys) == 2
    assert await governance.sessions.renew(session) == 60
    await until(lambda: suspects(governance, namespace) == [])
    assert one(governance, namespace).health.reason == "the session was renewed"


async def test_a_quick_reconnect_marks_nobody(governance: Governance, namespace: str) -> None:
    session = await streamed(governance, registration(0, namespace))
    before = one(governance, namespace)
    for _ in range(3):
        governance.sessions.stream_closed(session)
        await asyncio.sleep(QUICK.stream_grace_seconds / 4)
        governance.sessions.stream_opened(session)
    await asyncio.sleep(SETTLE_SECONDS)
    assert one(governance, namespace) == before


async def test_each_break_has_its_own_grace(governance: Governance, namespace: str) -> None:
    session = await streamed(governance, registration(0, namespace))
    grace = QUICK.stream_grace_seconds
    governance.sessions.stream_closed(session)
    await asyncio.sleep(0.3 * grace)
    governance.sessions.stream_opened(session)
    await asyncio.sleep(0.5 * grace)
    broke = time.monotonic()
    governance.sessions.stream_closed(session)
    await until(lambda: suspects(governance, namespace) == ["orders-1"])
    assert time.monotonic() - broke >= grace


async def test_a_stream_that_moved_to_another_node_is_not_suspect_for_long(
    store: Store, namespace: str
) -> None:
    async with Governance.start(store, QUICK) as left, Governance.start(store, QUICK) as right:
        session = await streamed(left, registration(0, namespace))
        await until(lambda: right.feed.view.service(namespace, "orders"))
        left.sessions.stream_closed(session)
        await right.sessions.renew(session)
        right.sessions.stream_opened(session)
        await until(lambda: right.sessions.marked["alive"] == 1)
        await until(lambda: suspects(left, namespace) == [])
        await asyncio.sleep(SETTLE_SECONDS)
        assert left.sessions.marked["suspect"] == 1, "the nodes do not quarrel"
        assert suspects(right, namespace) == []
        right.sessions.stream_closed(session)
        await until(lambda: suspects(left, namespace) == ["orders-1"])


async def test_a_second_stream_keeps_a_session_alive(
    governance: Governance, namespace: str
) -> None:
    session = await streamed(governance, registration(0, namespace))
    governance.sessions.stream_opened(session)
    governance.sessions.stream_closed(session)
    await asyncio.sleep(SETTLE_SECONDS)
    assert suspects(governance, namespace) == []
    assert governance.sessions.streams_count >= 1


async def test_a_session_without_a_stream_is_never_suspect(
    governance: Governance, namespace: str
) -> None:
    session, _ = await governance.sessions.open(60, "json")
    await governance.registrar.register(registration(session, namespace))
    await governance.sessions.renew(session)
    await asyncio.sleep(SETTLE_SECONDS)
    assert suspects(governance, namespace) == []


async def test_a_renewal_without_a_stream_holds_off_suspicion(
    governance: Governance, namespace: str
) -> None:
    session = await streamed(governance, registration(0, namespace))
    governance.sessions.stream_closed(session)
    await governance.sessions.renew(session)
    await asyncio.sleep(SETTLE_SECONDS)
    assert suspects(governance, namespace) == []


async def test_closing_removes_at_once(governance: Governance, namespace: str) -> None:
    session = await streamed(governance, registration(0, namespace))
    await governance.sessions.close(session)
    governance.sessions.stream_closed(session)
    await until(lambda: governance.feed.view.service(namespace, "orders") is None)


async def test_a_session_that_could_not_be_closed_is_still_watched_over(
    governance: Governance, namespace: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await streamed(governance, registration(0, namespace))

    async def unavailable(request: object) -> None:
        raise Unavailable

    monkeypatch.setattr(store, "lease_revoke", unavailable)
    with pytest.raises(Unavailable):
        await governance.sessions.close(session)
    governance.sessions.stream_closed(session)
    await until(lambda: suspects(governance, namespace) == ["orders-1"])


async def test_the_lease_removes_what_nobody_renews(governance: Governance, namespace: str) -> None:
    session = await streamed(governance, registration(0, namespace), ttl=2)
    governance.sessions.stream_closed(session)
    await until(lambda: suspects(governance, namespace) == ["orders-1"])
    await until(lambda: governance.feed.view.service(namespace, "orders") is None)
    await until(lambda: session not in governance.sessions._sessions)  # forgotten


async def test_a_restarted_owner_takes_over_its_suspect_self(
    governance: Governance, namespace: str
) -> None:
    """After a crash the new process need not wait until the old one's lease has ended."""
    dead = await streamed(governance, registration(0, namespace))
    governance.sessions.stream_closed(dead)
    await until(lambda: suspects(governance, namespace) == ["orders-1"])
    session = await streamed(governance, registration(0, namespace, version="2"))
    taken = one(governance, namespace)
    assert (taken.session_id, taken.version) == (session, "2")
    assert taken.health.liveness != Liveness.LIVENESS_SUSPECT
    await governance.sessions.close(dead)
    assert one(governance, namespace).session_id == session


async def test_a_session_that_came_back_meanwhile_keeps_its_instance(
    governance: Governance, namespace: str, store: Store
) -> None:
    """The takeover was planned on a mark that the owner has since disproved."""
    owner = await streamed(governance, registration(0, namespace))
    governance.sessions.stream_closed(owner)
    await until(lambda: suspects(governance, namespace) == ["orders-1"])
    name = InstanceName(namespace, "orders", "orders-1")
    seen = Holding.of_entry(governance.feed.view.entry(name))
    read = plans.holding_read(await store.txn(plans.read_holding(name)))
    assert (seen.suspect, seen.status_revision) == (True, read.status_revision)
    await governance.sessions.renew(owner)
    await until(lambda: suspects(governance, namespace) == [])
    other, _ = await governance.sessions.open(60, "other")
    for held in (seen, read):
        late = plans.put_instance(name, held, one(governance, namespace), other, alive=True)
        assert not (await store.txn(late)).succeeded
    assert one(governance, namespace).session_id == owner


async def test_registering_again_clears_suspicion(governance: Governance, namespace: str) -> None:
    session = await streamed(governance, registration(0, namespace))
    governance.sessions.stream_closed(session)
    await until(lambda: suspects(governance, namespace) == ["orders-1"])
    again, _ = await governance.registrar.register(registration(session, namespace))
    assert again.health.liveness != Liveness.LIVENESS_SUSPECT


async def test_many_instances_of_a_session(governance: Governance, namespace: str) -> None:
    """More than fit into one transaction."""
    wanted = [registration(0, namespace, f"orders-{number:03}") for number in range(230)]
    session, _ = await governance.sessions.open(60, "host")
    governance.sessions.stream_opened(session)
    for request in wanted:
        request.session_id = session
    await asyncio.gather(*(governance.registrar.register(request) for request in wanted))
    governance.sessions.stream_closed(session)
    await until(lambda: len(suspects(governance, namespace)) == 230)
    governance.sessions.stream_opened(session)
    await governance.sessions.renew(session)
    await until(lambda: suspects(governance, namespace) == [])


async def test_most_of_a_service_at_once_is_said_in_the_reason(
    governance: Governance, namespace: str
) -> None:
    sessions = [
        await streamed(governance, registration(0, namespace, f"orders-{number}"))
        for number in range(3)
    ]
    governance.sessions.stream_closed(sessions[0])
    await until(lambda: suspects(governance, namespace) == ["orders-0"])
    assert "instances of the service" not in one(governance, namespace, "orders-0").health.reason
    governance.sessions.stream_closed(sessions[1])
    await until(lambda: len(suspects(governance, namespace)) == 2)
    reason = one(governance, namespace, "orders-1").health.reason
    assert "2 of 3 instances of the service turned suspect within 10 s" in reason
    found = governance.feed.view.service(namespace, "orders")
    assert len(found.discoverable()) == 3  # callers keep using them


async def test_when_most_sessions_break_together_more_time_is_given(
    governance: Governance, namespace: str
) -> None:
    sessions = [
        await streamed(governance, registration(0, namespace, f"orders-{number}"))
        for number in range(5)
    ]
    began = time.monotonic()
    for session in sessions:
        governance.sessions.stream_closed(session)
    await until(lambda: len(suspects(governance, namespace)) == 5)
    assert QUICK.mass_break_seconds * 0.9 <= time.monotonic() - began < 2


async def test_breaks_are_counted_once_for_all_who_ask(
    embedded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of N broken sessions asks how many broke with it; N * N steps stall a large node."""
    taken: list[int] = []

    class Census(sessions_module._Census):
        def __init__(self, sessions: Iterable[sessions_module._Session]) -> None:
            super().__init__(sessions)
            taken.append(len(self.broken))

    async with Governance.start(embedded, QUICK) as governance:
        monkeypatch.setattr(sessions_module, "_Census", Census)
        monkeypatch.setattr(sessions_module, "_CENSUS_SECONDS", 60)
        governance.sessions._census.taken_at -= 60
        for session in range(1, 1_001):
            governance.sessions.stream_opened(session)
        for session in range(1, 1_001):
            governance.sessions.stream_closed(session)
        await until(lambda: taken)
        assert governance.sessions._most_broke_together(governance.sessions._sessions[500])
        await until(lambda: all(s.task is None for s in governance.sessions._sessions.values()))
        assert taken == [1_000]


async def test_a_draining_node_marks_nobody(governance: Governance, namespace: str) -> None:
    session = await streamed(governance, registration(0, namespace))
    governance.drain()
    governance.sessions.stream_closed(session)
    await asyncio.sleep(SETTLE_SECONDS)
    assert suspects(governance, namespace) == []


async def test_a_restart_marks_nobody(store: Store, namespace: str) -> None:
    async with Governance.start(store, QUICK) as first:
        session = await streamed(first, registration(0, namespace))
    async with Governance.start(store, QUICK) as second:
        await second.feed.wait_ready()
        await asyncio.sleep(SETTLE_SECONDS)
        assert suspects(second, namespace) == []
        assert await second.sessions.renew(session) == 60


async def test_what_opening_refuses(governance: Governance) -> None:
    for ttl in (1, 3601):
        with pytest.raises(InvalidArgument, match="ttl_seconds"):
            await governance.sessions.open(ttl, "")
    with pytest.raises(InvalidArgument, match="client"):
        await governance.sessions.open(10, "x" * 300)
    with pytest.raises(InvalidArgument, match="session_id"):
        await governance.sessions.renew(0)
    assert (await governance.sessions.open(0, ""))[1] == 10


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stream_grace_seconds", 0),
        ("bookmark_seconds", -1),
        ("sweep_seconds", 0),
        ("history_events_max", 0),
        ("subscribers_max", 0),
        ("load_page_keys", 0),
        ("mass_break_seconds", 0.01),
    ],
)
def test_the_configuration_is_checked(name: str, value: float) -> None:
    with pytest.raises(InvalidArgument, match=name):
        GovernanceConfig(**{name: value})
