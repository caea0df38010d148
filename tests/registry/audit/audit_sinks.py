"""Sinks for tests: one that keeps, can fail and can hang, and a log over one."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tianlu_registry.audit.log import AuditLog

PATIENCE_SECONDS = 30.0


class KeepingSink:
    """Keeps what is written; `broken` makes it fail, `open` cleared makes it hang."""

    def __init__(self) -> None:
        self.content = b""
        self.broken = False
        self.syncs = 0
        self.closed = False
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def append(self, lines: bytes) -> None:
        self.entered.set()
        self.open.wait()
        if self.broken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.content += lines

    def sync(self) -> None:
        self.syncs += 1

    def close(self) -> None:
        self.closed = True

    @property
    def lines(self) -> list[str]:
        return self.content.decode().splitlines()


@contextmanager
def running_log(sink: KeepingSink, **settings: object) -> Iterator[AuditLog]:
    """A log over a sink; lost lines are said as ``{"lost": N}``."""
    log = AuditLog(sink, lost_line, **settings)  # type: ignore[arg-type]
    log.start()
    try:
        yield log
    finally:
        sink.open.set()
        log.close()


def lost_line(count: int) -> bytes:
    return json.dumps({"lost": count}).encode() + b"\n"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
