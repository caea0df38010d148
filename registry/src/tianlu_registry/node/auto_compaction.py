"""The leader's care for old revisions: compacting them through the log when a schedule says so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from tianlu._proto.etcd.rpc_pb2 import CompactionRequest
from tianlu_registry.errors import Compacted, RegistryError, Unavailable
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.compaction_schedule import (
    CompactionSchedule,
    PeriodicSchedule,
    RevisionSchedule,
)
from tianlu_registry.node.config import NodeConfig

_log = logging.getLogger(__name__)

Propose = Callable[[CommandKind, Request], "asyncio.Future[Any]"]


class AutoCompactor:
    """Proposes the compactions that a schedule asks for, one at a time.

    Args:
        schedule: says what is due; None for a node that compacts only when asked.
        revision: the store's present revision.
        propose: puts a command into the log; raises `Unavailable` when it cannot now.
        on_compacted: told when there is history to remove.

    Attributes:
        done_count, failed_count: compactions since the start, for metrics.
    """

    def __init__(
        self,
        schedule: CompactionSchedule | None,
        *,
        revision: Callable[[], int],
        propose: Propose,
        on_compacted: Callable[[], None],
    ) -> None:
        self._schedule: Final = schedule
        self._revision = revision
        self._propose = propose
        self._on_compacted = on_compacted
        self._under_way = False
        self.done_count = 0
        self.failed_count = 0

    def tick(self, now: float, *, leads: bool) -> None:
        """Propose what is due, if this member leads. Never waits; a failure is due again later."""
        if self._schedule is None:
            return
        # A follower asks too: the schedule learns how old the revisions are.
        revision = self._schedule.due(now, self._revision())
        if revision is None or not leads or self._under_way:
            return
        _log.info("auto_compaction.started revision=%d", revision)
        try:
            answered = self._propose(CommandKind.COMPACTION, CompactionRequest(revision=revision))
        except Unavailable as error:
            self._failed(revision, error)
            return
        self._under_way = True
        answered.add_done_callback(partial(self._answered, self._schedule, revision))

    def _answered(
        self, schedule: CompactionSchedule, revision: int, answered: asyncio.Future[Any]
    ) -> None:
        self._under_way = False
        if answered.cancelled():
            return
        error = answered.exception()
        if error is not None and not isinstance(error, Compacted):
            self._failed(revision, error)
            return
        # Compacted: somebody asked for the same, or more, meanwhile.
        schedule.compacted(revision)
        self.done_count += 1
        _log.info("auto_compaction.complete revision=%d", revision)
        self._on_compacted()

    def _failed(self, revision: int, error: BaseException) -> None:
        self.failed_count += 1
        text = str(error) if isinstance(error, RegistryError) else repr(error)
        _log.warning("auto_compaction.failed revision=%d error=%r", revision, text)


def schedule_of(config: NodeConfig, now: float) -> CompactionSchedule | None:
    """Return the schedule that the settings ask for; None if they ask for none."""
    if config.compaction_period_seconds:
        return PeriodicSchedule(config.compaction_period_seconds, now)
    if config.compaction_revisions_kept:
        return RevisionSchedule(config.compaction_revisions_kept, now)
    return None
