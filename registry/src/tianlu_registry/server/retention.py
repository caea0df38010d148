"""What `--auto-compaction-mode` and `--auto-compaction-retention` say, in etcd's syntax.

Source: etcd server/embed/etcd.go `parseCompactionRetention`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tianlu_registry.errors import InvalidArgument
from tianlu_registry.server.go_durations import go_seconds


class Retention(NamedTuple):
    """How much history is kept; both 0 when nothing is compacted unasked."""

    period_seconds: float = 0.0
    revisions: int = 0


def parse_retention(mode: str, retention: str) -> Retention:
    """Return what the two flags mean together.

    Args:
        mode: ``periodic`` or ``revision``.
        retention: ``periodic``: a number of hours or a Go duration, such as ``30m`` or ``1h30m``;
            ``revision``: a number of revisions. ``0`` turns compaction off.

    Raises:
        InvalidArgument: names the flag's field and what would be right.
    """
    is_number = re.fullmatch(r"[0-9]{1,18}", retention) is not None
    if mode == "periodic":
        if is_number:
            return Retention(period_seconds=int(retention) * 3600.0)
        return Retention(period_seconds=_parse_duration(retention))
    if mode == "revision":
        if is_number:
            return Retention(revisions=int(retention))
        raise InvalidArgument(
            "auto_compaction_retention",
            f"{retention!r} is not a number of revisions, such as 1000; "
            "for a duration give --auto-compaction-mode periodic",
        )
    raise InvalidArgument("auto_compaction_mode", f"{mode!r} is unknown; give periodic or revision")


def _parse_duration(text: str) -> float:
    seconds = go_seconds(text)
    if seconds is None:
        raise InvalidArgument(
            "auto_compaction_retention",
            f"{text!r} is not a duration; give hours, such as 1, or a number with unit, such as "
            "30m or 1h30m",
        )
    return seconds
