"""The store as dumbly as it can be written: a full copy of all keys per revision.

Written from etcd's API documentation and source, not from our store.
"""

from __future__ import annotations

from tianlu._proto.etcd.kv_pb2 import KeyValue
from tianlu._proto.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from tianlu_registry.errors import Compacted, FutureRevision, KeyNotFound, LeaseNotFound

State = dict[bytes, KeyValue]


def in_range(key: bytes, start: bytes, range_end: bytes) -> bool:
    if range_end == b"":
        return key == start
    if range_end == b"\x00":
        return key >= start
    return start <= key < range_end


class Oracle:
    """Every revision's whole state. `leases` are the ids that exist."""

    def __init__(self, leases: set[int]) -> None:
        self.states: dict[int, State] = {0: {}, 1: {}}
        self.revision = 1
        self.compact_revision = -1
        self.leases = leases

    def range(self, request: RangeRequest) -> RangeResponse:
        return self._range(request, self.states[self.revision], self.revision)

    def put(self, request: PutRequest) -> PutResponse:
        self._check_put(request)
        state = dict(self.states[self.revision])
        response = self._put(request, state)
        self._advance(state)
        return response

    def delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        state = dict(self.states[self.revision])
        response = self._delete_range(request, state, has_changed=False)
        if response.deleted:
            self._advance(state)
        return response

    def txn(self, request: TxnRequest) -> TxnResponse:
        before = self.states[self.revision]
        ops = self._flat_ops(request, before)
        for op in ops:
            self._check_op(op)
        state = dict(before)
        self._txn_changed = False
        response = self._txn(request, before, state)
        if self._txn_changed:
            self._advance(state)
        response.header.revision = self.revision
        return response

    def compact(self, revision: int) -> None:
        if revision <= self.compact_revision:
            raise Compacted
        if revision > self.revision:
            raise FutureRevision
        self.compact_revision = revision

    # Private

    def _advance(self, state: State) -> None:
        self.revision += 1
        self.states[self.revision] = state

    def _range(self, request: RangeRequest, present: State, current: int) -> RangeResponse:
        at = request.revision
        if at > current:
            raise FutureRevision
        if 0 < at < self.compact_revision:
            raise Compacted
        state = present if at <= 0 or at == current else self.states[at]
        kvs = [state[key] for key in sorted(state) if in_range(key, request.key, request.range_end)]
        response = RangeResponse(count=len(kvs))
        response.header.revision = current
        if request.count_only:
            return response
        filters = (
            (request.max_mod_revision, lambda kv: kv.mod_revision <= request.max_mod_revision),
            (request.min_mod_revision, lambda kv: kv.mod_revision >= request.min_mod_revision),
            (
                request.max_create_revision,
                lambda kv: kv.create_revision <= request.max_create_revision,
            ),
            (
                request.min_create_revision,
                lambda kv: kv.create_revision >= request.min_create_revision,
            ),
        )
        limit = request.limit if request.limit > 0 else len(kvs)
        is_filtered = any(bound for bound, _ in filters)
        if request.sort_order == RangeRequest.NONE and not is_filtered:
            kvs = kvs[: limit + 1]
        for bound, keeps in filters:
            if bound:
                kvs = [kv for kv in kvs if keeps(kv)]
        if request.sort_order != RangeRequest.NONE or request.sort_target != RangeRequest.KEY:
            field = ("key", "version", "create_revision", "mod_revision", "value")[
                request.sort_target
            ]
            kvs.sort(
                key=lambda kv: getattr(kv, field),
                reverse=request.sort_order == RangeRequest.DESCEND,
            )
        response.more = len(kvs) > limit
        for kv in kvs[:limit]:
            found = response.kvs.add()
            found.CopyFrom(kv)
            if request.keys_only:
                found.value = b""
        return response

    def _check_put(self, request: PutRequest) -> None:
        if request.lease and request.lease not in self.leases:
            raise LeaseNotFound
        keeps = request.ignore_value or request.ignore_lease
        if keeps and request.key not in self.states[self.revision]:
            raise KeyNotFound

    def _put(self, request: PutRequest, state: State) -> PutResponse:
        main = self.revision + 1
        before = state.get(request.key)
        state[request.key] = KeyValue(
            key=request.key,
            create_revision=before.create_revision if before else main,
            mod_revision=main,
            version=before.version + 1 if before else 1,
            value=before.value if request.ignore_value and before else request.value,
            lease=before.lease if request.ignore_lease and before else request.lease,
        )
        response = PutResponse()
        response.header.revision = main
        if request.prev_kv and before:
            response.prev_kv.CopyFrom(before)
        return response

    def _delete_range(
        self, request: DeleteRangeRequest, state: State, *, has_changed: bool
    ) -> DeleteRangeResponse:
        doomed = [key for key in sorted(state) if in_range(key, request.key, request.range_end)]
        response = DeleteRangeResponse(deleted=len(doomed))
        response.header.revision = self.revision + (1 if doomed or has_changed else 0)
        for key in doomed:
            before = state.pop(key)
            if request.prev_kv:
                response.prev_kvs.add().CopyFrom(before)
        return response

    def _branch(self, request: TxnRequest, before: State) -> tuple[bool, list[RequestOp]]:
        succeeded = all(self._holds(compare, before) for compare in request.compare)
        return succeeded, list(request.success if succeeded else request.failure)

    def _flat_ops(self, request: TxnRequest, before: State) -> list[RequestOp]:
        flat: list[RequestOp] = []
        for op in self._branch(request, before)[1]:
            if op.HasField("request_txn"):
                flat += self._flat_ops(op.request_txn, before)
            else:
                flat.append(op)
        return flat

    def _check_op(self, op: RequestOp) -> None:
        if op.HasField("request_put"):
            self._check_put(op.request_put)
        elif op.HasField("request_range"):
            revision = op.request_range.revision
            if revision > self.revision:
                raise FutureRevision
            if revision and revision < self.compact_revision:
                raise Compacted

    def _txn(self, request: TxnRequest, before: State, state: State) -> TxnResponse:
        succeeded, ops = self._branch(request, before)
        response = TxnResponse(succeeded=succeeded)
        for op in ops:
            answer = response.responses.add()
            if op.HasField("request_put"):
                answer.response_put.CopyFrom(self._put(op.request_put, state))
                self._txn_changed = True
            elif op.HasField("request_delete_range"):
                deleted = self._delete_range(
                    op.request_delete_range, state, has_changed=self._txn_changed
                )
                answer.response_delete_range.CopyFrom(deleted)
                self._txn_changed = self._txn_changed or deleted.deleted > 0
            elif op.HasField("request_range"):
                current = self.revision + (1 if self._txn_changed else 0)
                answer.response_range.CopyFrom(self._range(op.request_range, state, current))
            else:
                answer.response_txn.CopyFrom(self._txn(op.request_txn, before, state))
                answer.response_txn.header.SetInParent()
        return response

    def _holds(self, compare: Compare, before: State) -> bool:
        kvs = [kv for key, kv in before.items() if in_range(key, compare.key, compare.range_end)]
        if not kvs and compare.target == Compare.VALUE:
            return False
        fields = {
            Compare.VERSION: ("version", "version"),
            Compare.CREATE: ("create_revision", "create_revision"),
            Compare.MOD: ("mod_revision", "mod_revision"),
            Compare.VALUE: ("value", "value"),
            Compare.LEASE: ("lease", "lease"),
        }
        ours, theirs = fields[compare.target]
        for kv in kvs or [KeyValue()]:
            actual, wanted = getattr(kv, ours), getattr(compare, theirs)
            holds = {
                Compare.EQUAL: actual == wanted,
                Compare.NOT_EQUAL: actual != wanted,
                Compare.GREATER: actual > wanted,
                Compare.LESS: actual < wanted,
            }[compare.result]
            if not holds:
                return False
        return True
