"""Flags that bound what the node takes and keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar


@dataclass(frozen=True, slots=True)
class LimitFlags:
    """How much the node takes and keeps."""

    panel: ClassVar[str] = "Limits"

    quota_backend_bytes: Annotated[
        int,
        "Database size above which writes are refused; 0 for the default, 2 GiB.",
    ] = 0
    max_request_bytes: Annotated[int, "Largest request."] = 1536 * 1024
    max_txn_ops: Annotated[int, "Most operations in a transaction."] = 128
    auto_compaction_mode: Annotated[
        str,
        "How the retention is meant: 'periodic' (a time) or 'revision' (a number of them).",
    ] = "periodic"
    auto_compaction_retention: Annotated[
        str,
        "History that compaction keeps: hours, a duration such as 30m, or, by mode, revisions. "
        "0: compact only when asked.",
    ] = "0"
    snapshot_catchup_entries: Annotated[int, "Applied log entries kept behind the database."] = 5000
    snapshot_count: Annotated[
        int,
        "Accepted for etcd's sake, without effect: the state is committed continuously.",
    ] = 0
    watch_progress_notify_interval: Annotated[
        float,
        "Seconds of silence after which watches that asked for it hear how far they are.",
    ] = 600.0
