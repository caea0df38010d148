"""When a node compacts unasked: the schedules on a clock of the test's, and a node that does it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from registry.engine.calls import put, until
from registry.node.nodes import running, small

from tianlu._proto.etcd.rpc_pb2 import CompactionRequest, RangeRequest
from tianlu_registry.errors import Compacted, InvalidArgument, RequestTimeout, TooManyRequests
from tianlu_registry.node.auto_compaction import AutoCompactor, schedule_of
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.compaction_schedule import (
    CompactionSchedule,
    PeriodicSchedule,
    RevisionSchedule,
)
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.node.metrics import NodeCollector

HOUR = 3600


def compactions(
    schedule: CompactionSchedule, seconds: int, *, step: int = 1, per_second: int = 1
) -> list[tuple[int, int]]:
    """Run time and revisions on; return when what was compacted."""
    done = []
    for now in range(0, seconds + 1, step):
        revision = schedule.due(now, 1 + now * per_second)
        if revision is not None:
            done.append((now, revision))
            schedule.compacted(revision)
    return done


def test_a_short_period_is_compacted_once_a_period() -> None:
    done = compactions(PeriodicSchedule(600, 0), 2000)
    assert done == [(600, 1), (1200, 601), (1800, 1201)]


def test_a_long_period_is_compacted_every_hour() -> None:
    done = compactions(PeriodicSchedule(3 * HOUR, 0), 5 * HOUR, step=10)
    assert done == [(3 * HOUR, 1), (4 * HOUR, HOUR + 1), (5 * HOUR, 2 * HOUR + 1)]


def test_a_quiet_store_is_compacted_once() -> None:
    assert compactions(PeriodicSchedule(60, 0), 1000, per_second=0) == [(60, 1)]


def test_a_failed_periodic_compaction_is_due_at_the_next_sample() -> None:
    schedule = PeriodicSchedule(100, 0)
    due = {now: schedule.due(now, 1 + now) for now in range(125)}
    assert {now: revision for now, revision in due.items() if revision} == {
        100: 1,
        110: 11,
        120: 21,
    }


@given(
    period=st.floats(1, 30 * HOUR),
    steps=st.lists(st.tuples(st.floats(0.01, 5 * HOUR), st.integers(0, 50)), max_size=300),
)
def test_what_is_younger_than_the_period_is_never_compacted(
    period: float, steps: list[tuple[float, int]]
) -> None:
    """Compares with the whole history; the samples stay bounded, pauses or not."""
    schedule = PeriodicSchedule(period, 0.0)
    now, revision, history, last = 0.0, 1, [(0.0, 1)], 0
    for seconds, writes in steps:
        now, revision = now + seconds, revision + writes
        history.append((now, revision))
        target = schedule.due(now, revision)
        if target is not None:
            assert target > last
            assert target <= max(r for at, r in history if at <= now - period)
            last = target
            schedule.compacted(target)
        assert schedule.sample_count <= 10 * max(1.0, period / HOUR) + 2


def test_a_number_of_revisions_is_kept() -> None:
    done = compactions(RevisionSchedule(400, 0), 1000)
    assert done == [(600, 201), (900, 501)]
    assert compactions(RevisionSchedule(400, 0), 2000, per_second=0) == []


def test_a_failed_revision_compaction_is_due_at_the_next_check() -> None:
    schedule = RevisionSchedule(10, 0)
    assert [schedule.due(now, 100) for now in (299, 300, 301, 599, 600)] == [
        None,
        90,
        None,
        None,
        90,
    ]


class Harness:
    """A compactor with a schedule of the test's, whose proposals the test answers."""

    def __init__(self) -> None:
        self.due_now: int | None = 5
        self.noted: list[int] = []
        self.answers: list[asyncio.Future[Any]] = []
        self.refusal: Exception | None = None
        self.started = 0
        self.compactor = AutoCompactor(
            self, revision=lambda: 10, propose=self.propose, on_compacted=self.on_compacted
        )

    def due(self, now: float, revision: int) -> int | None:
        return self.due_now

    def compacted(self, revision: int) -> None:
        self.noted.append(revision)

    def propose(self, kind: CommandKind, request: Request) -> asyncio.Future[Any]:
        assert kind is CommandKind.COMPACTION
        assert request == CompactionRequest(revision=5)
        if self.refusal is not None:
            raise self.refusal
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]

    def on_compacted(self) -> None:
        self.started += 1

    def tick(self, *, leads: bool = True) -> int:
        """Return how many proposals there are after a tick."""
        self.compactor.tick(0.0, leads=leads)
        return len(self.answers)


async def test_one_compaction_is_proposed_at_a_time() -> None:
    harness = Harness()
    assert [harness.tick(), harness.tick()] == [1, 1]
    harness.answers[0].set_result(None)
    await asyncio.sleep(0)
    assert (harness.noted, harness.started, harness.compactor.done_count) == ([5], 1, 1)
    assert harness.tick() == 2


async def test_a_follower_proposes_nothing() -> None:
    harness = Harness()
    assert harness.tick(leads=False) == 0
    assert harness.tick(leads=True) == 1


async def test_compacted_by_somebody_else_is_done() -> None:
    harness = Harness()
    harness.tick()
    harness.answers[0].set_exception(Compacted())
    await asyncio.sleep(0)
    assert (harness.noted, harness.compactor.failed_count) == ([5], 0)


async def test_failures_are_counted_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness()
    harness.refusal = TooManyRequests()
    assert harness.tick() == 0
    harness.refusal = None
    assert harness.tick() == 1
    harness.answers[0].set_exception(RequestTimeout())
    await asyncio.sleep(0)
    assert harness.tick() == 2
    assert (harness.noted, harness.compactor.failed_count, harness.started) == ([], 2, 0)
    assert "auto_compaction.failed revision=5 error='etcdserver: request timed out'" in caplog.text


def test_which_schedule_the_settings_ask_for(tmp_path: Path) -> None:
    assert schedule_of(NodeConfig(tmp_path), 0.0) is None
    periodic = NodeConfig(tmp_path, compaction_period_seconds=60)
    assert isinstance(schedule_of(periodic, 0.0), PeriodicSchedule)
    by_number = NodeConfig(tmp_path, compaction_revisions_kept=60)
    assert isinstance(schedule_of(by_number, 0.0), RevisionSchedule)
    for wrong in (
        {"compaction_period_seconds": 0.5},
        {"compaction_period_seconds": float("inf")},
        {"compaction_revisions_kept": -1},
        {"compaction_period_seconds": 60.0, "compaction_revisions_kept": 60},
    ):
        with pytest.raises(InvalidArgument):
            NodeConfig(tmp_path, **wrong)


async def test_a_node_compacts_what_is_older_than_the_period(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    config = small(tmp_path, compaction_period_seconds=1.0, tick_milliseconds=20, election_ticks=50)
    async with running(config) as node:
        registry.register(NodeCollector(node.node))
        for number in range(5):
            await put(node.store, b"a", b"%d" % number)
        newest = node.store.header().revision
        await until(lambda: node.store.status().compact_revision == newest)
        with pytest.raises(Compacted):
            await node.store.range(RangeRequest(key=b"a", revision=newest - 1))
        assert (await node.store.range(RangeRequest(key=b"a"))).kvs[0].value == b"4"
        done = registry.get_sample_value("tianlu_registry_node_auto_compactions_total")
        assert done is not None
        assert done >= 1
        assert registry.get_sample_value("tianlu_registry_node_auto_compactions_failed_total") == 0
