"""Flags that bound what the node takes and keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from tianlu_registry.errors import InvalidArgument
from tianlu_registry.server.go_durations import go_seconds


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
        str,
        "Silence after which watches that asked for it hear how far they are: a duration, such as "
        "10m, or seconds.",
    ] = "600"
    backend_batch_interval: Annotated[
        str, "Longest time that applied entries stay out of the database file; 100ms if not given."
    ] = ""
    backend_batch_limit: Annotated[
        int, "Operations that are committed to the database file at once; 0 for the default, 10000."
    ] = 0

    @property
    def progress_interval_seconds(self) -> float:
        """The watches' interval.

        Raises:
            InvalidArgument: it is no duration above 0.
        """
        return _seconds("watch_progress_notify_interval", self.watch_progress_notify_interval)

    @property
    def commit_interval_milliseconds(self) -> int:
        """The database's interval.

        Raises:
            InvalidArgument: it is no duration above 0.
        """
        text = self.backend_batch_interval
        return (
            round(_seconds("backend_batch_interval", text) * 1000) if text not in ("", "0") else 100
        )


def _seconds(field: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = go_seconds(text) or 0.0
    if not 0 < seconds < math.inf:
        raise InvalidArgument(field, f"is {text!r}; give a duration above 0, such as 10m or 500ms")
    return seconds
