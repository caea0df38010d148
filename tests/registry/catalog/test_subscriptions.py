"""Subscribers, fast, slow and returning: each sees every revision that it should, and whole."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing
from unittest.mock import AsyncMock

import pytest
from registry.catalog.catalog_fakes import instance, registration, until

from tianlu._proto.etcd.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    PutRequest,
    RangeResponse,
    RequestOp,
    ResponseHeader,
    TxnRequest,
)
from tianlu._proto.v1.catalog_pb2 import AwaitAppliedRequest, ListSubscribersRequest, WatchResponse
from tianlu_registry.catalog import keys, messages
from tianlu_registry.catalog.history import WatchFilter
from tianlu_registry.catalog.keys import InstanceName
from tianlu_registry.engine.etcd import EtcdStore
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import (
    Compacted,
    InvalidArgument,
    NoLeader,
    Stopped,
    TooManyRequests,
    Unavailable,
)
from tianlu_registry.governance import Governance, GovernanceConfig
from tianlu_registry.governance import feed as feed_module
from tianlu_registry.governance.applied import await_applied
from tianlu_registry.governance.groups import Encoding, Group, GroupIndex
from tianlu_registry.governance.subscriptions import Subscription

BYTES = Encoding("bytes", lambda part: part.encode())
EVERYTHING = WatchFilter()


class Replica:
    """What a subscriber holds, and whether what it was told makes sense."""

    def __init__(self, revision: int = 0) -> None:
        self.revision = revision
        self.instances: dict[InstanceName, bytes] = {}
        self.loading: dict[InstanceName, bytes] | None = None
        self.at_revision: dict[int, dict[InstanceName, bytes]] = {}
        self.snapshots = 0
        self.bookmarks = 0

    def take(self, data: bytes) -> None:
        message = WatchResponse.FromString(data)
        if message.snapshot:
            self._take_part(message)
            return
        assert self.loading is None, "changes came into the middle of a snapshot"
        if not message.events:
            self.bookmarks += 1
            assert message.revision >= self.revision
            self.revision = message.revision
            return
        assert message.revision > self.revision
        last = self.revision
        for event in message.events:
            assert self.revision < event.revision <= message.revision
            assert event.revision >= last
            last = event.revision
            self._apply(self.instances, event)
        assert last == message.revision
        self.revision = message.revision
        self.at_revision[self.revision] = dict(self.instances)

    def _take_part(self, message: WatchResponse) -> None:
        if self.loading is None:
            self.loading = {}
        for event in message.events:
            self._apply(self.loading, event)
        if message.snapshot_end:
            self.instances, self.loading = self.loading, None
            self.revision = message.revision
            self.snapshots += 1
            self.at_revision[self.revision] = dict(self.instances)

    @staticmethod
    def _apply(instances: dict[InstanceName, bytes], event) -> None:
        if event.WhichOneof("change") == "instance_put":
            put = event.instance_put
            name = InstanceName(put.namespace, put.service, put.id)
            instances[name] = put.SerializeToString(deterministic=True)
        elif event.WhichOneof("change") == "instance_removed":
            gone = event.instance_removed
            del instances[InstanceName(gone.namespace, gone.service, gone.id)]


def _state(governance: Governance, wanted: WatchFilter) -> dict[InstanceName, bytes]:
    decoded = (
        each.message()
        for service in messages.selected(governance.feed.view.services(), wanted)
        for each in service.instances
    )
    return {
        InstanceName(i.namespace, i.service, i.id): i.SerializeToString(deterministic=True)
        for i in decoded
    }


async def _follow(
    governance: Governance, wanted: WatchFilter, replica: Replica, pause, *, turns: int = 1_000_000
) -> None:
    """Read a stream into a replica, `turns` messages at most."""
    with governance.subscriptions.open(wanted, replica.revision, "test", "here") as subscription:
        async with aclosing(subscription.frames(BYTES)) as frames:
            async for data in frames:
                replica.take(data)
                subscription.acknowledge(replica.revision)
                turns -= 1
                if turns <= 0 and replica.loading is None:
                    return
                await pause()


async def _write_revision(store: Store, draw: random.Random) -> int:
    """Write one to four instances of a few services, or remove them, in one revision."""
    names = {
        InstanceName(draw.choice("ab"), draw.choice("st"), str(draw.randrange(6)))
        for _ in range(draw.randint(1, 4))
    }
    operations = []
    for name in names:
        key = keys.instance_key(name)
        if draw.random() < 0.3:
            operations.append(RequestOp(request_delete_range=DeleteRangeRequest(key=key)))
        else:
            value = instance(*name, version=str(draw.randrange(9))).SerializeToString()
            operations.append(RequestOp(request_put=PutRequest(key=key, value=value)))
    return (await store.txn(TxnRequest(success=operations))).header.revision


@pytest.mark.parametrize("seed", range(4))
async def test_no_subscriber_misses_or_splits_a_revision(
    embedded: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(messages, "EVENTS_MAX", draw.choice([4, 500]))
    config = GovernanceConfig(bookmark_seconds=0.02, history_events_max=draw.choice([20, 1000]))
    wanted_by_all = [
        EVERYTHING,
        EVERYTHING,
        WatchFilter("a"),
        WatchFilter("b", frozenset("s")),
        WatchFilter("", frozenset("t")),
        WatchFilter("a", frozenset("st")),
    ]
    states: dict[WatchFilter, dict[int, dict]] = {wanted: {} for wanted in wanted_by_all}

    async with Governance.start(embedded, config) as governance:
        await governance.feed.wait_ready()

        def record(_: object) -> None:
            for wanted, by_revision in states.items():
                by_revision[governance.feed.view.revision] = _state(governance, wanted)

        governance.feed.on_changes(record)
        replicas = [(wanted, Replica()) for wanted in wanted_by_all for _ in range(3)]

        async def live(wanted: WatchFilter, replica: Replica, seed_: int) -> None:
            own = random.Random(seed_)
            slow = own.random() < 0.4

            async def pause() -> None:
                await asyncio.sleep(own.random() * (0.03 if slow else 0.0))

            for _ in range(own.randint(0, 5)):  # comes and goes, and resumes
                await _follow(governance, wanted, replica, pause, turns=own.randint(1, 15))
            await _follow(governance, wanted, replica, pause)

        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(live(wanted, replica, draw.randrange(10**6)))
                for wanted, replica in replicas
            ]
            last = 0
            for _ in range(150):
                last = await _write_revision(embedded, draw)
                if draw.random() < 0.2:
                    await asyncio.sleep(0.002)
            await until(lambda: all(replica.revision >= last for _, replica in replicas))
            for task in tasks:
                task.cancel()
        for wanted, replica in replicas:
            assert replica.instances == _state(governance, wanted)
            for revision, held in replica.at_revision.items():
                # What it held after each message is what was true at that revision.
                known = states[wanted].get(revision)
                if known is not None:
                    assert held == known
            assert len(replica.at_revision) > 3
        assert len(governance.subscriptions) == 0


async def test_one_that_holds_the_newest_revision_gets_nothing(
    governance: Governance, namespace: str
) -> None:
    session, _ = await governance.sessions.open(60, "")
    _, revision = await governance.registrar.register(registration(session, namespace))
    replica = Replica(revision)
    task = asyncio.create_task(
        _follow(governance, WatchFilter(namespace), replica, lambda: asyncio.sleep(0))
    )
    await until(lambda: replica.bookmarks > 0)
    assert replica.snapshots == 0
    assert replica.at_revision == {}
    task.cancel()


async def test_one_that_resumes_is_told_at_once_that_it_holds_everything(embedded: Store) -> None:
    async with Governance.start(embedded, GovernanceConfig(bookmark_seconds=3600)) as governance:
        session, _ = await governance.sessions.open(60, "")
        _, revision = await governance.registrar.register(registration(session, "a"))
        replica = Replica(revision)
        task = asyncio.create_task(
            _follow(governance, EVERYTHING, replica, lambda: asyncio.sleep(0))
        )
        await until(lambda: replica.bookmarks == 1)
        _, later = await governance.registrar.register(registration(session, "a", "orders-2"))
        await until(lambda: replica.revision == later)
        assert (replica.bookmarks, replica.snapshots) == (1, 0)
        task.cancel()


async def test_one_from_the_future_gets_a_snapshot(embedded: Store) -> None:
    """The data directory was lost: what the subscriber holds is of another life."""
    config = GovernanceConfig(revision_wait_seconds=0.05)
    async with Governance.start(embedded, config) as governance:
        replica = Replica(1_000_000)
        task = asyncio.create_task(
            _follow(governance, EVERYTHING, replica, lambda: asyncio.sleep(0))
        )
        await until(lambda: replica.snapshots == 1)
        assert replica.instances == {}
        task.cancel()


async def test_a_node_that_is_behind_sends_subscribers_elsewhere(
    embedded: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no proof of lost data that one node does not hold what another has shown."""
    config = GovernanceConfig(revision_wait_seconds=0.05)
    async with Governance.start(embedded, config) as governance:
        await governance.feed.wait_ready()
        held = governance.feed.revision + 1
        monkeypatch.setattr(feed_module, "_NEAR_SECONDS", 0.05)
        newest = RangeResponse(header=ResponseHeader(revision=held))
        monkeypatch.setattr(embedded, "range", AsyncMock(return_value=newest))
        replica = Replica(held)
        with pytest.raises(Unavailable, match=f"not yet at {held}"):
            await _follow(governance, EVERYTHING, replica, lambda: asyncio.sleep(0))
        assert replica.snapshots == 0


