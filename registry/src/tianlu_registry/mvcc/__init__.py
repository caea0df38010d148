"""Core: revisions, the key index, ranges, transactions and watch matching."""

from tianlu_registry.mvcc.check import (
    TXN_OPS_MAX,
    check_delete_range,
    check_put,
    check_range,
    check_txn,
    is_read_only,
    is_serializable,
)
from tianlu_registry.mvcc.protocols import LeaseBook, RevisionBackend
from tianlu_registry.mvcc.range import has_revision_filters
from tianlu_registry.mvcc.revision import Change
from tianlu_registry.mvcc.store import FIRST_REVISION, Applied, MvccStore
from tianlu_registry.mvcc.types import (
    WHOLE_KEYSPACE_FROM,
    Clock,
    Revision,
    WatchBatch,
    Watcher,
    WatchSink,
    WatchSpec,
)
from tianlu_registry.mvcc.watch import WatchHub

__all__ = [
    "FIRST_REVISION",
    "TXN_OPS_MAX",
    "WHOLE_KEYSPACE_FROM",
    "Applied",
    "Change",
    "Clock",
    "LeaseBook",
    "MvccStore",
    "Revision",
    "RevisionBackend",
    "WatchBatch",
    "WatchHub",
    "WatchSink",
    "WatchSpec",
    "Watcher",
    "check_delete_range",
    "check_put",
    "check_range",
    "check_txn",
    "has_revision_filters",
    "is_read_only",
    "is_serializable",
]
