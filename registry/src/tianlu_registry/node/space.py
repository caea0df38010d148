"""Room for writing: the quota, the free disk, and the NOSPACE alarm they raise.

While the alarm stands, what needs new room (puts, transactions that put, lease grants) is refused
with `NoSpace`; reads, deletes, revocations, keep-alives and compaction are served, because they
are how room is made. The alarm clears by itself: etcd's must be disarmed by hand after compacting
and defragmenting, ours measures the space in use, which compaction gives back.
Source: etcd server/etcdserver/apply/apply.go `applierV3Capped`, storage/quota.go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from tianlu_registry.errors import NoSpace

_log = logging.getLogger(__name__)

_CLEAR_QUOTA_PARTS: Final = (19, 20)
_CLEAR_DISK_PARTS: Final = (5, 4)
"""The alarm is raised at a limit and clears a little away from it, so that it does not flutter:
at 95 % of the quota, and with a quarter more free disk than the minimum."""

PUT_OVERHEAD_BYTES: Final = 256
"""What a key costs beyond its request: revision key, record fields, tree pages. Source: etcd
server/storage/quota.go `kvOverhead`."""


class SpaceGuard:
    """Decides whether a write may go into the log.

    Args:
        quota_bytes: see `NodeConfig.quota_bytes`.
        disk_free_bytes_min: see `NodeConfig.disk_free_bytes_min`.
        bytes_in_use: the database's space in use, with what waits to be committed.
        disk_free_bytes: the file system's free space.
    """

    def __init__(
        self,
        *,
        quota_bytes: int,
        disk_free_bytes_min: int,
        bytes_in_use: Callable[[], int],
        disk_free_bytes: Callable[[], int],
    ) -> None:
        self._quota_bytes = quota_bytes
        self._disk_free_bytes_min = disk_free_bytes_min
        self._bytes_in_use = bytes_in_use
        self._disk_free_bytes = disk_free_bytes
        self._alarm: str | None = None
        self._used = 0
        self._admitted = 0
        self.measure()

    @property
    def alarm(self) -> str | None:
        """Why writes are refused; None when they are not."""
        return self._alarm

    def admit(self, size: int) -> None:
        """Let a write of `size` serialized bytes pass.

        Raises:
            NoSpace: the alarm stands, or this write would pass the quota.
        """
        if self._alarm is None:
            cost = size + PUT_OVERHEAD_BYTES
            if self._used + self._admitted + cost < self._quota_bytes:
                self._admitted += cost
                return
            # What was admitted since the last measurement is an estimate: measure before refusing.
            self.measure()
            if self._used + cost < self._quota_bytes:
                self._admitted = cost
                return
        raise NoSpace

    def measure(self) -> None:
        """Look at the database and the disk again: after every commit, and every second."""
        self._used = self._bytes_in_use()
        self._admitted = 0
        alarm = self._over_quota() or self._disk_low()
        if (alarm is None) != (self._alarm is None):
            if alarm is not None:
                _log.warning("space.alarm_raised reason=%r", alarm)
            else:
                _log.warning("space.alarm_cleared was=%r", self._alarm)
        self._alarm = alarm

    def _over_quota(self) -> str | None:
        parts, whole = _CLEAR_QUOTA_PARTS if self._alarm is not None else (1, 1)
        if self._used * whole < self._quota_bytes * parts:
            return None
        return (
            f"NOSPACE: the database uses {self._used} of {self._quota_bytes} bytes; "
            "delete keys and compact, or raise --quota-backend-bytes"
        )

    def _disk_low(self) -> str | None:
        if self._disk_free_bytes_min == 0:
            return None
        parts, whole = _CLEAR_DISK_PARTS if self._alarm is not None else (1, 1)
        free = self._disk_free_bytes()
        if free * whole >= self._disk_free_bytes_min * parts:
            return None
        return (
            f"NOSPACE: the data directory's file system has {free} bytes free, less than "
            f"{self._disk_free_bytes_min}; free some space"
        )