async def test_a_node_without_a_leader_sends_subscribers_elsewhere(embedded: Store) -> None:
    config = GovernanceConfig(sweep_seconds=3600)
    async with Governance.start(embedded, config) as governance:
        subscriptions = governance.subscriptions
        replica = Replica()
        task = asyncio.create_task(
            _follow(governance, EVERYTHING, replica, lambda: asyncio.sleep(0))
        )
        await until(lambda: replica.snapshots == 1)
        subscriptions.note_leader(False, 10.0)
        subscriptions.note_leader(False, 10.0 + config.leaderless_seconds - 0.1)
        await asyncio.sleep(0)
        assert not task.done()
        subscriptions.note_leader(False, 10.0 + config.leaderless_seconds)
        with pytest.raises(NoLeader):
            await task
        with pytest.raises(NoLeader), subscriptions.open(EVERYTHING, 0, "", ""):
            pass
        subscriptions.note_leader(True, 20.0)
        with subscriptions.open(EVERYTHING, 0, "", ""):
            assert len(subscriptions) == 1


async def test_a_quiet_subscriber_survives_the_bustle_of_others(embedded: Store) -> None:
    """Its position is older than the history, but nothing of its own was missed."""
    config = GovernanceConfig(history_events_max=10)
    async with Governance.start(embedded, config) as governance:
        session, _ = await governance.sessions.open(60, "")
        replica = Replica()
        task = asyncio.create_task(
            _follow(governance, WatchFilter("quiet"), replica, lambda: asyncio.sleep(0))
        )
        await until(lambda: replica.snapshots == 1)
        for number in range(40):
            await governance.registrar.register(registration(session, "busy", f"i-{number}"))
        _, revision = await governance.registrar.register(registration(session, "quiet"))
        await until(lambda: replica.revision >= revision)
        assert replica.snapshots == 1
        assert len(replica.instances) == 1
        task.cancel()


