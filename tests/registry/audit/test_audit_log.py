"""The queue to the audit log's thread: what happens while the disk is slow, full or broken."""

from __future__ import annotations

import asyncio

import pytest
from registry.audit.audit_sinks import KeepingSink, running_log, until

from tianlu_registry.audit.log import AuditLogUnavailable


def test_lines_arrive_in_order_and_are_synced_at_the_end() -> None:
    sink = KeepingSink()
    with running_log(sink) as log:
        for number in range(1000):
            log.write(b"%d\n" % number)
    assert sink.lines == [str(number) for number in range(1000)]
    assert sink.syncs
    assert sink.closed
    assert (log.counts().written, log.counts().dropped, log.counts().queue_bytes) == (1000, 0, 0)


def test_what_finds_the_queue_full_is_lost_counted_and_said() -> None:
    sink = KeepingSink()
    sink.open.clear()
    with running_log(sink, queue_bytes_max=4) as log:
        log.write(b"a\n")
        sink.entered.wait()  # the disk hangs with the first line, which still counts
        for line in (b"b\n", b"c\n", b"d\n"):
            log.write(line)
        assert log.counts().dropped == 2
        assert log.counts().queue_bytes == 4
        log.admit()  # writes go on all the same
        sink.open.set()
        until(lambda: "lost" in sink.content.decode())
    assert sink.lines == ["a", '{"lost": 2}', "b"]


def test_a_disk_that_fails_costs_lines_until_it_works_again() -> None:
    sink = KeepingSink()
    sink.broken = True
    with running_log(sink) as log:
        log.write(b"a\n")
        until(lambda: log.counts().failures == 1)
        sink.broken = False
        log.write(b"b\n")
        until(lambda: log.counts().written == 1)
    assert sink.lines == ['{"lost": 1}', "b"]
    assert log.counts().dropped == 1


def test_what_was_lost_is_said_without_another_write() -> None:
    sink = KeepingSink()
    sink.broken = True
    with running_log(sink) as log:
        log.write(b"a\n")
        until(lambda: log.counts().failures > 0)
        sink.broken = False
        until(lambda: sink.lines == ['{"lost": 1}'])


async def test_strict_answers_wait_until_their_line_is_synced() -> None:
    sink = KeepingSink()
    sink.open.clear()
    with running_log(sink, strict=True) as log:
        log.admit()
        answering = asyncio.create_task(log.write_synced(b"a\n"))
        await asyncio.to_thread(sink.entered.wait)
        assert not answering.done()
        sink.open.set()
        await answering
        assert sink.lines == ["a"]
        assert sink.syncs == 1


async def test_strict_writes_are_not_begun_while_lines_cannot_be_written() -> None:
    sink = KeepingSink()
    sink.broken = True
    with running_log(sink, strict=True) as log:
        with pytest.raises(AuditLogUnavailable):
            await log.write_synced(b"a\n")
        with pytest.raises(AuditLogUnavailable):
            log.admit()
        sink.broken = False
        await asyncio.to_thread(until, lambda: bool(sink.lines))
        await asyncio.to_thread(until, lambda: not _is_refused(log.admit))
    assert sink.lines == ['{"lost": 1}']


async def test_strict_answers_do_not_wait_for_ever() -> None:
    sink = KeepingSink()
    sink.open.clear()
    with (
        running_log(sink, strict=True, wait_seconds=0.01) as log,
        pytest.raises(AuditLogUnavailable),
    ):
        await log.write_synced(b"a\n")


def _is_refused(admit: object) -> bool:
    try:
        admit()  # type: ignore[operator]
    except AuditLogUnavailable:
        return True
    return False
