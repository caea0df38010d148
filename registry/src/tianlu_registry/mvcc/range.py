"""Answering Range requests.

Source: etcd server/etcdserver/txn/range.go; api documentation of RangeRequest.
"""

from __future__ import annotations

from collections.abc import Callable

from tianlu._proto.etcd.kv_pb2 import KeyValue
from tianlu._proto.etcd.rpc_pb2 import RangeRequest, RangeResponse
from tianlu_registry.errors import Compacted, Corrupt, FutureRevision
from tianlu_registry.mvcc.key_index import KeyIndex
from tianlu_registry.mvcc.protocols import RevisionBackend
from tianlu_registry.mvcc.record import kv_field, kv_fields
from tianlu_registry.mvcc.revision import revision_key

_COUNT_IS_ONE = b"\x20\x01"  # RangeResponse.count = 4

_SORT_KEYS: dict[int, Callable[[KeyValue], int | bytes]] = {
    RangeRequest.KEY: lambda kv: kv.key,
    RangeRequest.VERSION: lambda kv: kv.version,
    RangeRequest.CREATE: lambda kv: kv.create_revision,
    RangeRequest.MOD: lambda kv: kv.mod_revision,
    RangeRequest.VALUE: lambda kv: kv.value,
}


class Reader:
    """Reads over the index and the backend.

    Args of its methods: `current` is the revision that a read without one sees, and that the
    answer's header carries; within a writing transaction it is one more than before as soon as
    something is written.
    """

    __slots__ = ("_backend", "_index")

    def __init__(self, index: KeyIndex, backend: RevisionBackend) -> None:
        self._index = index
        self._backend = backend

    def record(self, key: bytes) -> bytes | None:
        """Return the record of the key's present value."""
        packed = self._index.latest(key)
        return self._backend.get(revision_key(packed)) if packed else None

    def record_at(self, key: bytes, main: int) -> bytes | None:
        """Return the record of the key's value at a revision that is not compacted."""
        packed = self._index.at(key, main)
        return self._backend.get(revision_key(packed)) if packed else None

    def key_values(self, key: bytes, range_end: bytes) -> list[KeyValue]:
        """Return the present key-values of a range, in key order."""
        if not range_end:
            record = self.record(key)
            return [] if record is None else [KeyValue.FromString(record)]
        revisions, _ = self._index.live_range(key, range_end, 0)
        return [KeyValue.FromString(record) for record in self._records(revisions)]

    def answer(
        self, request: RangeRequest, into: RangeResponse, current: int, compact_revision: int
    ) -> None:
        """Fill an empty answer.

        Raises:
            FutureRevision, Compacted: the request's revision is out of reach. Nothing was filled
            in.
        """
        at = request.revision
        if at > current:
            raise FutureRevision
        if at <= 0:
            at = current
        if at < compact_revision:
            raise Compacted(compact_revision=compact_revision)
        if request.range_end:
            self._answer_many(request, into, at, current)
        else:
            self._answer_one(request, into, at, current)
        into.header.revision = current

    def piece(self, request: RangeRequest, current: int, compact_revision: int) -> RangeResponse:
        """Answer a range in key order with a limit like `answer`, but without a count: in time
        that depends on the limit alone, at past revisions too.

        Raises:
            FutureRevision, Compacted: as `answer`.
        """
        into = RangeResponse()
        at = request.revision
        if not request.range_end or at <= 0 or at >= current or at < compact_revision:
            self.answer(request, into, current, compact_revision)
            return into
        limit = request.limit
        found = self._index.first_at(request.key, request.range_end, at, limit + 1)
        into.more = len(found) > limit
        into.MergeFromString(kv_fields(self._records(found[:limit])))
        if request.keys_only:
            _clear_values(into)
        into.header.revision = current
        return into

    def _answer_one(
        self, request: RangeRequest, into: RangeResponse, at: int, current: int
    ) -> None:
        key = request.key
        packed = self._index.latest(key) if at == current else self._index.at(key, at)
        if not packed:
            return
        if request.count_only:
            into.count = 1
            return
        record = self._backend.get(revision_key(packed))
        if record is None:
            raise Corrupt(f"{Corrupt.text}: the record of revision {packed:024x} is missing")
        into.MergeFromString(kv_field(record) + _COUNT_IS_ONE)
        if request.keys_only:
            into.kvs[0].ClearField("value")
        if has_revision_filters(request):
            _replace(into, _filtered(list(into.kvs), request))

    def _answer_many(
        self, request: RangeRequest, into: RangeResponse, at: int, current: int
    ) -> None:
        limit = max(request.limit, 0)
        needs_all = has_revision_filters(request) or request.sort_order != RangeRequest.NONE
        # One more than asked for tells whether there is more.
        fetch = 0 if needs_all or not limit else limit + 1
        if request.count_only:
            fetch = 1
        index = self._index
        if at == current:
            revisions, count = index.live_range(request.key, request.range_end, fetch)
        else:
            revisions, count = index.range_at(request.key, request.range_end, at, fetch)
        into.count = count
        if request.count_only:
            return
        if needs_all or request.sort_target != RangeRequest.KEY:
            _fill_arranged(into, kv_fields(self._records(revisions)), request, limit)
        else:
            into.more = bool(limit) and count > limit
            into.MergeFromString(
                kv_fields(self._records(revisions[:limit] if limit else revisions))
            )
        if request.keys_only:
            _clear_values(into)

    def _records(self, revisions: list[int]) -> list[bytes]:
        return self._backend.get_many([revision_key(packed) for packed in revisions])


def _fill_arranged(into: RangeResponse, encoded: bytes, request: RangeRequest, limit: int) -> None:
    """Filter, sort and cut what was found. The count stays that of the range before filters, as
    etcd's."""
    kvs = _filtered(list(RangeResponse.FromString(encoded).kvs), request)
    order = request.sort_order
    if order == RangeRequest.NONE and request.sort_target != RangeRequest.KEY:
        order = RangeRequest.ASCEND
    if order != RangeRequest.NONE:
        # Equal ones stay in key order; etcd leaves their order open.
        kvs.sort(key=_SORT_KEYS[request.sort_target], reverse=order == RangeRequest.DESCEND)
    if limit and len(kvs) > limit:
        into.more = True
        del kvs[limit:]
    into.kvs.extend(kvs)


def _clear_values(into: RangeResponse) -> None:
    for kv in into.kvs:
        kv.ClearField("value")


def _replace(into: RangeResponse, kvs: list[KeyValue]) -> None:
    if len(kvs) != len(into.kvs):
        del into.kvs[:]
        into.kvs.extend(kvs)


def has_revision_filters(request: RangeRequest) -> bool:
    """Whether keys of some revisions only are wanted."""
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _filtered(kvs: list[KeyValue], request: RangeRequest) -> list[KeyValue]:
    if maximum := request.max_mod_revision:
        kvs = [kv for kv in kvs if kv.mod_revision <= maximum]
    if minimum := request.min_mod_revision:
        kvs = [kv for kv in kvs if kv.mod_revision >= minimum]
    if maximum := request.max_create_revision:
        kvs = [kv for kv in kvs if kv.create_revision <= maximum]
    if minimum := request.min_create_revision:
        kvs = [kv for kv in kvs if kv.create_revision >= minimum]
    return kvs