async def test_a_stuck_reader_costs_a_position(embedded: Store) -> None:
    """It gets a snapshot when it reads again; meanwhile nothing is kept for it."""
    async with Governance.start(embedded, GovernanceConfig(history_events_max=10)) as governance:
        await governance.feed.wait_ready()
        session, _ = await governance.sessions.open(60, "")
        gate = asyncio.Event()
        replica = Replica()
        task = asyncio.create_task(_follow(governance, EVERYTHING, replica, gate.wait))
        await until(lambda: replica.snapshots == 1)
        for number in range(40):
            _, last = await governance.registrar.register(
                registration(session, "busy", f"i-{number}")
            )
        assert replica.instances == {}
        gate.set()
        await until(lambda: replica.revision >= last)
        assert replica.snapshots == 2
        assert len(replica.instances) == 40
        task.cancel()


async def test_equal_filters_share_one_encoding(embedded: Store) -> None:
    encoded = 0

    def encode(part: messages.Part) -> bytes:
        nonlocal encoded
        encoded += bool(part.events)
        return part.encode()

    async with Governance.start(embedded) as governance:
        await governance.feed.wait_ready()
        session, _ = await governance.sessions.open(60, "")
        received = 0

        async def read(number: int) -> None:
            nonlocal received
            with governance.subscriptions.open(EVERYTHING, 0, "", "") as subscription:
                async with aclosing(subscription.frames(Encoding("counted", encode))) as frames:
                    async for _ in frames:
                        received += 1

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(read(number)) for number in range(50)]
            await until(lambda: received == 50)
            await governance.registrar.register(registration(session, "a"))
            await until(lambda: received == 100)
            assert encoded == 1
            for task in tasks:
                task.cancel()


