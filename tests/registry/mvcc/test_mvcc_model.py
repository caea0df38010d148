"""The store against the oracle, request by request, over restarts and compactions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from registry.mvcc.mvcc_fakes import MemoryBackend
from registry.mvcc.mvcc_oracle import Oracle

from tianlu._proto.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from tianlu_registry.errors import InputError, RegistryError
from tianlu_registry.lease import Lessor
from tianlu_registry.mvcc import MvccStore, check_put, check_txn

KEYS = (b"a", b"a/1", b"a/2", b"a0", b"b", b"b\xff", b"\xff\xff")
LEASES = (5, 6)

keys = st.sampled_from(KEYS)
range_ends = st.sampled_from((b"", b"\x00", b"a", b"a0", b"b", b"c", b"\xff"))
revisions = st.integers(min_value=-1, max_value=14)
bounds = st.sampled_from((0, 0, 0, 2, 4, 7))

puts = st.builds(
    PutRequest,
    key=keys,
    value=st.sampled_from((b"", b"x", b"y")),
    lease=st.sampled_from((0, 0, *LEASES, 99)),
    prev_kv=st.booleans(),
    ignore_value=st.sampled_from((False, False, True)),
    ignore_lease=st.sampled_from((False, False, True)),
)
deletes = st.builds(DeleteRangeRequest, key=keys, range_end=range_ends, prev_kv=st.booleans())
ranges = st.builds(
    RangeRequest,
    key=keys,
    range_end=range_ends,
    limit=st.sampled_from((0, 0, 1, 2, -1)),
    revision=st.one_of(st.just(0), revisions),
    sort_order=st.sampled_from(RangeRequest.SortOrder.values()),
    sort_target=st.sampled_from(RangeRequest.SortTarget.values()),
    keys_only=st.booleans(),
    count_only=st.sampled_from((False, False, True)),
    min_mod_revision=bounds,
    max_mod_revision=bounds,
    min_create_revision=bounds,
    max_create_revision=bounds,
)
compares = st.one_of(
    *(
        st.builds(
            Compare,
            key=keys,
            range_end=range_ends,
            result=st.sampled_from(Compare.CompareResult.values()),
            target=st.just(target),
            **{field: operand},
        )
        for target, field, operand in (
            (Compare.VERSION, "version", st.integers(0, 3)),
            (Compare.CREATE, "create_revision", st.integers(0, 8)),
            (Compare.MOD, "mod_revision", st.integers(0, 8)),
            (Compare.VALUE, "value", st.sampled_from((b"", b"x", b"y"))),
            (Compare.LEASE, "lease", st.sampled_from((0, *LEASES))),
        )
    )
)


def ops_of(txns: st.SearchStrategy[TxnRequest] | None) -> st.SearchStrategy[RequestOp]:
    simple = st.one_of(
        st.builds(RequestOp, request_put=puts),
        st.builds(RequestOp, request_delete_range=deletes),
        st.builds(RequestOp, request_range=ranges),
    )
    return simple if txns is None else st.one_of(simple, st.builds(RequestOp, request_txn=txns))


def txns_of(ops: st.SearchStrategy[RequestOp]) -> st.SearchStrategy[TxnRequest]:
    return st.builds(
        TxnRequest,
        compare=st.lists(compares, max_size=2),
        success=st.lists(ops, max_size=4),
        failure=st.lists(ops, max_size=2),
    )


txns = txns_of(ops_of(txns_of(ops_of(None))))


def outcome(call: Callable[[], Any]) -> object:
    """Return the answer, or the class of the refusal."""
    try:
        return call()
    except RegistryError as error:
        return type(error)


class StoreAgainstOracle(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.backend = MemoryBackend()
        self.lessor = Lessor(self.backend)
        for lease_id in LEASES:
            self.lessor.grant(lease_id, 10, now=0.0)
        self.store = MvccStore(self.backend, self.lessor)
        self.oracle = Oracle(set(LEASES))

    def _agree(self, ours: Callable[[], Any], theirs: Callable[[], Any]) -> None:
        """Both answer alike, and changes are what differs from the state before.

        But for a key that one transaction changes twice: siblings within it may put and delete the
        same, as in etcd (server/etcdserver/api/v3rpc/key.go `checkIntervals`).
        """
        before = self.store.revision
        result = outcome(ours)
        changes = ()
        if isinstance(result, tuple):
            result, changes = result
        assert result == outcome(theirs)
        assert self.store.revision == self.oracle.revision == before + (1 if changes else 0)
        changed = Counter(change.key for change in changes)
        old, new = (self.oracle.states[at] for at in (before, self.oracle.revision))
        differs = {key for key in old | new if old.get(key) != new.get(key)}
        assert differs == {key for key in changed if key in differs or changed[key] == 1}
        assert len(changed) == len(changes)

    @rule(request=puts)
    def put(self, request: PutRequest) -> None:
        try:
            check_put(request)
        except InputError:
            assume(False)
        self._agree(lambda: self.store.put(request), lambda: self.oracle.put(request))

    @rule(request=deletes)
    def delete(self, request: DeleteRangeRequest) -> None:
        self._agree(
            lambda: self.store.delete_range(request), lambda: self.oracle.delete_range(request)
        )

    @rule(request=ranges)
    def range(self, request: RangeRequest) -> None:
        self._agree(lambda: self.store.range(request), lambda: self.oracle.range(request))

    @rule(request=txns)
    def txn(self, request: TxnRequest) -> None:
        try:
            check_txn(request)
        except InputError:
            assume(False)
        self._agree(lambda: self.store.txn(request), lambda: self.oracle.txn(request))

    @rule(revision=revisions)
    def compact(self, revision: int) -> None:
        self._agree(lambda: self.store.compact(revision), lambda: self.oracle.compact(revision))

    @precondition(lambda self: self.oracle.compact_revision >= 0)
    @rule(budget=st.integers(1, 5))
    def compaction_step(self, budget: int) -> None:
        self.store.compaction_step(budget)

    @rule(is_compacted=st.booleans())
    def restart(self, is_compacted: bool) -> None:
        if is_compacted and self.oracle.revision > self.oracle.compact_revision:
            self.store.compact(self.oracle.revision)
            self.oracle.compact(self.oracle.revision)
            while not self.store.compaction_step(100):
                pass
        self.lessor = Lessor(self.backend)
        self.store = MvccStore(self.backend, self.lessor)

    @rule(lease_id=st.sampled_from(LEASES))
    def end_lease(self, lease_id: int) -> None:
        """Revoke and grant anew: its keys, and only those, go in one revision."""
        state = self.oracle.states[self.oracle.revision]
        doomed = sorted(key for key, kv in state.items() if kv.lease == lease_id)
        assert sorted(self.lessor.keys(lease_id)) == doomed
        changes = self.store.delete_keys(self.lessor.revoke(lease_id))
        self.lessor.grant(lease_id, 10, now=0.0)
        assert [change.key for change in changes] == doomed
        if doomed:
            left = {key: kv for key, kv in state.items() if kv.lease != lease_id}
            self.oracle._advance(left)

    @invariant()
    def same_state(self) -> None:
        assert self.store.revision == self.oracle.revision
        assert self.store.compact_revision == self.oracle.compact_revision
        assert self.store.key_count == len(self.oracle.states[self.oracle.revision])

    @invariant()
    def history_is_whole(self) -> None:
        """Every revision that may be read is as it was."""
        for revision in range(max(self.oracle.compact_revision, 1), self.oracle.revision + 1):
            request = RangeRequest(key=b"\x00", range_end=b"\x00", revision=revision)
            found = {kv.key: kv for kv in self.store.range(request).kvs}
            assert found == self.oracle.states[revision]

    def teardown(self) -> None:
        """Once compaction is done, no record is left that no read can reach."""
        if self.oracle.revision > max(self.oracle.compact_revision, 1):
            self.store.compact(self.oracle.revision)
        while not self.store.compaction_step(100):
            pass
        present = self.oracle.states[self.oracle.revision]
        tombstones = [key for key in self.backend.records if key[-1] & 1]
        assert len(self.backend.records) - len(tombstones) == len(present)
        assert all(int.from_bytes(key, "big") >> 32 == self.oracle.revision for key in tombstones)


TestStoreAgainstOracle = pytest.mark.timeout(300)(StoreAgainstOracle.TestCase)
TestStoreAgainstOracle.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
