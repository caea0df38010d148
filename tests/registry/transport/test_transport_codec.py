"""The codec: everything that the core says survives, nothing that it cannot say is let through."""

from __future__ import annotations

import dataclasses
import typing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from registry.transport.peer_messages import messages

from tianlu._proto.v1 import peer_pb2 as pb
from tianlu_registry.raft import AppendEntries, Entry, EntryType, Index, MemberId, Message, Term
from tianlu_registry.transport import BadPeerMessage
from tianlu_registry.transport.codec import (
    _DECODERS,
    _ENCODERS,
    NUMBER_MAX,
    decode_message,
    encode_message,
)

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that is busy with something else is no failure."""


@UNHURRIED
@given(messages)
def test_what_is_written_is_read(message: Message) -> None:
    decoded = decode_message(encode_message(message))
    assert decoded == message
    for field in dataclasses.fields(message):
        assert type(getattr(decoded, field.name)) is type(getattr(message, field.name))


def test_every_kind_of_message_has_a_codec() -> None:
    kinds: set[type] = set()
    for union in typing.get_args(Message):
        kinds |= set(typing.get_args(union)) or {union}
    assert set(_ENCODERS) == kinds
    fields = {field.name for field in pb.PeerMessage.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert set(_DECODERS) == fields
    assert len(fields) == len(kinds)


@UNHURRIED
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        message = decode_message(data)
    except BadPeerMessage:
        return
    assert decode_message(encode_message(message)) == message


@UNHURRIED
@given(messages, st.data())
def test_damaged_bytes_are_a_message_or_refused(message: Message, data: st.DataObject) -> None:
    damaged = bytearray(encode_message(message))
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_message(bytes(damaged))
    except BadPeerMessage:
        return
    assert decode_message(encode_message(decoded)) == decoded


def append(**changes: object) -> pb.PeerMessage:
    """Two entries after 10, with something changed."""
    body = pb.PeerAppendEntries(
        prev_index=10,
        prev_term=2,
        commit=10,
        sizes=[1, 2],
        data=b"abc",
        runs=[pb.PeerEntryRun(term=3, type=0, count=2)],
    )
    for name, value in changes.items():
        if isinstance(value, list):
            body.ClearField(name)  # type: ignore[arg-type]
            getattr(body, name).extend(value)
        else:
            setattr(body, name, value)
    return pb.PeerMessage(to=2, sender=1, term=4, append_entries=body)


def run(**fields: int) -> list[pb.PeerEntryRun]:
    return [pb.PeerEntryRun(**{"term": 3, "count": 2, **fields})]  # type: ignore[arg-type]


def test_entries_are_put_together_from_their_columns() -> None:
    entries = (
        Entry(Term(3), Index(11), b"a", EntryType.NORMAL),
        Entry(Term(3), Index(12), b"bc", EntryType.NORMAL),
    )
    assert decode_message(append().SerializeToString()) == AppendEntries(
        MemberId(2), MemberId(1), Term(4), Index(10), Term(2), entries, Index(10)
    )


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (pb.PeerMessage(), "no kind"),
        (pb.PeerMessage(to=1, sender=2, term=3), "no kind"),
        (pb.PeerMessage(to=1, timeout_now=pb.PeerTimeoutNow()), "without sender"),
        (pb.PeerMessage(sender=1, timeout_now=pb.PeerTimeoutNow()), "without sender"),
        (
            pb.PeerMessage(to=1, sender=2, term=NUMBER_MAX + 1, timeout_now=pb.PeerTimeoutNow()),
            "impossible term",
        ),
        (
            pb.PeerMessage(to=1, sender=2, heartbeat=pb.PeerHeartbeat(commit=NUMBER_MAX + 1)),
            "impossible number",
        ),
        (append(sizes=[1, 3]), "sizes do not add up"),
        (append(sizes=[3]), "counts do not add up"),
        (append(sizes=[], data=b"", runs=run()), "counts do not add up"),
        (append(sizes=[], runs=[]), "sizes do not add up"),
        (append(runs=run(count=1)), "counts do not add up"),
        (append(runs=[*run(), pb.PeerEntryRun(term=3, count=0)]), "do not ascend"),
        (append(runs=run(term=1)), "do not ascend"),
        (append(runs=run(term=5)), "do not ascend"),
        (append(runs=run(type=9)), "unknown type 9"),
        (append(prev_index=NUMBER_MAX - 1), "impossible number"),
        (append(prev_index=NUMBER_MAX + 1), "impossible number"),
        (
            pb.PeerMessage(
                to=1, sender=2, forwarded_proposal=pb.PeerForwardedProposal(data=b"x", type=2)
            ),
            "unknown type 2",
        ),
        (
            pb.PeerMessage(to=1, sender=2, forwarded_transfer=pb.PeerForwardedTransfer()),
            "to nobody",
        ),
        (pb.PeerMessage(to=1, sender=2, install_snapshot=pb.PeerInstallSnapshot()), "position"),
        *(
            (
                pb.PeerMessage(
                    to=1,
                    sender=2,
                    install_snapshot=pb.PeerInstallSnapshot(
                        snapshot_index=1,
                        snapshot_term=1,
                        conf_state=pb.PeerConfState(voters=voters),
                    ),
                ),
                text,
            )
            for voters, text in (
                ([], "voters"),
                ([2, 1], "ascend"),
                ([1, 1], "ascend"),
                ([0, 1], "impossible members"),
                (range(1, 2000), "impossible members"),
            )
        ),
    ],
)
def test_what_cannot_be_is_refused(wire: pb.PeerMessage, text: str) -> None:
    with pytest.raises(BadPeerMessage, match=text):
        decode_message(wire.SerializeToString())
