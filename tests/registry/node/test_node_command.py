from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu._proto.etcd.rpc_pb2 import PutRequest
from tianlu_registry.auth import Claim
from tianlu_registry.auth.envelope import Claimed
from tianlu_registry.errors import Corrupt
from tianlu_registry.node import command
from tianlu_registry.node.command import CommandKind


@given(
    kind=st.sampled_from(CommandKind),
    proposal_id=st.integers(0, command.ID_MAX),
    request=st.binary(max_size=64),
)
def test_the_envelope_keeps_the_number(kind: CommandKind, proposal_id: int, request: bytes) -> None:
    data = command.encode(kind, proposal_id, request)
    assert command.proposal_id_of(data) == proposal_id
    assert data.endswith(request)


def test_every_kind_has_a_message() -> None:
    for kind in set(CommandKind) - {CommandKind.CLAIMED}:
        assert command.decode(command.encode(kind, 1, b""))[0] is kind


def test_a_put_round_trip() -> None:
    request = PutRequest(key=b"k", value=b"v", lease=7)
    data = command.encode(CommandKind.PUT, 9, request.SerializeToString())
    assert command.decode(data) == (CommandKind.PUT, request)


def test_a_claimed_put_round_trip() -> None:
    claimed = Claimed(Claim("ann", 5), CommandKind.PUT, PutRequest(key=b"k"))
    data = command.encode(CommandKind.CLAIMED, 9, claimed.SerializeToString())
    assert command.decode(data) == (CommandKind.CLAIMED, claimed)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        bytes([99]) + bytes(8),
        bytes([1]) + bytes(8) + b"\xff\xff\xff",
        bytes([39]) + bytes(8),
    ],
)
def test_bytes_that_are_no_command(data: bytes) -> None:
    with pytest.raises(Corrupt):
        command.decode(data)
