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
from tianlu_registry.mvcc.record import kv_field, kv_fields, varint
from tianlu_registry.mvcc.revision import REVISION_KEY_BYTES, revision_key

# Fields of RangeResponse.
_MORE = b"\x18\x01"  # more = 3: true
_COUNT = b"\x20"  # count = 4
_COUNT_IS_ONE = b"\x20\x01"

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
        at = _revision_read(request, current, compact_revision)
        if is_plain(request):
            into.MergeFromString(self._plain(request, at, current))
        elif request.range_end:
            self._answer_many(request, into, at, current)
        else:
            self._answer_one(request, into, at, current)
        into.header.revision = current

    def plain_answer(self, request: RangeRequest, current: int, compact_revision: int) -> bytes:
        """Return the encoded answer to a request that `is_plain`, apart from its header: the stored
        records as they are, so that nothing is parsed or built for a key.

        Raises:
            FutureRevision, Compacted: as `answer`.
        """
        return self._plain(request, _revision_read(request, current, compact_revision), current)

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

    def _plain(self, request: RangeRequest, at: int, current: int) -> bytes:
        if not request.range_end:
            return self._plain_one(request, at, current)
        limit = max(request.limit, 0)
        # One more than asked for tells whether there is more.
        fetch = 1 if request.count_only else limit + 1 if limit else 0
        revisions, count = self._revisions(request, at, current, fetch)
        counted = _COUNT + varint(count) if count else b""
        if request.count_only:
            return counted
        if not limit or count <= limit:
            return kv_fields(self._records(revisions)) + counted
        return kv_fields(self._records(revisions[:limit])) + _MORE + counted

    def _plain_one(self, request: RangeRequest, at: int, current: int) -> bytes:
        key = request.key
        packed = self._index.latest(key) if at == current else self._index.at(key, at)
        if not packed:
            return b""
        if request.count_only:
            return _COUNT_IS_ONE
        record = self._backend.get(revision_key(packed))
        if record is None:
            raise Corrupt(f"{Corrupt.text}: the record of revision {packed:024x} is missing")
        return kv_field(record) + _COUNT_IS_ONE

    def _answer_one(
        self, request: RangeRequest, into: RangeResponse, at: int, current: int
    ) -> None:
        into.MergeFromString(self._plain_one(request, at, current))
        if not into.kvs:
            return
        if request.keys_only:
            into.kvs[0].ClearField("value")
        if has_revision_filters(request):
            _replace(into, _filtered(list(into.kvs), request))

    def _answer_many(
        self, request: RangeRequest, into: RangeResponse, at: int, current: int
    ) -> None:
        if not _is_arranged(request):  # it is keys_only
            into.MergeFromString(self._plain(request, at, current))
        else:
            # As etcd: a target without an order sorts the first keys, not all.
            limit = max(request.limit, 0)
            needs_all = has_revision_filters(request) or request.sort_order != RangeRequest.NONE
            fetch = 1 if request.count_only else limit + 1 if limit and not needs_all else 0
            revisions, into.count = self._revisions(request, at, current, fetch)
            if request.count_only:
                return
            encoded = kv_fields(self._records(revisions))
            _fill_arranged(into, encoded, request, limit)
        if request.keys_only:
            _clear_values(into)

    def _revisions(
        self, request: RangeRequest, at: int, current: int, fetch: int
    ) -> tuple[list[int], int]:
        """Return the revisions of a range's values, `fetch` of them (0: all), and their count."""
        if at == current:
            return self._index.live_range(request.key, request.range_end, fetch)
        return self._index.range_at(request.key, request.range_end, at, fetch)

    def _records(self, revisions: list[int]) -> list[bytes]:
        # `revision_key`, without a call for each.
        keys = [packed.to_bytes(REVISION_KEY_BYTES, "big") for packed in revisions]
        return self._backend.get_many(keys)


def _revision_read(request: RangeRequest, current: int, compact_revision: int) -> int:
    at = request.revision
    if at > current:
        raise FutureRevision
    if at <= 0:
        at = current
    if at < compact_revision:
        raise Compacted(compact_revision=compact_revision)
    return at


def is_plain(request: RangeRequest) -> bool:
    """Whether the answer is stored records as they are, in key order."""
    return not (request.keys_only or _is_arranged(request))


def _is_arranged(request: RangeRequest) -> bool:
    """Whether keys are to be filtered or sorted."""
    return (
        request.sort_order != RangeRequest.NONE
        or request.sort_target != RangeRequest.KEY
        or has_revision_filters(request)
    )


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
