from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tianlu._proto.etcd.rpc_pb2 import PutRequest, PutResponse
from tianlu_registry.errors import Corrupt, InvariantBroken, LeaseNotFound, RequestTimeout
from tianlu_registry.node import command
from tianlu_registry.node.applier import Applier
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.proposals import Proposal, ProposalTable
from tianlu_registry.raft.types import Entry, EntryType, Index, Term


class Machine:
    """Remembers the keys put; refuses the key ``refuse``."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.gathers = False

    def gather(self) -> None:
        self.gathers = True

    def deliver(self) -> None:
        self.gathers = False

    def apply(self, kind: CommandKind, request: Request) -> object:
        assert isinstance(request, PutRequest)
        assert self.gathers
        if request.key == b"refuse":
            raise LeaseNotFound
        self.keys.append(request.key)
        return PutResponse()


class Harness:
    def __init__(self, *, entries_max: int = 100, seconds_per_look: float = 0.0) -> None:
        self.machine = Machine()
        self.conf_changes: list[Entry] = []
        self.now = 0.0
        self.seconds_per_look = seconds_per_look
        self.proposals = ProposalTable(
            asyncio.get_running_loop(),
            first_id=1,
            count_max=10_000,
            bytes_max=1 << 20,
            timeout_seconds=7,
        )
        machine: Any = self.machine
        self.applier = Applier(
            machine,
            self.proposals,
            on_conf_change=self.conf_changes.append,
            applied_index=Index(10),
            applied_term=Term(2),
            entries_max=entries_max,
            seconds_max=1.0,
            clock=self.clock,
        )

    def clock(self) -> float:
        self.now += self.seconds_per_look
        return self.now

    def propose(self, key: bytes) -> Proposal:
        request = PutRequest(key=key)
        return self.proposals.open(CommandKind.PUT, request, request.SerializeToString())


def entry(index: int, data: bytes) -> Entry:
    return Entry(Term(3), Index(index), data)


def replayed(key: bytes) -> bytes:
    return command.encode(CommandKind.PUT, 999, PutRequest(key=key).SerializeToString())


async def test_applies_in_order_and_answers_its_own_proposals() -> None:
    harness = Harness()
    mine = harness.propose(b"mine")
    harness.applier.submit([entry(11, replayed(b"old")), entry(12, mine.data), entry(13, b"")])
    harness.applier.apply_slice()
    assert harness.machine.keys == [b"old", b"mine"]
    assert not harness.machine.gathers  # what was gathered has been delivered
    assert isinstance(mine.answered.result(), PutResponse)
    assert (harness.applier.applied_index, harness.applier.applied_term) == (13, 3)


async def test_a_refused_command_is_answered_and_counted() -> None:
    harness = Harness()
    mine = harness.propose(b"refuse")
    harness.applier.submit([entry(11, mine.data), entry(12, replayed(b"refuse"))])
    harness.applier.apply_slice()
    with pytest.raises(LeaseNotFound):
        mine.answered.result()
    assert harness.applier.applied_index == 12


async def test_a_slice_ends_after_so_many_entries() -> None:
    harness = Harness(entries_max=100)
    harness.applier.submit([entry(11 + n, replayed(b"%d" % n)) for n in range(250)])
    applied = []
    while harness.applier.waiting_count:
        harness.applier.apply_slice()
        applied.append(len(harness.machine.keys))
    assert applied == [100, 200, 250]
    assert harness.machine.keys == [b"%d" % n for n in range(250)]


async def test_a_slice_ends_after_so_long() -> None:
    harness = Harness(entries_max=1_000, seconds_per_look=0.4)
    harness.applier.submit([entry(11 + n, replayed(b"k")) for n in range(1_000)])
    harness.applier.apply_slice()
    # The clock is looked at every 8 entries; it has passed one second at the third look.
    assert len(harness.machine.keys) == 24


async def test_nothing_to_do() -> None:
    harness = Harness()
    harness.applier.apply_slice()
    assert harness.applier.applied_index == 10


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (Entry(Term(3), Index(12), b""), InvariantBroken),
        (Entry(Term(3), Index(10), b""), InvariantBroken),
        (Entry(Term(3), Index(11), b"no command"), Corrupt),
    ],
)
async def test_what_cannot_be_applied_stops_the_node(wrong: Entry, error: type[Exception]) -> None:
    harness = Harness()
    harness.applier.submit([wrong])
    with pytest.raises(error):
        harness.applier.apply_slice()
    assert harness.applier.applied_index == 10


async def test_a_membership_change_is_applied_in_its_place() -> None:
    harness = Harness()
    change = Entry(Term(3), Index(12), b"x", EntryType.CONF_CHANGE)
    harness.applier.submit([entry(11, replayed(b"a")), change, entry(13, replayed(b"b"))])
    harness.applier.apply_slice()
    assert harness.conf_changes == [change]
    assert harness.machine.keys == [b"a", b"b"]
    assert harness.applier.applied_index == 13


async def test_a_snapshot_replaces_what_waits() -> None:
    harness = Harness()
    harness.applier.submit([entry(11, replayed(b"gone"))])
    harness.applier.restart_at(Index(20), Term(3))
    assert harness.applier.waiting_count == 0
    harness.applier.submit([entry(21, replayed(b"kept"))])
    harness.applier.apply_slice()
    assert harness.machine.keys == [b"kept"]


async def test_a_snapshot_leaves_open_what_became_of_a_proposal() -> None:
    harness = Harness()
    proposal = harness.propose(b"perhaps in it")
    proposal.term = Term(2)
    harness.applier.restart_at(Index(20), Term(3))
    assert isinstance(proposal.answered.exception(), RequestTimeout)
    assert (harness.applier.applied_index, harness.applier.applied_term) == (20, 3)


async def test_a_later_term_gives_back_what_an_earlier_one_left() -> None:
    harness = Harness()
    early, late = harness.propose(b"early"), harness.propose(b"late")
    early.term, late.term = Term(2), Term(3)
    harness.applier.submit([entry(11, b"")])
    harness.applier.apply_slice()
    assert harness.proposals.waiting() == [early]
