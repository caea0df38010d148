"""The lessor against a table of leases, keys and expiry times."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from registry.mvcc.mvcc_fakes import MemoryBackend

from tianlu_registry.errors import LeaseExists, LeaseNotFound, NoLeader
from tianlu_registry.lease import Lessor
from tianlu_registry.lease.lessor import REVOKE_RETRY_SECONDS

ids = st.integers(1, 4)
some_keys = st.lists(st.sampled_from((b"a", b"b", b"c")), max_size=3)


@dataclass
class Row:
    ttl: int
    remaining: int = 0
    keys: set[bytes] = field(default_factory=set)
    expiry: float = inf
    handed_out: float = -inf


class LessorAgainstTable(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.backend = MemoryBackend()
        self.lessor = Lessor(self.backend)
        self.rows: dict[int, Row] = {}
        self.now = 0.0
        self.leads = False

    @rule(seconds=st.integers(0, 7))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule(lease_id=ids, ttl=st.integers(1, 8))
    def grant(self, lease_id: int, ttl: int) -> None:
        try:
            self.lessor.grant(lease_id, ttl, self.now)
        except LeaseExists:
            assert lease_id in self.rows
            return
        assert lease_id not in self.rows
        self.rows[lease_id] = Row(ttl, expiry=self.now + ttl if self.leads else inf)

    @rule(lease_id=ids)
    def revoke(self, lease_id: int) -> None:
        try:
            keys = self.lessor.revoke(lease_id)
        except LeaseNotFound:
            assert lease_id not in self.rows
            return
        assert keys == sorted(self.rows.pop(lease_id).keys)

    @rule(lease_id=ids, keys=some_keys)
    def attach(self, lease_id: int, keys: list[bytes]) -> None:
        if lease_id not in self.rows:
            return
        self.lessor.attach(lease_id, keys)
        for row in self.rows.values():
            row.keys -= set(keys)
        self.rows[lease_id].keys |= set(keys)

    @rule(lease_id=ids, keys=some_keys)
    def detach(self, lease_id: int, keys: list[bytes]) -> None:
        if lease_id in self.rows:
            self.lessor.detach(lease_id, keys)
            self.rows[lease_id].keys -= set(keys)

    @rule(lease_id=ids)
    def renew(self, lease_id: int) -> None:
        row = self.rows.get(lease_id)
        try:
            ttl = self.lessor.renew(lease_id, self.now)
        except NoLeader:
            assert not self.leads
            return
        except LeaseNotFound:
            assert row is None or row.expiry <= self.now
            return
        assert row is not None
        assert ttl == row.ttl
        row.expiry = self.now + ttl

    @rule(lease_id=ids, remaining=st.integers(0, 5))
    def checkpoint(self, lease_id: int, remaining: int) -> None:
        self.lessor.checkpoint(lease_id, remaining)
        if lease_id in self.rows:
            self.rows[lease_id].remaining = remaining

    @rule(extend=st.integers(0, 3))
    def promote(self, extend: int) -> None:
        self.lessor.promote(self.now, extend)
        self.leads = True
        for row in self.rows.values():
            row.expiry = self.now + extend + (row.remaining or row.ttl)
            row.handed_out = -inf

    @rule()
    def demote(self) -> None:
        self.lessor.demote()
        self.leads = False
        for row in self.rows.values():
            row.expiry = inf

    @rule(limit=st.integers(1, 3))
    def expired(self, limit: int) -> None:
        due = [
            lease_id
            for lease_id, row in self.rows.items()
            if row.expiry <= self.now and row.handed_out + REVOKE_RETRY_SECONDS <= self.now
        ]
        found = self.lessor.expired(self.now, limit)
        assert set(found) <= set(due)
        assert len(found) == min(limit, len(due))
        fresh = [self.rows[one].expiry for one in found if self.rows[one].handed_out == -inf]
        if len(fresh) == len(found):
            assert fresh == sorted(fresh)
        for lease_id in found:
            self.rows[lease_id].handed_out = self.now

    @rule()
    def restart(self) -> None:
        """Keys come back from the revisions (the store attaches them), times from the next
        promote."""
        self.lessor = Lessor(self.backend)
        self.leads = False
        for lease_id, row in self.rows.items():
            self.lessor.attach(lease_id, row.keys)
            row.expiry = inf

    @invariant()
    def same(self) -> None:
        assert set(self.lessor.ids()) == set(self.rows)
        for lease_id, row in self.rows.items():
            assert set(self.lessor.keys(lease_id)) == row.keys
            assert all(self.lessor.lease_of(key) == lease_id for key in row.keys)
            if self.leads:
                left = max(int(row.expiry - self.now), 0)
                assert self.lessor.time_to_live(lease_id, self.now) == left


TestLessorAgainstTable = LessorAgainstTable.TestCase
TestLessorAgainstTable.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
