"""What the transport does with those who do not keep to the protocol, or do not keep up."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registry.transport.raw_peer import CALL, LOG, SNAPSHOT, raw_peer
from registry.transport.relay import relaying
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

from tianlu._proto.v1 import peer_pb2 as pb
from tianlu_registry.errors import TooManyRequests
from tianlu_registry.raft import (
    AppendEntries,
    ConfState,
    Entry,
    Index,
    InstallSnapshot,
    MemberId,
    Message,
    SnapshotMeta,
    Term,
)
from tianlu_registry.transport import PeerUnreachable
from tianlu_registry.transport.codec import encode_message, to_proto
from tianlu_registry.transport.frames import MAGIC, PREFACE, FrameKind

ONE, TWO, THREE = MemberId(1), MemberId(2), MemberId(3)


async def still_serves(two_url: str, node_two: Node, tmp_path: Path) -> None:
    """Check that a good member gets through to member 2."""
    before = len(node_two.messages)
    async with running(3, tmp_path, listen=()) as (three, _):
        three.set_peers({TWO: (two_url,)})
        await until(lambda: connected(three, 2), "a good member connects")
        three.send([heartbeat(3, 2)])
        await until(lambda: len(node_two.messages) > before)


@pytest.mark.parametrize(
    ("data", "logged"),
    [
        (b"\x00" * 5000, "does not speak the peer protocol"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "speaks HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "speaks TLS"),
        (PREFACE + b"\xff\xff\xff\xff\x01", "a frame of 4294967295 bytes"),
        (PREFACE + b"\x00\x00\x00\x00\x01", "a frame of 0 bytes"),
        (PREFACE + b"\x01\x20\x00\x00\x01" + bytes(8192), "a frame of 8193 bytes"),
        (PREFACE + b"\x02\x00\x00\x00\x05x", "kind 5 where it cannot be"),
        (PREFACE + b"\x02\x00\x00\x00\xfex", "kind 254 where it cannot be"),
        (PREFACE + b"\x05\x00\x00\x00\x01\xff\xff\xff\xff", "cannot be parsed"),
    ],
)
async def test_who_does_not_shake_hands_is_closed_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes, logged: str
) -> None:
    async with running(2, tmp_path) as (two, node_two):
        for _ in range(3):
            async with raw_peer(two.addresses[0]) as raw:
                raw.write(data)
                assert await raw.is_closed()
        assert caplog.text.count(logged) == 1
        await still_serves(two.addresses[0], node_two, tmp_path)


@pytest.mark.parametrize("start", [b"", PREFACE, PREFACE + b"\x20\x00\x00\x00\x01half"])
async def test_who_dawdles_in_the_handshake_is_closed(tmp_path: Path, start: bytes) -> None:
    limits = replace(FAST, handshake_seconds=0.2)
    async with running(2, tmp_path, limits=limits) as (two, _), raw_peer(two.addresses[0]) as raw:
        raw.write(start)
        assert await raw.is_closed()


async def test_silent_connections_keep_no_member_out(tmp_path: Path) -> None:
    limits = replace(FAST, connections_max=4)
    async with running(2, tmp_path, limits=limits) as (two, node_two), AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(raw_peer(two.addresses[0])) for _ in range(10)]
        # Six had to go for the last ones, and one more goes for the member.
        for raw in silent[:6]:
            assert await raw.is_closed()
        await still_serves(two.addresses[0], node_two, tmp_path)


async def test_beyond_the_maximum_of_members_connections_are_closed(tmp_path: Path) -> None:
    limits = replace(FAST, connections_max=1)
    async with running(2, tmp_path, limits=limits) as (two, _), raw_peer(two.addresses[0]) as raw:
        await raw.hello()
        async with raw_peer(two.addresses[0]) as further:
            assert await further.is_closed()
        raw.close()
        async with AsyncExitStack() as stack:
            again = await stack.enter_async_context(raw_peer(two.addresses[0]))
            # The place is free when the loop has noticed.
            for _ in range(1000):
                try:
                    assert (await again.hello()).refusal == ""
                    break
                except (ConnectionError, asyncio.IncompleteReadError):
                    again = await stack.enter_async_context(raw_peer(two.addresses[0]))
            else:
                raise AssertionError("the place was not freed")


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"cluster_id": 0xBAD}, "this is cluster c1, you are of cluster bad"),
        ({"cluster_id": 0}, "this is cluster c1, you are of cluster 0"),
        ({"receiver": 5}, "this is member 2, you want 5"),
        ({"sender": 0}, "you did not say which member you are"),
        ({"sender": 2}, "you say that you are member 2, but that is me"),
        ({"sender": 9}, "member 9 was removed"),
        ({"kind": 7}, "connections of kind 7 are not known to release release-2"),
        ({"kind": SNAPSHOT, "cluster_id": 0}, "you are of cluster 0"),
        ({"kind": CALL, "cluster_id": 0xBAD}, "you are of cluster bad"),
        ({"preface": MAGIC + b"\x09\x00"}, "version 9 of the peer protocol, the other version 1"),
    ],
)
async def test_what_does_not_fit_is_named_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], refusal: str
) -> None:
    def admit(member: MemberId) -> str | None:
        return "member 9 was removed" if member == 9 else None

    async with (
        running(2, tmp_path, admit=admit) as (two, _),
        raw_peer(two.addresses[0]) as raw,
    ):
        welcome = await raw.hello(**changes)
        assert refusal in welcome.refusal
        assert "\n" not in welcome.refusal
        assert await raw.is_closed()
        assert refusal in caplog.text


async def test_a_refused_dialler_knows_why_and_logs_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running(1, tmp_path, cluster=0xBAD, listen=()) as (one, _),
        running(2, tmp_path) as (two, _),
    ):
        one.set_peers({TWO: two.addresses})
        await until(lambda: two.accepted_count > 5, "several attempts")
        status = one.peer_status()[TWO]
        assert "this is cluster c1, you are of cluster bad" in status.last_error
        assert caplog.text.count("peer_not_connected") == 1
        assert caplog.text.count("peer_not_accepted") == 1


async def test_too_many_strangers_are_refused(tmp_path: Path) -> None:
    limits = replace(FAST, stranger_connections_max=1)
    stranger = {"kind": CALL, "sender": 0, "cluster_id": 0, "receiver": 0}
    async with (
        running(2, tmp_path, limits=limits) as (two, _),
        raw_peer(two.addresses[0]) as first,
        raw_peer(two.addresses[0]) as second,
    ):
        assert (await first.hello(**stranger)).refusal == ""
        assert "too many connections of strangers" in (await second.hello(**stranger)).refusal


SNAPSHOT_MESSAGE = InstallSnapshot(
    TWO, ONE, Term(1), SnapshotMeta(Index(1), Term(1), ConfState((ONE,)))
)


@pytest.mark.parametrize(
    ("kind", "frame_kind", "body", "logged"),
    [
        (LOG, FrameKind.MESSAGE, b"\xff\xff", "cannot be parsed"),
        (LOG, FrameKind.MESSAGE, b"", "no kind"),
        (LOG, FrameKind.MESSAGE, encode_message(heartbeat(3, 2)), "a message from 3 to 2"),
        (LOG, FrameKind.MESSAGE, encode_message(heartbeat(1, 3)), "a message from 1 to 3"),
        (LOG, FrameKind.MESSAGE, encode_message(SNAPSHOT_MESSAGE), "without its data"),
        (LOG, FrameKind.CALL, b"", "kind 6 among messages"),
        (CALL, FrameKind.CALL, b"\xff\xff", "cannot be parsed"),
        (CALL, FrameKind.CALL, b"", "without number or method"),
        (CALL, FrameKind.CALL, pb.PeerCall(id=1, method="x" * 200).SerializeToString(), "without"),
        (CALL, FrameKind.CALL, pb.PeerCall(id=1, method="x").SerializeToString(), "a deadline"),
        (CALL, FrameKind.ANSWER, b"", "kind 7 among calls"),
        (SNAPSHOT, FrameKind.SNAPSHOT_OFFER, b"\xff\xff", "cannot be parsed"),
        (SNAPSHOT, FrameKind.SNAPSHOT_OFFER, b"", "no kind"),
        (SNAPSHOT, FrameKind.SNAPSHOT_DATA, b"x", "kind 10 where it cannot be"),
        (
            SNAPSHOT,
            FrameKind.SNAPSHOT_OFFER,
            pb.PeerSnapshotOffer(
                message=to_proto(heartbeat(1, 2)), size=1, sha256=bytes(32)
            ).SerializeToString(),
            "something else than a raft_snapshot",
        ),
        (
            SNAPSHOT,
            FrameKind.SNAPSHOT_OFFER,
            pb.PeerSnapshotOffer(message=to_proto(SNAPSHOT_MESSAGE), size=1).SerializeToString(),
            "without size or digest",
        ),
        (
            SNAPSHOT,
            FrameKind.SNAPSHOT_OFFER,
            pb.PeerSnapshotOffer(
                message=to_proto(replace(SNAPSHOT_MESSAGE, sender=THREE)),
                size=1,
                sha256=bytes(32),
            ).SerializeToString(),
            "between other members",
        ),
    ],
)
async def test_a_member_that_misbehaves_is_closed(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: int,
    frame_kind: FrameKind,
    body: bytes,
    logged: str,
) -> None:
    async with running(2, tmp_path) as (two, node_two), raw_peer(two.addresses[0]) as raw:
        assert (await raw.hello(kind=kind)).refusal == ""
        raw.frame(frame_kind, body)
        assert await raw.is_closed()
        assert "peer_misbehaved" in caplog.text
        assert logged in caplog.text
        assert node_two.messages == []
        assert node_two.calls == []


async def test_a_raft_snapshot_of_another_size_than_offered_is_not_taken(tmp_path: Path) -> None:
    async with running(2, tmp_path) as (two, node_two), raw_peer(two.addresses[0]) as raw:
        await raw.hello(kind=SNAPSHOT)
        offer = pb.PeerSnapshotOffer(message=to_proto(SNAPSHOT_MESSAGE), size=10, sha256=bytes(32))
        raw.frame(FrameKind.SNAPSHOT_OFFER, offer.SerializeToString())
        await raw.answer_of_kind(FrameKind.SNAPSHOT_RESUME)
        raw.frame(FrameKind.SNAPSHOT_DATA, bytes(11))
        assert await raw.is_closed()
        assert node_two.snapshots == []


async def test_a_handler_that_fails_costs_a_connection_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Node):
        fails = True

        def on_messages(self, messages: list[Message]) -> None:
            if self.fails:
                self.fails = False
                raise ValueError("a bug")
            super().on_messages(messages)

        def on_unreachable(self, member: MemberId) -> None:
            super().on_unreachable(member)
            raise ValueError("another bug")

    async with running(1, tmp_path, node=Failing()) as (one, node_one):
        async with running(2, tmp_path, node=Failing()) as (two, node_two):
            connect(one, two)
            await until(lambda: connected(one, 2))
            one.send([heartbeat(1, 2)])
            await until(lambda: one.peer_status()[TWO].connects == 2 and connected(one, 2))
            one.send([heartbeat(1, 2)])
            await until(lambda: node_two.messages)
        await until(lambda: not connected(one, 2) and node_one.unreachable)
    assert "a bug" in caplog.text
    assert "another bug" in caplog.text


def large_append(number: int) -> AppendEntries:
    entry = Entry(Term(1), Index(number + 1), bytes(1024 * 1024))
    return AppendEntries(TWO, ONE, Term(1), Index(number), Term(1), (entry,), Index(0))


async def test_a_stalled_member_is_noticed_and_its_queue_is_bounded(tmp_path: Path) -> None:
    queue_max = 8 * 1024 * 1024
    limits = replace(
        FAST, dead_after_seconds=0.4, send_queue_bytes_max=queue_max, frame_bytes_max=queue_max
    )
    async with (
        running(1, tmp_path, limits=limits) as (one, node_one),
        running(2, tmp_path, limits=limits) as (two, node_two),
        relaying(two.addresses[0]) as relay,
    ):
        one.set_peers({TWO: (relay.url,)})
        await until(lambda: connected(one, 2))
        relay.stall()
        queued = 0
        number = 0
        while connected(one, 2):
            one.send([large_append(number)])
            number += 1
            queued = max(queued, one.peer_status()[TWO].queue_bytes)
            await asyncio.sleep(0.001)
        assert 0 < queued <= queue_max
        status = one.peer_status()[TWO]
        assert status.queue_bytes == 0
        assert status.dropped > 0
        assert "nothing was heard" in status.last_error
        await until(lambda: TWO in node_one.unreachable)
        relay.resume()
        await until(lambda: connected(one, 2), "it is connected again")
        received = len(node_two.messages)
        one.send([heartbeat(1, 2)])
        await until(lambda: len(node_two.messages) > received)


async def test_who_is_dialled_notices_that_nothing_is_heard(tmp_path: Path) -> None:
    limits = replace(FAST, dead_after_seconds=0.2)
    async with running(2, tmp_path, limits=limits) as (two, _), raw_peer(two.addresses[0]) as raw:
        await raw.hello()
        assert await raw.is_closed()


async def test_a_newer_connection_of_a_member_takes_the_place_of_the_older(
    tmp_path: Path,
) -> None:
    async with (
        running(2, tmp_path) as (two, node_two),
        raw_peer(two.addresses[0]) as first,
        raw_peer(two.addresses[0]) as second,
    ):
        await first.hello()
        await second.hello()
        assert await first.is_closed()
        second.frame(FrameKind.MESSAGE, encode_message(heartbeat(1, 2)))
        await until(lambda: node_two.messages)


async def test_calls_under_way_are_bounded_on_both_sides(tmp_path: Path) -> None:
    limits = replace(FAST, calls_max=3)
    async with pair(tmp_path, limits=limits) as (one, _, two, node_two):
        go_on = asyncio.Event()
        running_now = peak = 0

        async def answer(_sender: MemberId, _method: str, _payload: bytes) -> bytes:
            nonlocal running_now, peak
            running_now += 1
            peak = max(peak, running_now)
            await go_on.wait()
            running_now -= 1
            return b"done"

        node_two.answer = answer
        calls = [asyncio.create_task(one.call(TWO, "any", b"", 60)) for _ in range(3)]
        await until(lambda: running_now == 3)
        assert isinstance(await error_of(one.call(TWO, "any", b"", 60)), TooManyRequests)
        async with raw_peer(two.addresses[0]) as raw:
            await raw.hello(kind=CALL, sender=3)
            for number in range(1, 4000):
                body = pb.PeerCall(
                    id=number, method="any", timeout_milliseconds=60_000, payload=bytes(1000)
                )
                raw.frame(FrameKind.CALL, body.SerializeToString())
            await until(lambda: running_now > 3)
            go_on.set()
            assert await asyncio.gather(*calls) == [b"done"] * 3
            for _ in range(1, 4000):
                await raw.answer_of_kind(FrameKind.ANSWER)
        # What was read already (1 MiB and a piece) is taken before reading pauses.
        assert peak < 2000


async def test_answers_that_are_not_asked_for_and_none_at_all(tmp_path: Path) -> None:
    """A peer that answers the wrong way fails the call, not the process."""

    async def misbehave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        welcome = pb.PeerWelcome(cluster_id=0xC1, member=2).SerializeToString()
        answer = pb.PeerAnswer(id=99, payload=b"x").SerializeToString()
        writer.write(PREFACE)
        for kind, body in (
            (FrameKind.WELCOME, welcome),
            (FrameKind.ANSWER, answer),
            (FrameKind.ANSWER, b"\xff"),
        ):
            writer.write((len(body) + 1).to_bytes(4, "little") + bytes([kind]) + body)
        await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(misbehave, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with running(1, tmp_path) as (one, _):
        one.set_peers({TWO: (url,)})
        assert isinstance(await error_of(one.call(TWO, "any", b"", 60)), PeerUnreachable)
    server.close()
    await server.wait_closed()


async def test_the_wrong_member_behind_an_address_is_not_talked_to(tmp_path: Path) -> None:
    async with running(1, tmp_path) as (one, _), running(3, tmp_path) as (three, _):
        one.set_peers({TWO: three.addresses})
        await until(lambda: "this is member 3" in one.peer_status()[TWO].last_error)
        assert not connected(one, 2)


async def test_stopping_twice_and_using_what_has_stopped(tmp_path: Path) -> None:
    async with running(1, tmp_path) as (one, node):
        one.set_peers({TWO: ("http://127.0.0.1:1",)})
        await one.stop()
        await one.stop()
        one.set_peers({TWO: ("http://127.0.0.1:1",)})
        one.send([heartbeat(1, 2)])
        assert isinstance(await error_of(one.call(TWO, "any", b"", 60)), PeerUnreachable)
        assert node.unreachable == []


async def test_a_message_larger_than_a_frame_is_not_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = replace(FAST, frame_bytes_max=1024 * 1024)
    async with pair(tmp_path, limits=limits) as (one, node_one, _, node_two):
        one.send([large_append(1), heartbeat(1, 2)])
        await until(lambda: node_two.messages)
        assert node_two.messages == [heartbeat(1, 2)]
        assert node_one.unreachable == [TWO]
        assert "peer_message_too_large" in caplog.text
        assert connected(one, 2)


async def test_a_member_that_is_dropped_is_closed_and_may_be_refused(tmp_path: Path) -> None:
    removed: set[MemberId] = set()

    def admit(member: MemberId) -> str | None:
        return f"member {member:x} was removed" if member in removed else None

    async with running(1, tmp_path) as (one, _), running(2, tmp_path, admit=admit) as (two, _):
        connect(one, two)
        await until(lambda: connected(one, 2) and connected(two, 1))
        removed.add(ONE)
        two.set_peers({})
        await until(lambda: "member 1 was removed" in one.peer_status()[TWO].last_error)
        assert two.peer_status() == {}