async def test_large_snapshots_come_in_parts(embedded: Store, monkeypatch) -> None:
    monkeypatch.setattr(messages, "EVENTS_MAX", 3)
    async with Governance.start(embedded) as governance:
        session, _ = await governance.sessions.open(60, "")
        for number in range(7):
            await governance.registrar.register(registration(session, "a", f"i-{number}"))
        parts: list[WatchResponse] = []
        with governance.subscriptions.open(EVERYTHING, 0, "", "") as subscription:
            async with aclosing(subscription.frames(BYTES)) as frames:
                async for data in frames:
                    parts.append(WatchResponse.FromString(data))
                    if parts[-1].snapshot_end:
                        break
                    assert subscription.sent_revision == 0
        assert [len(part.events) for part in parts] == [3, 3, 1]
        assert {part.revision for part in parts} == {governance.feed.revision}


async def test_closing_ends_the_streams(embedded: Store) -> None:
    async with Governance.start(embedded) as governance:
        replica = Replica()
        task = asyncio.create_task(
            _follow(governance, EVERYTHING, replica, lambda: asyncio.sleep(0))
        )
        await until(lambda: replica.snapshots == 1)
        governance.drain()
        with pytest.raises(Stopped):
            await task
        with pytest.raises(Stopped), governance.subscriptions.open(EVERYTHING, 0, "", ""):
            pass


@pytest.mark.parametrize("compacted", [False, True])
async def test_a_view_that_was_loaded_anew(embedded: Store, compacted: bool) -> None:
    """Subscribers go on if the store still knows what changed, and take a snapshot if not."""
    async with Governance.start(embedded) as governance:
        session, _ = await governance.sessions.open(60, "")
        await governance.registrar.register(registration(session, "a"))
        replica = Replica()
        task = asyncio.create_task(
            _follow(governance, EVERYTHING, replica, lambda: asyncio.sleep(0))
        )
        await until(lambda: replica.snapshots == 1)
        old = governance.feed.view
        governance.feed._watcher.cancel()
        key = keys.instance_key(InstanceName("a", "s", "unseen"))
        put = await embedded.put(PutRequest(key=key))  # the view does not hear of it
        if compacted:
            await embedded.compact(CompactionRequest(revision=put.header.revision))
        governance.feed.ended(Compacted())
        await until(lambda: governance.feed.view is not old)
        assert governance.feed.ready
        await until(lambda: len(replica.instances) == 2)
        _, revision = await governance.registrar.register(registration(session, "a", "orders-2"))
        await until(lambda: replica.revision == revision)
        assert replica.snapshots == (2 if compacted else 1)
        assert len(replica.instances) == 3
        task.cancel()


