"""When old revisions are compacted without anybody asking, and which. Pure: time is passed in.

Two rules, of which a node has one or none:

    by age      what was superseded longer than a period ago goes; looked at ten times in a period
                (of an hour, when the period is longer), done every period, at most every hour
    by number   all but the newest so many revisions go; looked at every five minutes

Both are asked on followers too, so that a new leader knows how old the revisions are. What they
know is in memory: after a restart a whole period passes before the first compaction.

Source: etcd server/etcdserver/api/v3compactor/periodic.go, revision.go.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, Protocol

HOUR_SECONDS: Final = 3600.0

SAMPLES_PER_INTERVAL: Final = 10

REVISION_CHECK_SECONDS: Final = 300.0


class CompactionSchedule(Protocol):
    """Decides which revision to compact, and when."""

    def due(self, now: float, revision: int) -> int | None:
        """Return the revision to compact now; None if there is nothing to do.

        Call it often, at least ten times as often as the rule looks. What was due and not reported
        to `compacted` is due again when the rule looks next.

        Args:
            now: seconds of a clock that never goes back.
            revision: the store's at this moment.
        """
        ...

    def compacted(self, revision: int) -> None:
        """Take note that what `due` returned is compacted, by whomever."""
        ...


class _Sample(NamedTuple):
    at: float
    revision: int


class PeriodicSchedule:
    """Compacts what was superseded more than a period ago.

    The samples kept are those of one period and at most one older: no more than
    `10 * max(1, period in hours) + 2`, however late or often `due` is called.

    Args:
        period_seconds: how long history is kept at least; above 0.
        now: when the node started.
    """

    def __init__(self, period_seconds: float, now: float) -> None:
        self._period = period_seconds
        self._interval = min(period_seconds, HOUR_SECONDS)
        self._sample_every = self._interval / SAMPLES_PER_INTERVAL
        self._samples: deque[_Sample] = deque()
        self._sample_at = now
        self._compact_at = now + period_seconds
        self._due_at = now
        self._last_revision = 0

    @property
    def sample_count(self) -> int:
        """How many samples are kept."""
        return len(self._samples)

    def due(self, now: float, revision: int) -> int | None:
        if now < self._sample_at:
            return None
        # Not `+=`: after a pause of the process one sample is enough.
        self._sample_at = now + self._sample_every
        self._samples.append(_Sample(now, revision))
        superseded = self._revision_at(now - self._period)
        if now < self._compact_at or superseded in (None, self._last_revision):
            return None
        self._due_at = now
        return superseded

    def compacted(self, revision: int) -> None:
        self._last_revision = revision
        # Not from the end of the compaction: its few milliseconds would put off the next one by a
        # whole sample.
        self._compact_at = self._due_at + self._interval

    def _revision_at(self, then: float) -> int | None:
        """Return the newest sample's revision that is as old as `then`, and forget older ones."""
        samples = self._samples
        while len(samples) > 1 and samples[1].at <= then:
            samples.popleft()
        return samples[0].revision if samples[0].at <= then else None


class RevisionSchedule:
    """Keeps a number of revisions.

    Args:
        kept: how many revisions before the present one can still be read; above 0.
        now: when the node started.
    """

    def __init__(self, kept: int, now: float) -> None:
        self._kept = kept
        self._check_at = now + REVISION_CHECK_SECONDS
        self._last_revision = 0

    def due(self, now: float, revision: int) -> int | None:
        if now < self._check_at:
            return None
        self._check_at = now + REVISION_CHECK_SECONDS
        target = revision - self._kept
        return target if target > self._last_revision else None

    def compacted(self, revision: int) -> None:
        self._last_revision = revision
