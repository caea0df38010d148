"""Messages and calls between real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from registry.transport.transports import (
    FAST,
    Node,
    connect,
    connected,
    error_of,
    heartbeat,
    pair,
    running,
    until,
)

from tianlu_registry.errors import (
    InvalidArgument,
    InvariantBroken,
    LeaseNotFound,
    RequestTimeout,
    StorageFailed,
    Unavailable,
)
from tianlu_registry.raft import (
    AppendEntries,
    Entry,
    Index,
    InstallSnapshot,
    MemberId,
    SnapshotMeta,
    Term,
)
from tianlu_registry.transport import CannotListen, PeerUnreachable
from tianlu_registry.transport.connection import Connection
from tianlu_registry.transport.dialer import Dialer
from tianlu_registry.transport.handshake import Remote

ONE, TWO = MemberId(1), MemberId(2)


def append(first: int, count: int, size: int = 200) -> AppendEntries:
    entries = tuple(Entry(Term(1), Index(first + i), bytes(size)) for i in range(count))
    return AppendEntries(TWO, ONE, Term(1), Index(first - 1), Term(1), entries, Index(first - 1))


async def test_messages_arrive_in_order_in_both_directions(tmp_path: Path) -> None:
    async with pair(tmp_path) as (one, node_one, two, node_two):
        to_two = [heartbeat(1, 2, commit) for commit in range(500)]
        to_one = [heartbeat(2, 1, commit) for commit in range(500)]
        for forth, back in zip(to_two, to_one, strict=True):
            one.send([forth])
            two.send([back])
        await until(lambda: len(node_two.messages) == 500 == len(node_one.messages))
        assert node_two.messages == to_two
        assert node_one.messages == to_one
        assert node_one.unreachable == []


async def test_large_messages_arrive_whole(tmp_path: Path) -> None:
    async with pair(tmp_path) as (one, _, _, node_two):
        sent = [append(1, 300), append(301, 1, size=8 * 1024 * 1024), append(302, 5000)]
        one.send(sent)
        await until(lambda: len(node_two.messages) == 3)
        assert node_two.messages == sent


async def test_unix_sockets_carry_the_same(tmp_path: Path) -> None:
    async with (
        running(1, tmp_path, listen=[f"unix:{tmp_path}/one.sock"]) as (one, _),
        running(2, tmp_path, listen=[f"unix:{tmp_path}/two.sock"]) as (two, node_two),
    ):
        connect(one, two)
        await until(lambda: connected(one, 2))
        one.send([heartbeat(1, 2)])
        await until(lambda: node_two.messages)
        assert (tmp_path / "two.sock").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "two.sock").exists()


async def test_what_cannot_be_sent_is_reported_in_a_later_turn(tmp_path: Path) -> None:
    async with running(1, tmp_path) as (one, node):
        one.set_peers({TWO: ("http://127.0.0.1:1",)})
        one.send([heartbeat(1, 2), heartbeat(1, 2), heartbeat(1, 3)])
        assert node.unreachable == []
        await until(lambda: node.unreachable)
        assert sorted(node.unreachable) == [2, 3]
        assert one.peer_status()[TWO].dropped == 2


async def test_a_raft_snapshot_is_no_message(tmp_path: Path) -> None:
    message = InstallSnapshot(TWO, ONE, Term(1), SnapshotMeta(Index(1), Term(1)))
    async with running(1, tmp_path) as (one, _):
        with pytest.raises(InvariantBroken):
            one.send([message])


async def test_a_member_that_comes_back_is_connected_again(tmp_path: Path) -> None:
    async with running(1, tmp_path) as (one, node_one):
        async with running(2, tmp_path) as (two, _):
            connect(one, two)
            await until(lambda: connected(one, 2))
            port = two.addresses[0]
        await until(lambda: not connected(one, 2))
        assert TWO in node_one.unreachable
        async with running(2, tmp_path, listen=[port]) as (two, node_two):
            await until(lambda: connected(one, 2))
            one.send([heartbeat(1, 2)])
            await until(lambda: node_two.messages)
        assert one.peer_status()[TWO].connects == 2


async def test_another_url_is_tried_when_one_does_not_answer(tmp_path: Path) -> None:
    async with running(1, tmp_path) as (one, _), running(2, tmp_path) as (two, node_two):
        one.set_peers({TWO: ("http://127.0.0.1:1", *two.addresses)})
        await until(lambda: connected(one, 2))
        one.send([heartbeat(1, 2)])
        await until(lambda: node_two.messages)


async def test_peers_that_are_dropped_or_moved_are_left(tmp_path: Path) -> None:
    async with pair(tmp_path) as (one, _, _two, node_two):
        async with running(2, tmp_path) as (moved, node_moved):
            one.set_peers({TWO: moved.addresses})
            await until(lambda: connected(one, 2))
            one.send([heartbeat(1, 2)])
            await until(lambda: node_moved.messages)
            assert node_two.messages == []
        one.set_peers({})
        assert one.peer_status() == {}


async def test_status_tells_of_traffic(tmp_path: Path) -> None:
    async with pair(tmp_path) as (one, _, _, node_two):
        one.send([heartbeat(1, 2)])
        await until(lambda: node_two.messages)
        await until(lambda: one.peer_status()[TWO].round_trip_seconds is not None)
        status = one.peer_status()[TWO]
        assert status.connected
        assert status.release == "release-2"
        assert status.messages_sent == 1
        assert status.bytes_sent > 10
        assert status.bytes_received > 0
        assert status.last_error == ""


async def test_calls_are_answered_side_by_side(tmp_path: Path) -> None:
    async with pair(tmp_path) as (one, _, _, node_two):
        gate = asyncio.Event()

        async def answer(_sender: MemberId, method: str, payload: bytes) -> bytes:
            if method == "slow":
                await gate.wait()
            return payload[::-1]

        node_two.answer = answer
        slow = asyncio.create_task(one.call(TWO, "slow", b"abc", 30))
        assert await one.call(TWO, "quick", b"xyz", 30) == b"zyx"
        assert not slow.done()
        gate.set()
        assert await slow == b"cba"
        assert node_two.calls[0][0] == ONE


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (LeaseNotFound(), LeaseNotFound),
        (LeaseNotFound("tianlu: another text"), LeaseNotFound),
        (InvalidArgument("field", "is wrong"), InvalidArgument),
        (PeerUnreachable("tianlu: x"), Unavailable),
        (StorageFailed("tianlu: disk"), Unavailable),
        (ValueError("a bug"), Unavailable),
    ],
)
async def test_errors_travel(
    tmp_path: Path, raised: Exception, seen: type, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair(tmp_path) as (one, _, _, node_two):

        async def answer(_sender: MemberId, _method: str, _payload: bytes) -> bytes:
            raise raised

        node_two.answer = answer
        error = await error_of(one.call(TWO, "any", b"", 30))
        assert type(error) is seen
        if not isinstance(raised, ValueError):
            assert str(error) == str(raised)
        else:
            assert "peer_call_failed" in caplog.text


async def test_a_call_ends_at_its_deadline_on_both_sides(tmp_path: Path) -> None:
    async with pair(tmp_path) as (one, _, _, node_two):
        cancelled = asyncio.Event()

        async def answer(_sender: MemberId, _method: str, _payload: bytes) -> bytes:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return b""

        node_two.answer = answer
        assert type(await error_of(one.call(TWO, "any", b"", 0.2))) is RequestTimeout
        await asyncio.wait_for(cancelled.wait(), 30)


async def test_a_stranger_may_call_what_is_open_to_it(tmp_path: Path) -> None:
    async with (
        running(2, tmp_path) as (two, node_two),
        running(0, tmp_path, cluster=0, listen=()) as (stranger, _),
    ):
        url = two.addresses[0]
        assert await stranger.call(url, "members", b"?", 30) == b"members:?"
        assert node_two.calls == [(0, "members", b"?")]
        error = await error_of(stranger.call(url, "state_hash", b"", 30))
        assert "members of the cluster only" in str(error)
        assert len(node_two.calls) == 1


async def test_calls_to_nobody_fail_at_once(tmp_path: Path) -> None:
    async with running(1, tmp_path) as (one, _):
        one.set_peers({TWO: ("http://127.0.0.1:1",)})
        assert isinstance(await error_of(one.call(TWO, "any", b"", 30)), PeerUnreachable)
        assert isinstance(await error_of(one.call(MemberId(9), "any", b"", 30)), PeerUnreachable)
        assert isinstance(await error_of(one.call("nonsense", "any", b"", 30)), PeerUnreachable)


async def test_a_call_fails_when_its_connection_ends(tmp_path: Path) -> None:
    async with running(1, tmp_path, limits=FAST) as (one, _):
        node_two = Node()
        async with running(2, tmp_path, node=node_two) as (two, _):

            async def answer(_sender: MemberId, _method: str, _payload: bytes) -> bytes:
                await asyncio.Event().wait()
                return b""

            node_two.answer = answer
            connect(one, two)
            call = asyncio.create_task(error_of(one.call(TWO, "any", b"", 60)))
            await until(lambda: node_two.calls)
        assert isinstance(await call, PeerUnreachable)


async def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    async with running(1, tmp_path) as (one, _):
        with pytest.raises(CannotListen, match="already in use"):
            async with running(2, tmp_path, listen=["http://127.0.0.1:0", *one.addresses]):
                pass
        with pytest.raises(CannotListen, match="--peer-cert-file"):
            async with running(2, tmp_path, listen=["https://127.0.0.1:0"]):
                pass


@pytest.mark.parametrize("host", ["a..b", "x" * 70, ".test"])
async def test_host_names_that_cannot_be_are_tried_and_named(tmp_path: Path, host: str) -> None:
    async with running(1, tmp_path) as (one, _), running(2, tmp_path) as (two, _):
        one.set_peers({TWO: (f"http://{host}:1", *two.addresses)})
        await until(lambda: connected(one, 2), "the other URL is tried")


async def test_a_bug_in_dialling_is_logged_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dial = Dialer.dial
    failures = iter([KeyError("a bug")])

    async def failing(self: Dialer, kind: int) -> tuple[Connection, Remote]:
        for failure in failures:
            raise failure
        return await dial(self, kind)

    monkeypatch.setattr(Dialer, "dial", failing)
    async with running(1, tmp_path) as (one, _), running(2, tmp_path) as (two, _):
        one.set_peers({TWO: two.addresses})
        await until(lambda: connected(one, 2))
    assert "a bug" in caplog.text
