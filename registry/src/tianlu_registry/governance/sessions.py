"""Sessions: leases, and the streams that show at once when their owner is gone.

A session is a lease. While a stream renews it, the session is alive. When the last stream breaks
without the session being closed, its instances turn suspect after a short grace; the next
renewal, by whatever way, clears that. The lease alone decides when they are removed.

A client whose stream breaks here may have opened another one at another node, which this node
cannot know: the mark that it then writes is wrong. The node that has the stream sees the mark in
its view and takes it back at once; this node marks each break once only, so they do not quarrel.

For each session one task brings the stored marks to what is wanted (`_reconcile`), so marks of
one session are never written by two at a time, and a reconnect in the middle is seen before the
task ends.

What must not mark anybody: a restart of this node (no stream of before is known to the new
process), a graceful stop (`drain` first, then close connections), and sessions that never had a
stream here, such as those renewed over JSON.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tianlu._proto.etcd.rpc_pb2 import LeaseGrantRequest, LeaseRevokeRequest
from tianlu._proto.v1.model_pb2 import Health
from tianlu_registry.catalog import plans, suspicion, validate
from tianlu_registry.catalog.history import RevisionChanges
from tianlu_registry.catalog.keys import InstanceName
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import LeaseNotFound, RegistryError, SessionNotFound
from tianlu_registry.governance.config import GovernanceConfig
from tianlu_registry.governance.feed import ViewFeed
from tianlu_registry.governance.wallclock import now_ms

logger = logging.getLogger(__name__)

_ATTEMPTS_MAX = 20
_RETRY_PAUSE_SECONDS = 0.25
_MASS_SESSIONS_MIN = 4
"""Fewer sessions than these cannot tell whether it is the node that lost them all."""
_CENSUS_SECONDS = 0.05
"""How long one count serves all who ask: when 10,000 streams break together, 10,000 ask."""


class _Session:
    """What this node knows of a session's streams.

    Invariant: `broken_at` is set only while there is no stream and none has renewed since.
    `break_marked`: the instances have been marked for the break at `broken_at`.
    """

    __slots__ = ("break_marked", "broken_at", "streams", "task")

    def __init__(self) -> None:
        self.streams = 0
        self.broken_at: float | None = None
        self.break_marked = False
        self.task: asyncio.Task[None] | None = None


class _Census:
    """When streams broke, in order, and how many sessions have one, at a moment."""

    __slots__ = ("broken", "streaming", "taken_at")

    def __init__(self, sessions: Iterable[_Session]) -> None:
        self.taken_at = time.monotonic()
        self.broken: list[float] = []
        self.streaming = 0
        for session in sessions:
            self.streaming += session.streams > 0
            if session.broken_at is not None:
                self.broken.append(session.broken_at)
        self.broken.sort()


class Sessions:
    """Opens, renews and closes sessions, and watches over their streams."""

    def __init__(self, store: Store, feed: ViewFeed, config: GovernanceConfig) -> None:
        self._store = store
        self._feed = feed
        self._config = config
        self._sessions: dict[int, _Session] = {}
        self._census = _Census(())
        self._draining = False
        self.marked = {"suspect": 0, "alive": 0}  # instances, since this node started
        feed.on_changes(self._changed)

    # What clients ask for

    async def open(self, ttl_seconds: int, client: str) -> tuple[int, int]:
        """Grant a session; return its id and time to live in seconds.

        Raises:
            InvalidArgument: a time to live beyond the limits, or a malformed client name.
        """
        ttl = validate.ttl_seconds("ttl_seconds", ttl_seconds)
        validate.text("client", client, validate.PEOPLE_BYTES_MAX)
        granted = await self._store.lease_grant(LeaseGrantRequest(TTL=ttl))
        logger.info("session.opened id=%d ttl_seconds=%d client=%r", granted.ID, ttl, client)
        return granted.ID, granted.TTL

    async def renew(self, session_id: int) -> int:
        """Renew once; return the time to live in seconds, 0 if the session has ended."""
        validate.session_id("session_id", session_id)
        ttl = (await self._store.lease_keep_alive(session_id)).TTL
        session = self._sessions.get(session_id)
        if ttl <= 0:
            self._sessions.pop(session_id, None)
            return 0
        if session is not None:
            session.broken_at = None
        if any(entry.joined.suspect for entry in self._feed.view.of_session(session_id)):
            self._ensure_reconciled(session_id)
        return ttl

    async def close(self, session_id: int) -> int:
        """End a session: its instances leave at once. Return the revision that removed them.

        Raises:
            SessionNotFound: it has ended already.
        """
        validate.session_id("session_id", session_id)
        try:
            revoked = await self._store.lease_revoke(LeaseRevokeRequest(ID=session_id))
        except LeaseNotFound as error:
            self._sessions.pop(session_id, None)
            raise SessionNotFound from error
        # Not before: a session that could not be ended is still watched over.
        self._sessions.pop(session_id, None)
        logger.info("session.closed id=%d", session_id)
        return revoked.header.revision

    # What the streams tell

    def stream_opened(self, session_id: int) -> None:
        """A stream has begun to renew this session."""
        session = self._sessions.setdefault(session_id, _Session())
        session.streams += 1
        session.broken_at = None

    def stream_closed(self, session_id: int) -> None:
        """A stream that renewed this session is over, for whatever reason."""
        session = self._sessions.get(session_id)
        if session is None:
            return  # closed in the proper way, or ended
        session.streams -= 1
        if session.streams > 0 or self._draining:
            return
        session.broken_at, session.break_marked = time.monotonic(), False
        self._ensure_reconciled(session_id)

    def drain(self) -> None:
        """This node is about to stop: streams that break from now on say nothing about their
        owners. Call it before connections are closed."""
        self._draining = True

    @property
    def streams_count(self) -> int:
        return sum(session.streams for session in self._sessions.values())

    def forget_ended(self) -> None:
        """Drop what is known of sessions that have neither a stream nor an instance."""
        ended = [
            session_id
            for session_id, session in self._sessions.items()
            if session.streams == 0
            and session.task is None
            and not self._feed.view.of_session(session_id)
        ]
        for session_id in ended:
            del self._sessions[session_id]

    async def stop(self) -> None:
        """End all work on marks."""
        self._draining = True
        tasks = [session.task for session in self._sessions.values() if session.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Marks

    def _changed(self, revisions: Sequence[RevisionChanges]) -> None:
        """Take back marks on sessions whose streams are here."""
        for revision in revisions:
            for change in revision.changes:
                session = self._sessions.get(change.suspected_session)
                if session is not None and session.streams > 0 and not self._draining:
                    self._ensure_reconciled(change.suspected_session)

    def _ensure_reconciled(self, session_id: int) -> None:
        session = self._sessions.setdefault(session_id, _Session())
        if session.task is None:
            session.task = asyncio.create_task(
                self._reconcile(session_id, session), name="session-marks"
            )

    async def _reconcile(self, session_id: int, session: _Session) -> None:
        """Bring the marks of a session's instances to what is wanted, which may change while
        this runs."""
        try:
            for _ in range(_ATTEMPTS_MAX):
                await self._wait_grace(session)
                if not await self._mark(session_id, session):
                    return
            logger.warning("session.marks_unsettled id=%d attempts=%d", session_id, _ATTEMPTS_MAX)
        finally:
            session.task = None

    async def _wait_grace(self, session: _Session) -> None:
        """Wait until the owner has had its time to reconnect since the stream broke last."""
        while (broken_at := session.broken_at) is not None:
            waited = time.monotonic() - broken_at
            grace = self._config.stream_grace_seconds
            if waited >= grace and self._most_broke_together(session):
                grace = self._config.mass_break_seconds
            if waited >= grace:
                return
            await asyncio.sleep(grace - waited)

    async def _mark(self, session_id: int, session: _Session) -> bool:
        """Write the marks that are missing now. Return whether there may be more to do."""
        if self._draining or not self._feed.ready:
            return False
        suspect = session.broken_at is not None
        if suspect and session.break_marked:
            return False
        targets = [
            entry.name
            for entry in self._feed.view.of_session(session_id)
            if entry.joined.suspect != suspect
        ]
        if not targets:
            return False
        try:
            written = await self._write(session_id, targets, suspect)
        except LeaseNotFound:
            return False  # the session has ended, and with it its instances
        except RegistryError as error:
            logger.warning("session.marks_failed id=%d reason=%s", session_id, error)
            await asyncio.sleep(_RETRY_PAUSE_SECONDS)
        else:
            session.break_marked = suspect and written
            liveness = "suspect" if suspect else "alive"
            self.marked[liveness] += len(targets)
            logger.info("session.%s id=%d instances=%d", liveness, session_id, len(targets))
        return True

    async def _write(self, session_id: int, targets: list[InstanceName], suspect: bool) -> bool:
        """Write marks. Return whether all were written: the others have left or moved."""
        findings = list(self._findings(targets, suspect))
        all_written = True
        for first in range(0, len(findings), plans.MARKS_MAX):
            batch = findings[first : first + plans.MARKS_MAX]
            response = await self._store.txn(plans.mark(session_id, batch))
            all_written = all_written and response.succeeded
            # Also after a failed comparison, so that the next attempt sees what has changed.
            await self._feed.wait_revision(response.header.revision)
        return all_written

    def _findings(
        self, targets: list[InstanceName], suspect: bool
    ) -> Iterator[tuple[InstanceName, Health]]:
        now = now_ms()
        if not suspect:
            health = suspicion.alive(now)
            return ((name, health) for name in targets)
        turning = Counter((name.namespace, name.service) for name in targets)
        by_service = {
            service: suspicion.suspect(self._feed.view.service(*service), count, now)
            for service, count in turning.items()
        }
        return ((name, by_service[name.namespace, name.service]) for name in targets)

    def _most_broke_together(self, session: _Session) -> bool:
        """Whether more than half of this node's streamed sessions broke about when this did."""
        at = session.broken_at
        if at is None:
            return False
        census = self._census
        if time.monotonic() - census.taken_at >= _CENSUS_SECONDS:
            census = self._census = _Census(self._sessions.values())
        near = self._config.stream_grace_seconds
        broken = bisect_right(census.broken, at + near) - bisect_left(census.broken, at - near)
        return broken >= _MASS_SESSIONS_MIN and broken > census.streaming
