"""The store: one object that applies requests in the order of the log.

Given the same requests in the same order, every node's store gives the same answers and the same
errors. Nothing here waits, and a request that is refused has changed nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from tianlu._proto.etcd.rpc_pb2 import (
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    TxnRequest,
    TxnResponse,
)
from tianlu_registry.errors import Compacted, Corrupt, FutureRevision
from tianlu_registry.mvcc.apply import check_put_applies, execute_delete_range, execute_put
from tianlu_registry.mvcc.compaction import Compactor
from tianlu_registry.mvcc.key_index import KeyIndex
from tianlu_registry.mvcc.protocols import LeaseBook, RevisionBackend
from tianlu_registry.mvcc.range import Reader, is_plain
from tianlu_registry.mvcc.record import key_of
from tianlu_registry.mvcc.restore import Restored, rebuild
from tianlu_registry.mvcc.revision import (
    MAIN_SHIFT,
    Change,
    first_key_of,
    unpack_key,
)
from tianlu_registry.mvcc.txn import Executor, check_path, choose_path
from tianlu_registry.mvcc.write import Writer

Response = TypeVar("Response")

FIRST_REVISION = 1
"""Revision of the empty store. Source: etcd server/storage/mvcc/kvstore.go."""


class Applied(NamedTuple, Generic[Response]):
    """An answer, and what the request changed (nothing: the revision stayed)."""

    response: Response
    changes: Sequence[Change]


class MvccStore:
    """Keys with all their revisions since the last compaction.

    Requests have passed `mvcc.check` before. Answers have `header.revision` set; the caller fills
    in the rest of the header. After a call that returns changes the caller publishes them to the
    watch hub in the same turn of the loop.

    Args:
        backend: holds the records; the index is rebuilt from it now, which takes time in proportion
            to the records (about 2.5 s for a million).
        leases: holds the leases that the records name, restored before.

    Raises:
        Corrupt: records are missing.
    """

    def __init__(self, backend: RevisionBackend, leases: LeaseBook) -> None:
        self._backend = backend
        self._leases = leases
        self.reload(rebuild(backend.scan(first_key_of(0), b"\xff" * 12)))

    def reload(self, restored: Restored) -> None:
        """Take another state: the backend and the leases hold it already.

        Args:
            restored: what `rebuild` made of the backend's records.

        Raises:
            Corrupt: records are missing.
        """
        self._index = KeyIndex()
        self._reader = Reader(self._index, self._backend)
        self._index.restore(restored.entries)
        self._compactor = Compactor(self._index, self._backend)
        self._revision = max(FIRST_REVISION, restored.revision)
        if self._revision < self._compactor.revision:
            # Compaction keeps the record of the newest revision, even a tombstone.
            raise Corrupt(
                f"{Corrupt.text}: the newest record is of revision {restored.revision}, but"
                f" {self._compactor.revision} has been compacted"
            )
        for key, lease in restored.leases.items():
            if self._leases.has(lease):
                self._leases.attach(lease, (key,))

    @property
    def revision(self) -> int:
        """The newest main revision."""
        return self._revision

    @property
    def compact_revision(self) -> int:
        """Reads below it are refused; -1 before the first compaction."""
        return self._compactor.revision

    @property
    def key_count(self) -> int:
        """How many keys have a value."""
        return len(self._index)

    def range(self, request: RangeRequest) -> RangeResponse:
        """Read keys, at the present or at a past revision.

        Raises:
            FutureRevision, Compacted: the revision asked for is not there yet, or no more.
        """
        response = RangeResponse()
        self._reader.answer(request, response, self._revision, self._compactor.revision)
        return response

    def range_encoded(self, request: RangeRequest) -> bytes | None:
        """Read keys like `range`, and return the encoded answer apart from its header; None for a
        request whose answer has to be built.

        Raises:
            FutureRevision, Compacted: as `range`.
        """
        if not is_plain(request):
            return None
        return self._reader.plain_answer(request, self._revision, self._compactor.revision)

    def range_piece(self, request: RangeRequest) -> RangeResponse:
        """Read the first keys of a range: see `Reader.piece`.

        Raises:
            FutureRevision, Compacted: as `range`.
        """
        return self._reader.piece(request, self._revision, self._compactor.revision)

    def put(self, request: PutRequest) -> Applied[PutResponse]:
        """Put a key.

        Raises:
            LeaseNotFound: the lease named does not exist.
            KeyNotFound: ignore_value or ignore_lease, and the key has no value.
        """
        check_put_applies(request, self._index, self._leases)
        response = PutResponse()
        writer = self._writer()
        execute_put(request, response, self._reader, writer)
        self._revision = writer.main
        return Applied(response, writer.changes)

    def delete_range(self, request: DeleteRangeRequest) -> Applied[DeleteRangeResponse]:
        """Delete the keys of a range, all in one revision."""
        response = DeleteRangeResponse()
        writer = self._writer()
        execute_delete_range(request, response, self._index, self._reader, writer)
        self._revision = writer.revision
        return Applied(response, writer.changes)

    def txn(self, request: TxnRequest) -> Applied[TxnResponse]:
        """Execute a transaction: all of its changes in one revision, or none.

        Raises:
            LeaseNotFound, KeyNotFound, FutureRevision, Compacted: an operation on the path taken
            cannot be.
        """
        path = choose_path(request, self._reader)
        compact_revision = self._compactor.revision
        check_path(path, self._index, self._leases, self._revision, compact_revision)
        response = TxnResponse()
        writer = self._writer()
        Executor(self._index, self._reader, writer, compact_revision).execute(path, response)
        self._revision = writer.revision
        response.header.revision = self._revision
        return Applied(response, writer.changes)

    def delete_keys(self, keys: Sequence[bytes]) -> Sequence[Change]:
        """Delete those of the keys that have values, in one revision: the keys of a revoked
        lease, sorted."""
        writer = self._writer()
        for key in keys:
            if self._index.latest(key):
                writer.delete(key)
        self._revision = writer.revision
        return writer.changes

    def compact(self, revision: int) -> None:
        """Refuse reads below `revision` from now on. `compaction_step` then frees the space.

        Raises:
            Compacted: that, or a later one, was compacted before.
            FutureRevision: the store is not there yet.
        """
        if revision <= self._compactor.revision:
            raise Compacted(compact_revision=self._compactor.revision)
        if revision > self._revision:
            raise FutureRevision
        self._compactor.schedule(revision)

    def compaction_step(self, budget: int) -> bool:
        """Remove compacted revisions; call between other work.

        Args:
            budget: keys looked at and revisions removed, together.

        Returns:
            True when nothing is left to remove.
        """
        return self._compactor.step(budget)

    # History, for watchers

    def changes_since(
        self, revision: int, until: int, changes_max: int, bytes_max: int
    ) -> tuple[list[Change], int]:
        """Return changes from main revision `revision` on, through `until` at most, and the
        revision up to which they are all.

        Revisions come whole: the last one is completed even beyond the maxima.

        Args:
            bytes_max: of the changes' records.
        """
        changes: list[Change] = []
        last_main = size = 0
        for key, record in self._backend.scan(first_key_of(revision), first_key_of(until + 1)):
            packed = unpack_key(key)
            main = packed >> MAIN_SHIFT
            if main != last_main and (len(changes) >= changes_max or size >= bytes_max):
                return changes, last_main
            last_main = main
            size += len(record)
            changes.append(Change(key_of(record), packed, record))
        return changes, until

    def records(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield (revision key, record) for start <= revision key < end in order. Nothing may be
        applied meanwhile."""
        return self._backend.scan(start, end)

    def value_revision(self, key: bytes, main: int) -> int:
        """Return the packed revision of the key's value at main revision `main`, 0 if it had
        none."""
        return self._index.at(key, main)

    def record_before(self, change: Change) -> bytes | None:
        """Return the record of the value that a change replaced; None if there was none or
        history is gone."""
        before = (change.packed >> MAIN_SHIFT) - 1
        if before < self._compactor.revision:
            return None
        return self._reader.record_at(change.key, before)

    def _writer(self) -> Writer:
        return Writer(self._index, self._backend, self._leases, self._revision + 1)
