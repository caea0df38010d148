"""Members that apply one log have one state hash, whatever each does in its own time."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tianlu._proto.etcd.rpc_pb2 import (
    CORRUPT,
    AlarmRequest,
    CompactionRequest,
    DeleteRangeRequest,
    LeaseCheckpoint,
    LeaseCheckpointRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    Member,
    PutRequest,
    RequestOp,
    TxnRequest,
)
from tianlu_registry.errors import Unavailable
from tianlu_registry.node import command
from tianlu_registry.node.applier import Applier
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.identity import Identity
from tianlu_registry.node.machine import StateMachine
from tianlu_registry.node.membership import MemberRecord, Membership
from tianlu_registry.node.proposals import ProposalTable
from tianlu_registry.node.state_hash import LEDGER_STRIDE, StateHash
from tianlu_registry.raft.types import Entry, EntryType, Index, MemberId, Term
from tianlu_registry.storage.backend import LmdbBackend

FOUNDERS = Membership.founded_by([MemberRecord(MemberId(1), "one", ("http://127.0.0.1:2380",))])


class Replica:
    """State machine, backend and hash of one member: what applying needs, and no more."""

    def __init__(self, directory: Path, member_id: int) -> None:
        self.directory = directory
        self.member_id = MemberId(member_id)
        self.open()

    def open(self) -> None:
        loop = asyncio.get_running_loop()
        self.backend = LmdbBackend.open(self.directory)
        self.machine = StateMachine.restore(
            self.backend,
            Identity(1, self.member_id),
            loop.time,
            founders=FOUNDERS,
            on_lagging=lambda: None,
        )
        applied = self.backend.applied
        self.state_hash = StateHash(self.backend, Index(applied.index))
        self.applier = Applier(
            self.machine,
            ProposalTable(loop, first_id=1, count_max=1, bytes_max=1, timeout_seconds=1),
            on_conf_change=_no_conf_change,
            applied_index=Index(applied.index),
            applied_term=Term(applied.term),
            entries_max=10_000,
            seconds_max=60.0,
            on_stride=self.state_hash.mark,
        )

    def apply(self, entries: list[Entry]) -> None:
        self.applier.submit([e for e in entries if e.index > self.applier.applied_index])
        self.applier.apply_slice()

    def commit(self) -> None:
        self.backend.commit(self.applier.applied_index, self.applier.applied_term)

    def restart(self) -> None:
        """Lose what was not committed."""
        self.backend.close()
        self.open()


def _no_conf_change(entry: Entry) -> None:
    raise Unavailable(f"entry {entry.index} changes the membership")


def random_request(rng: random.Random) -> tuple[CommandKind, Request]:
    key = b"key/%d" % rng.randrange(12)
    lease = rng.choice((0, 0, 7, 8))
    value = rng.randbytes(rng.randrange(40))
    put = PutRequest(key=key, value=value, lease=lease)
    choices: list[tuple[CommandKind, Request]] = [
        *[(CommandKind.PUT, put)] * 8,
        (CommandKind.DELETE_RANGE, DeleteRangeRequest(key=key)),
        (CommandKind.DELETE_RANGE, DeleteRangeRequest(key=b"key/1", range_end=b"key/3")),
        (
            CommandKind.TXN,
            TxnRequest(
                success=[
                    RequestOp(request_delete_range=DeleteRangeRequest(key=b"x")),
                    RequestOp(request_put=put),
                ]
            ),
        ),
        (CommandKind.COMPACTION, CompactionRequest(revision=rng.randrange(1, 400))),
        (CommandKind.LEASE_GRANT, LeaseGrantRequest(ID=rng.choice((7, 8)), TTL=60)),
        (CommandKind.LEASE_REVOKE, LeaseRevokeRequest(ID=rng.choice((7, 8)))),
        (
            CommandKind.LEASE_CHECKPOINT,
            LeaseCheckpointRequest(checkpoints=[LeaseCheckpoint(ID=7, remaining_TTL=9)]),
        ),
        (CommandKind.MEMBER_PUBLISH, Member(ID=1, name=rng.choice(("one", "uno")))),
        (
            CommandKind.ALARM,
            AlarmRequest(action=rng.choice((1, 2)), memberID=1, alarm=CORRUPT),
        ),
    ]
    return rng.choice(choices)


def random_log(rng: random.Random, count: int) -> list[Entry]:
    entries = []
    for number in range(1, count + 1):
        kind, request = random_request(rng)
        data = command.encode(kind, number, request.SerializeToString())
        entries.append(Entry(Term(1), Index(number), data, EntryType.NORMAL))
    return entries


@pytest.mark.parametrize("seed", range(4))
async def test_restarts_commits_and_cleaning_up_do_not_count(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    log = random_log(rng, 2 * LEDGER_STRIDE + 50)
    one, other = Replica(tmp_path / "one", 1), Replica(tmp_path / "other", 2)
    position = 0
    while position < len(log):
        position = min(position + rng.randrange(1, 40), len(log))
        one.apply(log[:position])
        other.apply(log[:position])
        for replica in rng.sample([one, other], rng.randrange(3)):
            if rng.random() < 0.5:
                replica.machine.mvcc.compaction_step(rng.randrange(1, 5))
            if rng.random() < 0.5:
                replica.commit()
            if rng.random() < 0.3:
                replica.restart()
                replica.apply(log[:position])
        assert one.state_hash.value() == other.state_hash.value()
    reports = [replica.state_hash.report(Index(position)) for replica in (one, other)]
    common = reports[0].points.keys() & reports[1].points.keys()
    assert all(reports[0].points[index] == reports[1].points[index] for index in common)
    assert reports[0].chain == reports[1].chain == 0
    one.backend.close()
    other.backend.close()


@pytest.mark.parametrize("damaged", [3, 40])
async def test_one_entry_applied_otherwise_shows_for_ever(tmp_path: Path, damaged: int) -> None:
    rng = random.Random(9)
    log = random_log(rng, LEDGER_STRIDE + 10)
    put = PutRequest(key=b"key/1", value=b"as the log says")
    log[damaged].data = command.encode(CommandKind.PUT, 1, put.SerializeToString())
    one, other = Replica(tmp_path / "one", 1), Replica(tmp_path / "other", 2)
    one.apply(log)
    put.value = b"as a bad bit says"
    log[damaged].data = command.encode(CommandKind.PUT, 1, put.SerializeToString())
    other.apply(log)
    for index in (LEDGER_STRIDE, LEDGER_STRIDE + 10):
        points = [r.state_hash.report(Index(LEDGER_STRIDE + 10)).points for r in (one, other)]
        assert points[0][Index(index)] != points[1][Index(index)]
    one.backend.close()
    other.backend.close()