async def test_subscribers_resume_after_a_restart(store: Store, namespace: str) -> None:
    """Although other keys have moved the revision on, and this process saw nothing change."""
    replica = Replica()
    async with Governance.start(store) as first:
        session, _ = await first.sessions.open(60, "")
        await first.registrar.register(registration(session, namespace))
        task = asyncio.create_task(
            _follow(first, WatchFilter(namespace), replica, lambda: asyncio.sleep(0))
        )
        await until(lambda: replica.snapshots == 1)
        task.cancel()
        await first.registrar.register(registration(session, namespace, "orders-2"))
    put = await store.put(PutRequest(key=b"elsewhere"))
    async with Governance.start(store) as second:
        await second.feed.wait_ready()
        assert second.feed.revision >= put.header.revision
        task = asyncio.create_task(
            _follow(second, WatchFilter(namespace), replica, lambda: asyncio.sleep(0))
        )
        await until(lambda: len(replica.instances) == 2)
        assert replica.snapshots == 1
        task.cancel()


async def test_a_restart_on_a_store_that_was_compacted(store: Store, namespace: str) -> None:
    async with Governance.start(store) as first:
        session, _ = await first.sessions.open(60, "")
        _, revision = await first.registrar.register(registration(session, namespace))
    await store.compact(CompactionRequest(revision=revision))
    if isinstance(store, EtcdStore):
        store._compact_revision = 0  # as in a process that did not compact it itself
    async with Governance.start(store) as second:
        await second.feed.wait_ready()
        assert second.feed.view.service(namespace, "orders") is not None
        assert second.feed.revision >= revision


async def test_without_history_a_restart_is_a_snapshot(embedded: Store) -> None:
    async with Governance.start(embedded, GovernanceConfig(history_revisions=0)) as governance:
        await governance.feed.wait_ready()
        assert governance.feed.view.history.floor == governance.feed.revision


async def test_there_is_a_maximum_of_subscribers(embedded: Store) -> None:
    async with Governance.start(embedded, GovernanceConfig(subscribers_max=1)) as governance:
        with (
            governance.subscriptions.open(EVERYTHING, 0, "", ""),
            pytest.raises(TooManyRequests),
            governance.subscriptions.open(EVERYTHING, 0, "", ""),
        ):
            pass


# Acknowledgements


Opener = Callable[[Governance, str, WatchFilter, int], Subscription]


@pytest.fixture
def open_one() -> Iterator[Opener]:
    """Open subscriptions that last as long as the test and were sent up to a revision."""
    with ExitStack() as stack:

        def opener(
            governance: Governance, name: str, wanted: WatchFilter, sent: int
        ) -> Subscription:
            opened = governance.subscriptions.open(wanted, 0, name, "peer")
            subscription = stack.enter_context(opened)
            subscription.sent_revision = sent
            return subscription

        yield opener


async def test_waiting_until_a_share_has_applied(embedded: Store, open_one: Opener) -> None:
    async with Governance.start(embedded) as governance:
        one = open_one(governance, "one", WatchFilter("a"), 100)
        two = open_one(governance, "", EVERYTHING, 100)
        other = open_one(governance, "other", WatchFilter("b"), 100)
        onlooker = open_one(governance, "onlooker", EVERYTHING, 100)
        for subscription in (one, two, other):
            subscription.acknowledge(5)
        assert onlooker.applied_revision == 0
        request = AwaitAppliedRequest(namespace="a", service="s", revision=10, timeout_ms=20)
        late = await await_applied(governance.subscriptions, request)
        assert (late.reached, late.subscribers, late.applied) == (False, 2, 0)
        assert list(late.laggards) == ["one", "peer"]
        request.timeout_ms = 10_000
        waiting = asyncio.create_task(await_applied(governance.subscriptions, request))
        half = AwaitAppliedRequest(
            namespace="a", service="s", revision=10, percent=50, timeout_ms=10_000
        )
        waiting_half = asyncio.create_task(await_applied(governance.subscriptions, half))
        await asyncio.sleep(0)
        one.acknowledge(10)
        reached = await waiting_half
        assert (reached.reached, reached.applied) == (True, 1)
        assert not waiting.done()
        two.acknowledge(12)
        assert (await waiting).reached


