"""The readers of what other members send: messages, frames, and whole connections."""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz.target import Target, damage

from tianlu._proto.v1 import peer_pb2 as pb
from tianlu_registry.raft import (
    AppendEntries,
    AppendEntriesResponse,
    ConfState,
    Entry,
    EntryType,
    ForwardedProposal,
    Heartbeat,
    Index,
    InstallSnapshot,
    MemberId,
    Message,
    ReadIndexResponse,
    RequestVote,
    RequestVoteResponse,
    SnapshotMeta,
    Term,
    TimeoutNow,
)
from tianlu_registry.transport import (
    BadPeerMessage,
    PeerAddress,
    PeerIdentity,
    Transport,
    TransportLimits,
)
from tianlu_registry.transport.codec import decode_message, encode_message, to_proto
from tianlu_registry.transport.frames import PREFACE, FrameKind, FrameReader, frame_header

ONE, TWO = MemberId(1), MemberId(2)
CLUSTER = 0xC1
FRAME_BYTES_MAX = 64 * 1024
NUMBERS = (0, 1, 2, 5, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)


def damaged_message(chance: random.Random) -> str:
    """A message is damaged. What is read must be one that could have been sent."""
    data = bytearray(encode_message(_message(chance)))
    damage(data, chance)
    return _read(bytes(data))


def hostile_message(chance: random.Random) -> str:
    """A message is well formed and lies."""
    wire = pb.PeerMessage(to=_number(chance), sender=_number(chance), term=_number(chance))
    kind = chance.choice(pb.PeerMessage.DESCRIPTOR.oneofs_by_name["kind"].fields)
    body = getattr(wire, kind.name)
    body.SetInParent()
    _fill(body, chance)
    return _read(wire.SerializeToString())


def damaged_stream(chance: random.Random) -> str:
    """Frames are damaged and arrive in pieces. Reading holds no more than what has arrived, and
    gives the same frames however they are cut."""
    data = bytearray(PREFACE + b"".join(_frame(chance) for _ in range(chance.randint(0, 8))))
    damage(data, chance)
    whole = _frames_of(bytes(data), [])
    cut = _frames_of(bytes(data), sorted(chance.randint(0, len(data)) for _ in range(5)))
    if whole != cut:
        raise AssertionError("other frames are read when the bytes come in other pieces")
    return "refused" if whole is None else "read"


def damaged_connection(chance: random.Random) -> str:
    """Somebody connects, says something, damaged or not, and goes. Nothing fails unforeseen, and a
    good member is served afterwards."""
    kind = chance.choice([1, 1, 2, 3, 3])
    hello = pb.PeerHello(
        cluster_id=CLUSTER,
        sender=chance.choice([0, 1, 1, 1, 1]),
        receiver=2,
        kind=kind,  # type: ignore[arg-type]
    )
    head = bytearray(PREFACE + _framed(FrameKind.HELLO, hello.SerializeToString()))
    tail = bytearray(b"".join(_said(kind, chance) for _ in range(chance.randint(0, 6))))
    if chance.random() < 0.6:
        damage(chance.choice([head, tail, tail, tail]), chance)
    with _failures() as failures:
        word = asyncio.run(_serve(bytes(head + tail), chance))
    if failures:
        raise AssertionError(failures[0])
    return word


def _read(data: bytes) -> str:
    try:
        message = decode_message(data)
    except BadPeerMessage:
        return "refused"
    if decode_message(encode_message(message)) != message:
        raise AssertionError(f"{message} changes when it is written and read")
    if isinstance(message, AppendEntries):
        indexes = [entry.index for entry in message.entries]
        first = message.prev_index + 1
        if indexes != list(range(first, first + len(indexes))):
            raise AssertionError(f"entries with gaps were read: {indexes[:20]}")
    return "read"


def _frames_of(data: bytes, cuts: list[int]) -> list[tuple[int, bytes]] | None:
    reader = FrameReader(FRAME_BYTES_MAX)
    frames = []
    try:
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            frames += reader.feed(data[start:end])
    except BadPeerMessage:
        return None
    return frames


class _Handler:
    """A member that believes what it is told."""

    def __init__(self) -> None:
        self.messages = 0

    def on_messages(self, messages: list[Message]) -> None:
        for message in messages:
            if message.to != TWO or message.sender not in (ONE, 3):
                raise AssertionError(f"{message} was let through")
        self.messages += len(messages)

    def on_unreachable(self, member: MemberId) -> None: ...

    async def on_call(self, sender: MemberId, method: str, payload: bytes) -> bytes:
        if sender == 0 and method != "members":
            raise AssertionError(f"a stranger may call {method}")
        return payload

    async def on_snapshot(self, message: InstallSnapshot, path: Path) -> bool:
        raise AssertionError("nobody can guess the digest")

    def on_snapshot_sent(self, member: MemberId, *, installed: bool) -> None: ...


async def _serve(data: bytes, chance: random.Random) -> str:
    handler = _Handler()
    with tempfile.TemporaryDirectory() as scratch:
        url = f"unix:{scratch}/peer"
        two = _transport(2, handler, scratch, (PeerAddress.parse(url),))
        await two.start()
        try:
            reader, writer = await asyncio.open_unix_connection(f"{scratch}/peer")
            for start in range(0, len(data), size := chance.choice([7, 100, 100_000])):
                writer.write(data[start : start + size])
                await asyncio.sleep(0)
            if chance.random() < 0.8:
                writer.write_eof()
                await _drained(reader)
            writer.transport.abort()
            three = _transport(3, handler, scratch, ())
            three.set_peers({TWO: (url,)})
            answer = await three.call(TWO, "any", b"still there", 20)
            await three.stop()
            if answer != b"still there":
                raise AssertionError(f"answered {answer!r}")
        finally:
            await two.stop()
    return "read" if handler.messages else "refused"


