from __future__ import annotations

import asyncio

import pytest

from tianlu._proto.etcd.rpc_pb2 import PutRequest, PutResponse
from tianlu_registry.errors import NoLeader, RequestTimeout, Stopped, TooManyRequests
from tianlu_registry.node import command
from tianlu_registry.node.command import CommandKind
from tianlu_registry.node.proposals import Proposal, ProposalTable
from tianlu_registry.raft import Term


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
    proposal.term = Term(1)
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


@pytest.mark.parametrize("where", ["waiting for a leader", "at another member"])
async def test_what_this_member_does_not_hold_goes_with_its_waiter(where: str) -> None:
    proposals = table(count_max=1)
    proposal = put(proposals)
    if where == "at another member":
        proposal.term, proposal.is_forwarded = Term(1), True
    proposals.expire(proposal.deadline)
    with pytest.raises(RequestTimeout):
        await proposal.answered
    assert (len(proposals), proposals.bytes_open) == (0, 0)
    put(proposals)


async def test_what_a_later_term_has_overtaken_waits_again_in_its_order() -> None:
    proposals = table(count_max=9)
    first, second, third, left = (put(proposals) for _ in range(4))
    first.term, second.term, third.term, left.term = Term(1), Term(2), Term(2), Term(1)
    left.answered.cancel()
    proposals.overtaken(Term(2))
    assert proposals.waiting() == [first]
    proposals.overtaken(Term(3))
    assert proposals.waiting() == [first, second, third]
    assert len(proposals) == 3, "nobody wants the cancelled one any more"


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


async def test_what_a_leader_has_decided_is_not_decided_again_in_another_term() -> None:
    proposals = table(count_max=9)
    revocation = put(proposals)
    revocation.term, revocation.is_bound = Term(1), True
    proposals.overtaken(Term(2))
    with pytest.raises(NoLeader):
        await revocation.answered
    assert proposals.waiting() == []
    assert len(proposals) == 0


async def test_what_a_raft_snapshot_may_hold_is_not_proposed_again() -> None:
    """The simulation: propose_again_what_a_snapshot_may_hold."""
    proposals = table(count_max=9)
    held, later, waiting = (put(proposals) for _ in range(3))
    held.term, later.term = Term(2), Term(4)
    proposals.replaced(Term(3))
    with pytest.raises(RequestTimeout):
        await held.answered
    assert proposals.waiting() == [waiting]
    assert not later.answered.done()
    proposals.overtaken(Term(5))
    assert proposals.waiting() == [later, waiting]