async def test_more_than_was_sent_cannot_be_acknowledged(embedded: Store, open_one: Opener) -> None:
    async with Governance.start(embedded) as governance:
        one = open_one(governance, "one", EVERYTHING, 7)
        one.acknowledge(1000)
        assert one.applied_revision == 7
        one.acknowledge(3)
        assert one.applied_revision == 7


async def test_subscribers_are_listed(embedded: Store, open_one: Opener) -> None:
    async with Governance.start(embedded) as governance:
        open_one(governance, "one", WatchFilter("a", frozenset({"t", "s"})), 7)
        open_one(governance, "two", WatchFilter("b"), 8)
        listed = await governance.queries.list_subscribers(ListSubscribersRequest(namespace="a"))
        assert [each.subscriber for each in listed.subscribers] == ["one"]
        assert list(listed.subscribers[0].services) == ["s", "t"]
        assert listed.subscribers[0].sent_revision == 7
        all_of_them = await governance.queries.list_subscribers(ListSubscribersRequest())
        assert len(all_of_them.subscribers) == 2
        none = ListSubscribersRequest(namespace="a", service="x")
        assert not (await governance.queries.list_subscribers(none)).subscribers


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("namespace", AwaitAppliedRequest(service="s")),
        ("service", AwaitAppliedRequest(namespace="a")),
        ("percent", AwaitAppliedRequest(namespace="a", service="s", percent=101)),
        ("timeout_ms", AwaitAppliedRequest(namespace="a", service="s", timeout_ms=60_001)),
    ],
)
async def test_what_awaiting_refuses(
    embedded: Store, field: str, request_: AwaitAppliedRequest
) -> None:
    async with Governance.start(embedded) as governance:
        with pytest.raises(InvalidArgument) as caught:
            await await_applied(governance.subscriptions, request_)
        assert caught.value.field == field


# Groups


def test_positions_that_miss_the_same_start_alike() -> None:
    group = Group(EVERYTHING, newest=10)
    group.changed(20, 22)
    group.changed(30, 30)
    assert [group.start_for(p) for p in (5, 9)] == [5, 9]  # older than the group
    assert [group.start_for(p) for p in (10, 15, 19)] == [19, 19, 19]
    assert group.start_for(21) == 21  # in the middle of a step
    assert [group.start_for(p) for p in (22, 25, 29)] == [29, 29, 29]
    assert group.start_for(30) == 30
    assert group.start_for(-1) == -1
    group.reset(50)
    assert group.newest == 50
    assert [group.start_for(p) for p in (22, 50)] == [22, 50]


def test_a_group_remembers_a_bounded_number_of_steps() -> None:
    group = Group(EVERYTHING, newest=0)
    for revision in range(10, 10_000, 10):
        group.changed(revision, revision)
    assert group.start_for(9_985) == 9_989
    assert group.start_for(15) == 15  # forgotten: correct, if not shared


def test_groups_are_found_by_what_changes() -> None:
    index = GroupIndex()
    wanted = [
        EVERYTHING,
        WatchFilter("a"),
        WatchFilter("", frozenset({"s"})),
        WatchFilter("a", frozenset({"s", "t"})),
    ]
    groups = [index.join(each, 0) for each in wanted]
    assert index.join(wanted[0], 0) is groups[0]
    assert set(index.concerned("a", "s")) == set(groups)
    assert set(index.concerned("a", "x")) == set(groups[:2])
    assert set(index.concerned("b", "s")) == {groups[0], groups[2]}
    for subject in [("a", "s"), ("a", "x"), ("b", "t")]:
        assert {group.wanted for group in index.concerned(*subject)} == {
            each for each in wanted if each.matches(*subject)
        }
    index.leave(groups[0])
    assert groups[0] in index.concerned("c", "c")
    for group in groups:
        index.leave(group)
    assert index.all() == []
    assert index.concerned("a", "s") == []
