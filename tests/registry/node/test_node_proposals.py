from __future__ import annotations

import asyncio

import pytest

from tianlu._proto.etcd.rpc_pb2 import PutRequest, PutResponse
from tianlu_registry.errors import RequestTimeout, Stopped, TooManyRequests
from tianlu_registry.node import command
from tianlu_registry.node.command import CommandKind
from tianlu_registry.node.proposals import Proposal, ProposalTable


def table(count_max: int = 3, bytes_max: int = 1_000, first_id: int = 5) -> ProposalTable:
    return ProposalTable(
        asyncio.get_running_loop(),
        first_id=first_id,
        count_max=count_max,
        bytes_max=bytes_max,
        timeout_seconds=7,
    )


def put(proposals: ProposalTable, payload: bytes = b"") -> Proposal:
    return proposals.open(CommandKind.PUT, PutRequest(), payload)


async def test_answers_whoever_waits() -> None:
    proposals = table()
    proposal = put(proposals)
    claimed = proposals.claim(proposal.data)
    assert claimed is proposal
    response = PutResponse()
    claimed.succeed(response)
    assert await proposal.answered is response
    assert proposals.claim(proposal.data) is None


async def test_numbers_wrap_around() -> None:
    proposals = table(first_id=command.ID_MAX)
    assert command.proposal_id_of(put(proposals).data) == command.ID_MAX
    assert command.proposal_id_of(put(proposals).data) == 0


async def test_an_entry_of_an_earlier_run_with_the_same_number_is_not_ours() -> None:
    proposals = table(first_id=5)
    put(proposals, b"mine")
    assert proposals.claim(command.encode(CommandKind.PUT, 5, b"theirs")) is None
    assert len(proposals) == 1


async def test_backlog_maximum_in_count() -> None:
    proposals = table(count_max=2)
    first = put(proposals)
    put(proposals)
    with pytest.raises(TooManyRequests):
        put(proposals)
    proposals.claim(first.data)
    put(proposals)


async def test_backlog_maximum_in_bytes() -> None:
    proposals = table(bytes_max=100)
    first = put(proposals, bytes(60))
    with pytest.raises(TooManyRequests):
        put(proposals, bytes(60))
    assert proposals.bytes_open == 60 + command.ENVELOPE_BYTES
    proposals.claim(first.data)
    assert proposals.bytes_open == 0
    put(proposals, bytes(60))


async def test_a_timed_out_proposal_still_counts() -> None:
    proposals = table(count_max=1)
    proposal = put(proposals)
    assert proposals.expire(proposal.deadline - 0.001) == 0
    assert proposals.expire(proposal.deadline) == 1
    with pytest.raises(RequestTimeout):
        await proposal.answered
    with pytest.raises(TooManyRequests):
        put(proposals)
    claimed = proposals.claim(proposal.data)
    assert claimed is not None
    claimed.succeed(PutResponse())  # nobody waits: harmless
    put(proposals)


async def test_a_cancelled_waiter_is_harmless() -> None:
    proposals = table()
    proposal = put(proposals)
    proposal.answered.cancel()
    assert proposals.waiters() == []
    claimed = proposals.claim(proposal.data)
    assert claimed is not None
    claimed.fail(Stopped())


async def test_a_withdrawn_proposal_leaves_no_trace() -> None:
    proposals = table()
    proposal = put(proposals)
    proposals.withdraw(proposal)
    assert len(proposals) == 0
    assert proposals.expire(proposal.deadline) == 0


async def test_stopping_fails_all() -> None:
    proposals = table()
    first, second = put(proposals), put(proposals)
    proposals.fail_all(Stopped)
    assert (len(proposals), proposals.bytes_open) == (0, 0)
    for proposal in (first, second):
        with pytest.raises(Stopped):
            await proposal.answered
