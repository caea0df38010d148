"""Writes the host snapshot; `tianlu._snapshot` has what readers may rely on."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import lmdb

from tianlu._snapshot import (
    FILE_NAME,
    FORMAT,
    LOCK_NAME,
    MAP_BYTES,
    META_KEY,
    PIN_SECONDS,
    HostSnapshot,
    SnapshotMeta,
    checksum_of,
    encode_service,
    seal,
    service_record_key,
)
from tianlu._view import ServiceKey, ServiceView

_log: Final = logging.getLogger(__name__)


class SnapshotWriter:
    """Writes one directory's snapshot while no other process does. Use from one thread at a time.

    The first writer of a directory holds an exclusive `flock` on `writer.lock`, which the kernel
    releases when it dies. Others' `write` does nothing until then, so that whoever lives longest
    takes over.

    Args:
        directory: made if need be.
        writer: who writes, for people.
        complete: whether `write` is given the whole catalogue. Then what it is not given is
            deleted; otherwise records of other services stay.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        writer: str,
        complete: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = Path(directory)
        self._writer = writer
        self._complete = complete
        self._clock = clock
        self._lock: int | None = None
        self._environment: lmdb.Environment | None = None
        self._written: dict[ServiceKey, ServiceView] = {}
        self._sums: dict[ServiceKey, int] = {}
        self._meta = SnapshotMeta(0, 0, 0, complete, writer, 0, 0)
        self._pins: list[tuple[float, lmdb.Transaction]] = []
        self._reported = False

    def write(
        self, services: Mapping[ServiceKey, ServiceView], *, revision: int, confirmed_unix_ms: int
    ) -> bool:
        """Write what differs from the last write, in one transaction.

        Returns:
            Whether the snapshot now holds `services`: False if another process is the writer, or
            the disk refuses (the log says so, once until it works again).
        """
        try:
            if not self._acquire():
                return False
            self._commit(services, revision, confirmed_unix_ms)
        except (OSError, lmdb.Error) as error:
            if not self._reported:
                _log.warning("snapshot.write_failed dir=%s error=%s", self._directory, error)
            self._reported = True
            return False
        self._reported = False
        return True

    def close(self) -> None:
        """Let another process write. Calling it again does nothing."""
        self._drop_pins(float("inf"))
        if self._environment is not None:
            self._environment.close()
            self._environment = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _acquire(self) -> bool:
        """Become the writer if nobody is."""
        if self._environment is not None:
            return True
        self._directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        except OSError:
            os.close(lock)
            raise
        self._lock = lock
        try:
            self._take_over()
        except (OSError, lmdb.Error):
            self.close()
            raise
        return True

    def _take_over(self) -> None:
        """Go on from what the last writer left; put a damaged file aside first."""
        path = self._directory / FILE_NAME
        found = HostSnapshot(self._directory).read()
        if found is None and path.exists():
            path.replace(path.with_suffix(".damaged"))
        self._written, self._sums = {}, {}
        if found is not None:
            self._meta, services = found
            self._written = dict(services)
        self._environment = lmdb.open(
            str(path), subdir=False, map_size=MAP_BYTES, max_dbs=0, max_readers=8, mode=0o644
        )
        self._environment.reader_check()
        with self._environment.begin() as transaction:
            for key in self._written:
                record = transaction.get(service_record_key(key)) or b""
                self._sums[key] = checksum_of(record)

    def _commit(
        self, services: Mapping[ServiceKey, ServiceView], revision: int, confirmed_unix_ms: int
    ) -> None:
        environment = self._environment
        if environment is None:
            return
        self._pin(environment)
        changed = {
            key: seal(service_record_key(key), encode_service(view, revision))
            for key, view in services.items()
            if self._written.get(key) != view
        }
        gone = [key for key in self._written if key not in services] if self._complete else []
        sums = self._sums | {key: checksum_of(record) for key, record in changed.items()}
        for key in gone:
            del sums[key]
        meta = SnapshotMeta(
            content=self._meta.content + 1,
            revision=revision,
            confirmed_unix_ms=confirmed_unix_ms,
            complete=self._complete,
            writer=self._writer,
            services=len(sums),
            checksum=sum(sums.values()) % 2**32,
        )
        with environment.begin(write=True) as transaction:
            for key in gone:
                transaction.delete(service_record_key(key))
            for key, record in changed.items():
                transaction.put(service_record_key(key), record)
            transaction.put(META_KEY, seal(META_KEY, encode_meta(meta)))
        self._meta, self._sums = meta, sums
        self._written = {key: view for key, view in self._written.items() if key in sums}
        self._written.update({key: services[key] for key in changed})

    def _pin(self, environment: lmdb.Environment) -> None:
        """Keep the pages of the present state from being reused for PIN_SECONDS at least.

        A pin is a read transaction. It protects its own state and all later ones, so a pin that is
        dropped leaves what was committed during its life without protection: the next one is taken
        PIN_SECONDS before.
        """
        now = self._clock()
        if not self._pins or now - self._pins[-1][0] >= PIN_SECONDS:
            self._pins.append((now, environment.begin()))
        self._drop_pins(now - 2 * PIN_SECONDS)

    def _drop_pins(self, before: float) -> None:
        while self._pins and self._pins[0][0] <= before:
            self._pins.pop(0)[1].abort()


def encode_meta(meta: SnapshotMeta) -> bytes:
    return json.dumps({"format": FORMAT, **dataclasses.asdict(meta)}, sort_keys=True).encode()
