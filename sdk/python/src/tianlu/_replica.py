"""A local copy of parts of the catalogue: followers, the host snapshot below them, and waiting.

This is the cache ladder at work. Rung 1 is the followers' caches; rung 2, the host snapshot, fills
a cache that no registry has filled yet, as soon as the watch fails for the first time or has been
silent for PATIENCE_SECONDS. What the followers learn is written back to the snapshot, at most every
WRITE_SECONDS, if this replica is to write it.

`AsyncMirror` and the client's subscriptions are both replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tianlu._channel import Connection
from tianlu._errors import InvalidInput, NotAllowed, TianluError, Unavailable
from tianlu._follow import Follower, Scope
from tianlu._retry import Deadline
from tianlu._snapshot import HostSnapshot
from tianlu._view import ServiceKey, ServiceView

if TYPE_CHECKING:
    from tianlu._snapshot_writer import SnapshotWriter

_log: Final = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 1.0
"""How long a first answer of the registry is waited for before the snapshot is taken."""

WRITE_SECONDS: Final = 0.2
"""Changes within this time are written to the snapshot together."""

EXPIRE_SECONDS: Final = 5.0
"""How often retained instances are looked at (see `tianlu._cache`), while there are any."""

CONFIRM_SECONDS: Final = 5.0
"""How often a snapshot that did not change is confirmed while the watch holds: its age is right to
within this."""


class Replica:
    """Followers of several scopes. Belongs to one event loop.

    Args:
        subscriber: who watches, for people.
        snapshot_dir: where the host snapshot is, or None for none.
        complete: whether the scopes are the whole catalogue (for the snapshot).
        acknowledge: whether what is held is in effect by being held, so that the registry is told
            so at once; otherwise the owner calls `Follower.applied`.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        subscriber: str,
        snapshot_dir: Path | None,
        complete: bool,
        acknowledge: bool,
    ) -> None:
        self._acknowledge = acknowledge
        self._connection = connection
        self._subscriber = subscriber
        self._snapshot_dir = snapshot_dir
        self._complete = complete
        self._followers: dict[Follower, asyncio.Task[None]] = {}
        self._refusals: dict[Follower, TianluError] = {}
        self._changed = asyncio.Condition()
        self._version = 0
        self._unwritten = asyncio.Event()
        self._writer_task: asyncio.Task[None] | None = None
        self._expiry: asyncio.Task[None] | None = None

    @property
    def followers(self) -> tuple[Follower, ...]:
        return tuple(self._followers)

    @property
    def version(self) -> int:
        """Grows with every change of what is held or of how current it is."""
        return self._version

    @property
    def degraded(self) -> str:
        """Why what is held may be stale: the first follower's reason; "" if none has one."""
        return next((one.cache.degraded for one in self._followers if one.cache.degraded), "")

    @property
    def age_seconds(self) -> float:
        return max((one.age_seconds for one in self._followers), default=0.0)

    @property
    def revision(self) -> int:
        return min((one.cache.revision for one in self._followers), default=0)

    def services(self) -> Mapping[ServiceKey, ServiceView]:
        """Return everything held."""
        if len(self._followers) == 1:
            return self.followers[0].cache.services()
        return {key: view for one in self._followers for key, view in one.cache.services().items()}

    def follow(self, scope: Scope) -> Follower:
        """Begin to follow `scope` in the background."""
        follower = Follower(
            self._connection, scope, subscriber=self._subscriber, acknowledge=self._acknowledge
        )
        task = asyncio.create_task(self._pump(follower), name="tianlu watch")
        self._followers[follower] = task
        if self._snapshot_dir is not None and self._writer_task is None:
            self._writer_task = asyncio.create_task(
                self._write_snapshots(self._snapshot_dir), name="tianlu snapshot"
            )
        return follower

    async def filled(self, followers: Iterable[Follower], deadline: Deadline) -> None:
        """Wait until all of `followers` have something to answer from.

        Raises:
            InvalidInput, NotAllowed: the registry refuses one of them.
            Unavailable: the deadline passed first.
        """
        wanted = tuple(followers)
        if all(one.cache.filled for one in wanted):
            return
        restore = asyncio.create_task(self._restore_if_silent(wanted))
        try:
            async with self._changed, asyncio.timeout(deadline.remaining()):
                await self._changed.wait_for(
                    lambda: all(one.cache.filled or one in self._refusals for one in wanted)
                )
        except TimeoutError:
            missing = next(one for one in wanted if not one.cache.filled)
            raise Unavailable(f"nothing is known yet: {missing.cache.degraded}") from None
        finally:
            restore.cancel()
            await asyncio.gather(restore, return_exceptions=True)
        for one in wanted:
            if one in self._refusals:
                del self._followers[one]
                raise self._refusals.pop(one)

    async def next_version(self, seen: int) -> int:
        """Wait until the version is above `seen`; return it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._version > seen)
            return self._version

    async def close(self) -> None:
        """End the followers, then write what they held last."""
        tasks = [*self._followers.values(), *([self._expiry] if self._expiry else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._writer_task is not None:
            self._writer_task.cancel()
            await asyncio.gather(self._writer_task, return_exceptions=True)
            self._writer_task = None

    async def _pump(self, follower: Follower) -> None:
        try:
            async for _ in follower.changes():
                if follower.cache.degraded and not follower.cache.filled:
                    await self._restore((follower,))
                self._unwritten.set()
                await self._notify()
                if follower.cache.retaining and (self._expiry is None or self._expiry.done()):
                    self._expiry = asyncio.create_task(self._expire(), name="tianlu expiry")
        except (InvalidInput, NotAllowed) as error:
            _log.warning("watch.refused scope=%s error=%s", follower.scope, error)
            self._refusals[follower] = error
            await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._version += 1
            self._changed.notify_all()

    async def _restore_if_silent(self, followers: tuple[Follower, ...]) -> None:
        await asyncio.sleep(PATIENCE_SECONDS)
        await self._restore(tuple(one for one in followers if not one.cache.filled))

    async def _restore(self, followers: tuple[Follower, ...]) -> None:
        """Fill empty caches from the host snapshot, if there is one that covers them."""
        if self._snapshot_dir is None or not followers:
            return
        found = await asyncio.to_thread(HostSnapshot(self._snapshot_dir).read)
        if found is None:
            return
        meta, services = found
        age_seconds = max(0.0, time.time() - meta.confirmed_unix_ms / 1000)
        for follower in followers:
            held = _within(follower.scope, services)
            if not held and not meta.complete:
                continue
            follower.cache.restore(held, meta.revision, age_seconds, time.monotonic())
            _log.warning(
                "snapshot.used revision=%d age_seconds=%.0f services=%d",
                meta.revision,
                age_seconds,
                len(held),
            )
        await self._notify()

    async def _expire(self) -> None:
        """Let go of retained instances in time, though no message comes."""
        while any(one.cache.retaining for one in self._followers):
            await asyncio.sleep(EXPIRE_SECONDS)
            for one in self._followers:
                if one.cache.expire(time.monotonic()):
                    await self._notify()

    async def _write_snapshots(self, directory: Path) -> None:
        from tianlu._snapshot_writer import SnapshotWriter

        writer = SnapshotWriter(directory, writer=self._subscriber, complete=self._complete)
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CONFIRM_SECONDS):
                        await self._unwritten.wait()
                await asyncio.sleep(WRITE_SECONDS)
                await self._write(writer)
        finally:
            # Once more, for changes since the last write; the loop may be ending, so not a thread.
            if (held := self._writable()) is not None:
                writer.write(held, revision=self.revision, confirmed_unix_ms=self._confirmed())
            writer.close()

    async def _write(self, writer: SnapshotWriter) -> None:
        self._unwritten.clear()
        held = self._writable()
        if held is None:
            return
        writing = asyncio.create_task(
            asyncio.to_thread(
                writer.write, held, revision=self.revision, confirmed_unix_ms=self._confirmed()
            )
        )
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The thread ends first: a writer is not for two at a time.
            await writing
            raise

    def _confirmed(self) -> int:
        return round((time.time() - self.age_seconds) * 1000)

    def _writable(self) -> Mapping[ServiceKey, ServiceView] | None:
        """Return what a registry has said; None if that is nothing, or not all of it."""
        told = [one for one in self._followers if one.cache.synced]
        if not told or (self._complete and len(told) < len(self._followers)):
            return None
        return {key: view for one in told for key, view in one.cache.services().items()}


def _within(scope: Scope, services: Mapping[ServiceKey, ServiceView]) -> list[ServiceView]:
    return [
        view
        for key, view in services.items()
        if scope.namespace in ("", key.namespace)
        and (not scope.services or key.name in scope.services)
    ]