def _transport(
    member: int, handler: _Handler, scratch: str, listen: tuple[PeerAddress, ...]
) -> Transport:
    return Transport(
        identity=PeerIdentity(CLUSTER, MemberId(member), "fuzz"),
        handler=handler,
        snapshot_dir=Path(scratch) / "snapshots",
        listen=listen,
        limits=TransportLimits(frame_bytes_max=FRAME_BYTES_MAX, snapshot_bytes_max=1 << 20),
    )


async def _drained(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(65536):
            pass
    except ConnectionError:
        pass


@contextmanager
def _failures() -> Iterator[list[str]]:
    """Collect what is logged as an error: failures that nobody foresaw."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(self.format(record))

    collector = Collector(logging.ERROR)
    collector.setFormatter(logging.Formatter())
    loggers = [logging.getLogger(name) for name in ("tianlu_registry", "asyncio")]
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    for logger in loggers:
        logger.addHandler(collector)
    try:
        yield found
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
        logging.disable(disabled)


def _framed(kind: int, body: bytes) -> bytes:
    return frame_header(kind, len(body)) + body  # type: ignore[arg-type]


def _frame(chance: random.Random) -> bytes:
    return _framed(chance.randrange(1, 14), chance.randbytes(chance.choice([0, 5, 40, 3000])))


def _said(kind: int, chance: random.Random) -> bytes:
    """Return a frame that may be sent on a connection of that kind."""
    if chance.random() < 0.1:
        return _frame(chance)
    if kind == 1:
        return _framed(FrameKind.MESSAGE, encode_message(_message(chance)))
    if kind == 3:
        call = pb.PeerCall(
            id=chance.randint(1, 5),
            method=chance.choice(["members", "any", "x" * 300]),
            timeout_milliseconds=chance.choice([1, 1000, 2**31 - 1]),
            payload=chance.randbytes(20),
        )
        return _framed(FrameKind.CALL, call.SerializeToString())
    if chance.random() < 0.5:
        return _framed(FrameKind.SNAPSHOT_DATA, chance.randbytes(chance.choice([1, 50, 100])))
    snapshot = SnapshotMeta(Index(5), Term(1), ConfState((ONE, TWO)))
    offer = pb.PeerSnapshotOffer(
        message=to_proto(InstallSnapshot(TWO, ONE, Term(1), snapshot)),
        size=chance.choice([1, 50, 100, 1 << 20, 1 << 40]),
        sha256=bytes(chance.choice([0, 32, 32, 32])),
    )
    return _framed(FrameKind.SNAPSHOT_OFFER, offer.SerializeToString())


def _message(chance: random.Random) -> Message:
    """Return a message of member 1 to member 2."""
    to, sender, term = TWO, ONE, Term(chance.randint(3, 100))
    index = Index(chance.randint(0, 1000))
    snapshot = SnapshotMeta(Index(index + 1), Term(1), ConfState((ONE, TWO), (MemberId(9),)))
    return chance.choice(
        [
            AppendEntries(to, sender, term, index, Term(1), _entries(index, chance), index),
            AppendEntriesResponse(to, sender, term, index, rejected=True, hint_index=index),
            Heartbeat(to, sender, term, index, 7),
            RequestVote(to, sender, term, index, Term(2), pre_vote=True),
            RequestVoteResponse(to, sender, term, granted=False, commit=index),
            ForwardedProposal(to, sender, term, chance.randbytes(30)),
            ReadIndexResponse(to, sender, term, index, 99),
            InstallSnapshot(to, sender, term, snapshot),
            TimeoutNow(to, sender, term),
        ]
    )


def _entries(index: int, chance: random.Random) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            Term(1 + place // 4),
            Index(index + 1 + place),
            chance.randbytes(chance.choice([0, 10, 200])),
            chance.choice(list(EntryType)),
        )
        for place in range(chance.choice([0, 1, 3, 8]))
    )


def _number(chance: random.Random) -> int:
    return chance.choice(NUMBERS)


def _fill(body: Any, chance: random.Random) -> None:
    """Give every field of a protobuf message any value that its type allows."""
    for field in body.DESCRIPTOR.fields:
        if chance.random() < 0.2:
            continue
        if field.message_type is not None:
            below = getattr(body, field.name)
            for _ in range(chance.randint(0, 3) if field.is_repeated else 1):
                _fill(below.add() if field.is_repeated else below, chance)
        elif field.is_repeated:
            getattr(body, field.name).extend(_value(field, chance) for _ in range(3))
        else:
            setattr(body, field.name, _value(field, chance))


def _value(field: Any, chance: random.Random) -> Any:
    if field.type == field.TYPE_BYTES:
        return chance.randbytes(chance.choice([0, 1, 3, 6, 100]))
    if field.type == field.TYPE_BOOL:
        return chance.random() < 0.5
    bits = 32 if field.type == field.TYPE_UINT32 else 64
    return min(_number(chance) if chance.random() < 0.5 else chance.randint(0, 5), 2**bits - 1)


TARGETS = (
    Target("peer-message", damaged_message),
    Target("peer-message-hostile", hostile_message),
    Target("peer-stream", damaged_stream),
    Target("peer-connection", damaged_connection),
)
