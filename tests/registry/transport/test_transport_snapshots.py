"""raft_snapshots between real sockets: whole, resumed, damaged, refused."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from registry.transport.relay import relaying
from registry.transport.transports import (
    FAST,
    Node,
    connect,
    connected,
    heartbeat,
    pair,
    running,
    until,
)

from tianlu_registry.raft import (
    ConfState,
    Index,
    InstallSnapshot,
    MemberId,
    SnapshotMeta,
    Term,
)
from tianlu_registry.transport import SnapshotSource, TransportLimits
from tianlu_registry.transport.snapshot_sender import Pace

ONE, TWO, THREE = MemberId(1), MemberId(2), MemberId(3)
MIB = 1024 * 1024


def install(index: int = 7, sender: MemberId = ONE) -> InstallSnapshot:
    conf = ConfState((ONE, TWO, THREE))
    return InstallSnapshot(TWO, sender, Term(3), SnapshotMeta(Index(index), Term(2), conf))


class Copies:
    """Makes copies of some bytes and sees to it that each is released."""

    def __init__(self, directory: Path, size: int, seed: int = 1) -> None:
        self.data = random.Random(seed).randbytes(size)
        self.path = directory / f"copy-{seed}"
        self.made = 0
        self.released = 0

    def of(self, message: InstallSnapshot) -> Callable[[], Awaitable[SnapshotSource]]:
        async def copy() -> SnapshotSource:
            self.made += 1
            self.path.write_bytes(self.data)
            return SnapshotSource(message, self.path, self.release)

        return copy

    def release(self) -> None:
        self.released += 1


async def test_a_raft_snapshot_arrives_whole(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 3 * MIB + 17)
    async with pair(tmp_path) as (one, node_one, _, node_two):
        # The copy may stand at a later position than was asked for.
        one.send_snapshot(install(7), copies.of(install(9)))
        await until(lambda: node_one.sent)
        assert node_one.sent == [(TWO, True)]
        assert node_two.snapshots == [(install(9), copies.data)]
        assert (copies.made, copies.released) == (1, 1)
        assert one.peer_status()[TWO].snapshots_sent == 1
        assert list((tmp_path / "snapshots-2").iterdir()) == []


async def test_one_that_cannot_be_installed_is_reported_and_not_sent_again(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 1000)
    async with pair(tmp_path) as (one, node_one, _, node_two):
        node_two.installs = False
        one.send_snapshot(install(), copies.of(install()))
        await until(lambda: node_one.sent)
        assert node_one.sent == [(TWO, False)]
        assert len(node_two.snapshots) == 1
        assert copies.released == 1
        assert one.peer_status()[TWO].snapshots_failed == 1


async def test_a_copy_that_fails_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def copy() -> SnapshotSource:
        raise OSError("no room for a copy")

    async with pair(tmp_path) as (one, node_one, _, _):
        one.send_snapshot(install(), copy)
        await until(lambda: node_one.sent)
        assert node_one.sent == [(TWO, False)]
        assert "no room for a copy" in caplog.text


async def test_a_broken_transfer_goes_on_where_it_ended(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 6 * MIB)
    async with (
        running(1, tmp_path) as (one, node_one),
        running(2, tmp_path) as (two, node_two),
        relaying(two.addresses[0]) as relay,
    ):
        one.set_peers({TWO: (relay.url,)})
        await until(lambda: connected(one, 2))
        relay.break_after(4 * MIB)
        one.send_snapshot(install(), copies.of(install()))
        await until(lambda: node_one.sent)
        assert node_one.sent == [(TWO, True)]
        assert node_two.snapshots == [(install(), copies.data)]
        assert relay.broken == 1
        # All of it once, and at most what was under way twice.
        assert relay.bytes_forth < 6 * MIB + 3 * MIB


async def test_damage_on_the_way_is_found_and_mended(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 2 * MIB)
    async with (
        running(1, tmp_path) as (one, node_one),
        running(2, tmp_path) as (two, node_two),
        relaying(two.addresses[0]) as relay,
    ):
        one.set_peers({TWO: (relay.url,)})
        await until(lambda: connected(one, 2))
        relay.damage(copies.data[MIB : MIB + 16])
        one.send_snapshot(install(), copies.of(install()))
        await until(lambda: node_one.sent)
        assert relay.damaged == 1
        assert node_one.sent == [(TWO, True)]
        assert node_two.snapshots == [(install(), copies.data)]


async def test_an_unreachable_member_is_given_up_after_some_attempts(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 1000)
    async with running(1, tmp_path) as (one, node_one):
        one.set_peers({TWO: ("http://127.0.0.1:1",)})
        one.send_snapshot(install(), copies.of(install()))
        await until(lambda: node_one.sent)
        assert node_one.sent == [(TWO, False)]
        assert copies.released == 1


async def test_a_member_that_is_dropped_gets_no_more(tmp_path: Path) -> None:
    async with running(1, tmp_path) as (one, node_one):
        one.set_peers({TWO: ("http://127.0.0.1:1",)})

        async def copy() -> SnapshotSource:
            await asyncio.Event().wait()
            raise AssertionError

        one.send_snapshot(install(), copy)
        one.set_peers({})
        await until(lambda: node_one.sent)
        assert node_one.sent == [(TWO, False)]
        one.send_snapshot(install(), copy)
        await until(lambda: len(node_one.sent) == 2)


async def test_a_newer_one_takes_the_place_of_an_older(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def stuck() -> SnapshotSource:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    copies = Copies(tmp_path, 1000)
    async with pair(tmp_path) as (one, node_one, _, node_two):
        one.send_snapshot(install(5), stuck)
        await started.wait()
        one.send_snapshot(install(7), copies.of(install(7)))
        await until(lambda: node_one.sent)
        assert node_one.sent == [(TWO, True)]
        assert [message.snapshot.index for message, _ in node_two.snapshots] == [7]


async def test_one_comes_in_at_a_time_and_the_other_sender_waits(tmp_path: Path) -> None:
    installing = asyncio.Event()
    go_on = asyncio.Event()

    class SlowNode(Node):
        async def on_snapshot(self, message: InstallSnapshot, path: Path) -> bool:
            installing.set()
            await go_on.wait()
            return await super().on_snapshot(message, path)

    patient = replace(FAST, snapshot_attempts_max=1000)
    async with (
        running(1, tmp_path, limits=patient) as (one, node_one),
        running(2, tmp_path, node=SlowNode()) as (two, node_two),
        running(3, tmp_path, limits=patient) as (three, node_three),
    ):
        connect(one, two, three)
        first, second = Copies(tmp_path, 1000, seed=1), Copies(tmp_path, 2000, seed=2)
        one.send_snapshot(install(), first.of(install()))
        await installing.wait()
        three.send_snapshot(install(8, THREE), second.of(install(8, THREE)))
        await until(lambda: second.made)
        assert node_two.snapshots == []
        go_on.set()
        await until(lambda: node_one.sent and node_three.sent)
        assert node_one.sent == node_three.sent == [(TWO, True)]
        assert [data for _, data in node_two.snapshots] == [first.data, second.data]


async def test_a_result_that_is_lost_is_told_again_without_the_data(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 4 * MIB)
    installing = asyncio.Event()
    go_on = asyncio.Event()

    class SlowNode(Node):
        async def on_snapshot(self, message: InstallSnapshot, path: Path) -> bool:
            installing.set()
            await go_on.wait()
            return await super().on_snapshot(message, path)

    async with (
        running(1, tmp_path) as (one, node_one),
        running(2, tmp_path, node=SlowNode()) as (two, node_two),
        relaying(two.addresses[0]) as relay,
    ):
        one.set_peers({TWO: (relay.url,)})
        one.send_snapshot(install(), copies.of(install()))
        await installing.wait()
        await relay.break_all()
        go_on.set()
        await until(lambda: node_one.sent)
        assert node_one.sent == [(TWO, True)]
        assert len(node_two.snapshots) == 1
        assert relay.bytes_forth < 5 * MIB


async def test_messages_do_not_wait_for_a_raft_snapshot(tmp_path: Path) -> None:
    limits = replace(FAST, snapshot_bytes_per_second=MIB)
    copies = Copies(tmp_path, 16 * MIB)
    async with pair(tmp_path, limits=limits) as (one, node_one, _, node_two):
        one.send_snapshot(install(), copies.of(install()))
        await until(lambda: list((tmp_path / "snapshots-2").glob("*.part")))
        one.send([heartbeat(1, 2)])
        await until(lambda: node_two.messages)
        assert node_one.sent == []


async def test_what_was_left_by_an_earlier_run_is_gone_on_with_or_removed(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 3 * MIB)
    directory = tmp_path / "snapshots-2"
    directory.mkdir()
    digest = hashlib.sha256(copies.data).hexdigest()
    (directory / f"peer-{1:016x}-7-2-{digest}.part").write_bytes(copies.data[: 2 * MIB])
    (directory / "peer-untaken.received").write_bytes(b"x")
    (directory / "peer-other.part").write_bytes(b"x")
    (directory / "somebody-elses.part").write_bytes(b"x")
    async with pair(tmp_path) as (one, node_one, _, node_two):
        one.send_snapshot(install(), copies.of(install()))
        await until(lambda: node_one.sent)
        assert node_two.snapshots == [(install(), copies.data)]
        assert one.peer_status()[TWO].bytes_sent < 2 * MIB
        assert [path.name for path in directory.iterdir()] == ["somebody-elses.part"]


async def test_one_that_is_too_large_is_refused(tmp_path: Path) -> None:
    copies = Copies(tmp_path, 1000)
    limits = replace(FAST, snapshot_bytes_max=999)
    async with pair(tmp_path, limits=limits) as (one, node_one, _, node_two):
        one.send_snapshot(install(), copies.of(install()))
        await until(lambda: node_one.sent)
        assert node_one.sent == [(TWO, False)]
        assert node_two.snapshots == []


async def test_one_for_which_there_is_no_room_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tianlu_registry.transport.snapshot_file.FREE_BYTES_MIN", 1 << 60)
    copies = Copies(tmp_path, 1000)
    async with pair(tmp_path) as (one, node_one, _, _):
        one.send_snapshot(install(), copies.of(install()))
        await until(lambda: node_one.sent)
        assert node_one.sent == [(TWO, False)]


def test_the_pace_is_even_and_saves_nothing_up() -> None:
    now = 100.0
    pace = Pace(lambda: now, 1000)
    assert pace.take(500) == pytest.approx(0.5)
    assert pace.take(500) == pytest.approx(1.0)
    now = 200.0
    assert pace.take(100) == pytest.approx(0.1)


def test_the_limits_fit_each_other() -> None:
    assert TransportLimits().send_queue_bytes_max >= TransportLimits().frame_bytes_max
