from __future__ import annotations

import pytest

from tianlu_registry.errors import NoSpace
from tianlu_registry.node.space import PUT_OVERHEAD_BYTES, SpaceGuard


class Disk:
    """A database and a file system whose sizes a test sets."""

    def __init__(self) -> None:
        self.used = 0
        self.free = 10_000
        self.guard = SpaceGuard(
            quota_bytes=10_000,
            disk_free_bytes_min=1_000,
            bytes_in_use=lambda: self.used,
            disk_free_bytes=lambda: self.free,
        )


def test_writes_pass_while_there_is_room() -> None:
    disk = Disk()
    disk.guard.admit(5_000)
    assert disk.guard.alarm is None


def test_the_quota_raises_the_alarm_and_compaction_clears_it() -> None:
    disk = Disk()
    disk.used = 10_000
    disk.guard.measure()
    assert disk.guard.alarm is not None
    assert "NOSPACE" in disk.guard.alarm
    with pytest.raises(NoSpace, match="database space exceeded"):
        disk.guard.admit(1)
    disk.used = 9_500  # at 95 %: not yet, so that it does not flutter
    disk.guard.measure()
    assert disk.guard.alarm is not None
    disk.used = 9_499
    disk.guard.measure()
    assert disk.guard.alarm is None
    disk.guard.admit(1)


def test_a_write_that_would_pass_the_quota_is_refused_without_an_alarm() -> None:
    disk = Disk()
    with pytest.raises(NoSpace):
        disk.guard.admit(10_000)
    disk.guard.admit(100)


def test_what_was_admitted_counts_before_it_is_measured() -> None:
    disk = Disk()
    disk.guard.admit(5_000)
    disk.used = 5_000 + PUT_OVERHEAD_BYTES  # in the meantime it was written
    with pytest.raises(NoSpace):
        disk.guard.admit(5_000)


def test_a_full_disk_raises_the_alarm_before_it_is_full() -> None:
    disk = Disk()
    disk.free = 999
    disk.guard.measure()
    assert disk.guard.alarm is not None
    assert "999 bytes free" in disk.guard.alarm
    disk.free = 1_249  # a quarter above the minimum is needed
    disk.guard.measure()
    assert disk.guard.alarm is not None
    disk.free = 1_250
    disk.guard.measure()
    assert disk.guard.alarm is None


def test_the_disk_check_can_be_turned_off() -> None:
    guard = SpaceGuard(
        quota_bytes=10, disk_free_bytes_min=0, bytes_in_use=lambda: 0, disk_free_bytes=lambda: 0
    )
    assert guard.alarm is None
