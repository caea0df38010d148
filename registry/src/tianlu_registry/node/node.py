"""One registry node: its parts, joined in the order that recovery needs, and how it stops.

    data directory, lock ─> database (state at its applied index) ─> keys and leases in memory
                        └─> WAL (entries after that index) ───────> consensus core ─> Ready loop

A node is ready when a read on it is linearizable: there is a leader, and everything that was
committed before is applied here. So nobody ever reads a state from before a write that was
acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from tianlu._proto.etcd.rpc_pb2 import NOSPACE
from tianlu_registry.errors import (
    Broken,
    NoSpace,
    Stopped,
    Unavailable,
)
from tianlu_registry.node.applier import Applier
from tianlu_registry.node.auto_compaction import AutoCompactor, schedule_of
from tianlu_registry.node.background import Pump
from tianlu_registry.node.cluster_side import ClusterSide, Inside
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.committer import Committer
from tianlu_registry.node.compaction import PhysicalCompaction
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.node.counts import NodeCounts
from tianlu_registry.node.crash import CrashHook, hook_from_environment
from tianlu_registry.node.datadir import DataDir
from tianlu_registry.node.departure import REMOVED_ELECTIONS, Removal, hand_over
from tianlu_registry.node.join import check_never_started, origin_in_existing_cluster
from tianlu_registry.node.leases import REST_SECONDS, LeaseKeeper
from tianlu_registry.node.log_retention import releasable
from tianlu_registry.node.loop import ReadyLoop
from tianlu_registry.node.machine import StateMachine
from tianlu_registry.node.proposals import ProposalTable
from tianlu_registry.node.recovery import (
    Origin,
    Recovered,
    founding_origin,
    has_data,
    raft_node,
    recover,
)
from tianlu_registry.node.role import RoleTracker
from tianlu_registry.node.space import SpaceGuard
from tianlu_registry.node.state_hash import StateHash
from tianlu_registry.node.writer import WriterThread
from tianlu_registry.raft import (
    NO_MEMBER,
    Entry,
    HardState,
    Index,
    MemberId,
    Message,
    SnapshotMeta,
    SoftState,
    Term,
)
from tianlu_registry.raft import Status as RaftStatus

_log = logging.getLogger(__name__)

CATCH_UP_STEP_EVENTS: Final = 512
"""Events of history read in one turn of the loop: about a millisecond."""

GIL_SWITCH_SECONDS: Final = 0.0005
"""How long a thread may hold the interpreter while another wants it. With Python's default of 5 ms
the log writer, back from the disk, waits that long to report: measured here with 8 writers, 99 %
of puts took up to 6.6 ms instead of 1.5 ms."""

MEASURE_EVERY_SECONDS: Final = 1.0
STOP_WAIT_SECONDS: Final = 2.0

OnFatal = Callable[[Broken], None]
"""Called once, on the loop, after the node has stopped because of the error."""


class Node:
    """A running member. Make it with `start`, end it with `stop`.

    Everything is called on the event loop that started it.

    Attributes:
        config, identity: what it runs as.
        machine: the replicated state. Others may read it between two turns of the loop; only the
            log changes it.
        space: whether there is room for writes.
        compaction: the removal of compacted history.
        others: what concerns the other members.
        is_settled: whether this member has a vote and knows a leader, for those who ask often.
        stopped_with: the error that stopped the node; None while it runs and after `stop`.
    """

    def __init__(
        self,
        config: NodeConfig,
        data_dir: DataDir,
        recovered: Recovered,
        *,
        on_fatal: OnFatal | None,
        crash_hook: CrashHook | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.config: Final = config
        self.identity: Final = recovered.identity
        self.stopped_with: Broken | None = None
        self.is_settled = False
        self._loop = loop
        self._data_dir = data_dir
        self._backend = recovered.backend
        self._log = recovered.log
        self._on_fatal = on_fatal
        self._closed = False
        self._started = False
        self._stopping: asyncio.Task[None] | None = None
        self._role = RoleTracker()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._readying: asyncio.Task[None] | None = None
        self._measured_at = loop.time()
        self._tick_handle: asyncio.TimerHandle | None = None
        self._removal = Removal(loop, REMOVED_ELECTIONS * config.election_seconds, self.fail)

        backend = recovered.backend
        self._catch_up_pump = Pump(loop, self._catch_up, on_failed=self.fail)
        self.machine: Final = StateMachine.restore(
            backend,
            self.identity,
            loop.time,
            founders=recovered.founders,
            on_lagging=self._catch_up_pump.poke,
        )
        # After the machine, whose restoring may write what is no entry's effect.
        self.state_hash: Final = StateHash(backend, Index(backend.applied.index))
        self._proposals = ProposalTable(
            loop,
            first_id=random.SystemRandom().getrandbits(64),
            count_max=config.backlog_proposals_max,
            bytes_max=config.backlog_bytes_max,
            timeout_seconds=config.request_timeout_seconds,
        )
        self._raft = raft_node(config, recovered)
        self._applier = Applier(
            self.machine,
            self._proposals,
            on_conf_change=self._on_conf_change,
            applied_index=Index(backend.applied.index),
            applied_term=Term(backend.applied.term),
            entries_max=config.apply_slice_entries_max,
            seconds_max=config.apply_slice_milliseconds / 1000,
            on_stride=self.state_hash.mark,
            crash_hook=crash_hook,
        )
        self._ready_loop = ReadyLoop(
            loop,
            self._raft,
            self._log,
            self._proposals,
            self._applier,
            request_timeout_seconds=config.request_timeout_seconds,
            on_soft_state=self._on_soft_state,
            on_hard_state=self._on_hard_state,
            on_applied=self._on_applied,
            send=self._send,
            install=self._install,
            on_failed=self._on_failed,
        )
        self._writer = WriterThread(
            recovered.wal,
            loop,
            on_persisted=self._ready_loop.on_persisted,
            on_failed=self._ready_loop.fail,
            crash_hook=crash_hook,
        )
        self._committer = Committer(
            backend,
            loop,
            operations_max=config.commit_operations_max,
            interval_seconds=config.commit_interval_milliseconds / 1000,
            on_committed=self._on_committed,
            on_failed=self._ready_loop.fail,
            crash_hook=crash_hook,
        )
        self._ready_loop.attach(self._writer, self._committer)
        self.space: Final = SpaceGuard(
            quota_bytes=config.quota_bytes,
            disk_free_bytes_min=config.disk_free_bytes_min,
            bytes_in_use=lambda: backend.db_size_in_use + self._committer.bytes_waiting,
            disk_free_bytes=data_dir.free_bytes,
        )
        self._leases = LeaseKeeper(self.machine.lessor, self._propose_as_leader)
        self._revoke_pump = Pump(
            loop,
            lambda: self._leases.revoke(loop.time()),
            on_failed=self.fail,
            rest_seconds=REST_SECONDS,
        )
        self.others: Final = ClusterSide(
            Inside(
                loop=loop,
                config=config,
                identity=self.identity,
                machine=self.machine,
                backend=backend,
                log=self._log,
                raft=self._raft,
                ready_loop=self._ready_loop,
                applier=self._applier,
                committer=self._committer,
                space=self.space,
                role=self._role,
                state_hash=self.state_hash,
                snapshot_dir=data_dir.snapshots,
                knows_all=lambda: self._leases.leads,
                propose=self._propose_own,
                propose_as_leader=self._propose_as_leader,
                fail=self.fail,
            )
        )
        self.machine.cluster.on_changed = self._on_members_changed
        self.compaction: Final = PhysicalCompaction(
            loop, self.machine.mvcc, self._committer, on_failed=self.fail
        )
        self.machine.on_compacted = self.compaction.start
        self._auto_compactor = AutoCompactor(
            schedule_of(config, loop.time()),
            revision=lambda: self.machine.mvcc.revision,
            propose=self._propose_own,
            on_compacted=self.compaction.start,
        )

    @classmethod
    async def start(
        cls,
        config: NodeConfig,
        *,
        on_fatal: OnFatal | None = None,
        crash_hook: CrashHook | None = None,
    ) -> Node:
        """Open the data directory, recover, and join the others.

        A cluster of one leads when this returns. One of several members has a leader and has
        caught up with it, or `start_wait_seconds` have passed without one.

        Shortens the interpreter's switch interval for the whole process (GIL_SWITCH_SECONDS).

        Args:
            config: the node's settings.
            on_fatal: told when the node has stopped because something broke. A process should
                exit with the error's `exit_code`, without clean-up that might hang on the disk.
            crash_hook: called at every crash point (`node.crash`); by default what the
                environment asks for, which in production is nothing.

        Raises:
            InvalidArgument: the directory belongs to another member, or this member's data is gone.
            DataDirUnusable: it is held, not writable, full, ...
            Unavailable: a member that joins reaches none of the others.
            Broken: what it holds cannot be trusted, or the disk failed.
        """
        sys.setswitchinterval(min(sys.getswitchinterval(), GIL_SWITCH_SECONDS))
        data_dir = DataDir.acquire(config.data_dir)
        try:
            recovered = recover(config, data_dir, await _origin(config, data_dir))
        except BaseException:
            data_dir.release()
            raise
        try:
            node = cls(
                config,
                data_dir,
                recovered,
                on_fatal=on_fatal,
                crash_hook=crash_hook or hook_from_environment(os.environ),
            )
        except BaseException:
            recovered.wal.close()
            recovered.backend.close()
            data_dir.release()
            raise
        try:
            await node._run(recovered.torn_bytes)
        except BaseException:
            await node.stop()
            raise
        return node

    async def stop(self) -> None:
        """Answer what is under way, make the state durable and let go of the directory.

        Proposals still unanswered after two seconds fail with `Stopped`. Every call returns when
        the node has stopped; cancelling one does not stop the stopping. After a failure it only
        lets go: what is durable stays as the failure left it.

        Raises:
            Broken: the last commit failed. Nothing is lost: the log still has it.
        """
        if self._stopping is None:
            self._closed = True
            self._stopping = self._loop.create_task(self._stop())
        await asyncio.shield(self._stopping)

    def propose(self, kind: CommandKind, request: Request, payload: bytes) -> asyncio.Future[Any]:
        """Put a checked command into the log; see `ReadyLoop.propose`.

        Raises:
            Unavailable: it is not in the log and will not be.
        """
        if self._closed:
            raise Stopped
        return self._ready_loop.propose(kind, request, payload)

    def read(self) -> asyncio.Future[None]:
        """Return a future that is done when a read that arrives now is linearizable.

        Raises:
            Unavailable: too many wait, or the node has stopped.
        """
        return self._ready_loop.read()

    def fail(self, error: Exception) -> None:
        """Stop for good because something broke, wherever it was noticed."""
        self._ready_loop.fail(error)

    def raft_status(self) -> RaftStatus:
        """Return what the consensus core says of itself."""
        return self._raft.status()

    @property
    def applied_index(self) -> Index:
        """The newest log entry that the state holds."""
        return self._applier.applied_index

    @property
    def log_first_index(self) -> Index:
        """The oldest entry that a lagging member can still be sent."""
        return self._log.first_index

    @property
    def runs(self) -> bool:
        """Whether the node serves: neither stopped nor failed."""
        return not self._closed and self.stopped_with is None

    @property
    def leads(self) -> bool:
        """Whether this member leads, as far as it knows."""
        return self._role.leads

    @property
    def leader_id(self) -> MemberId:
        """The leader as this member knows it; NO_MEMBER for none."""
        return self._role.leader_id

    @property
    def is_learner(self) -> bool:
        """Whether this member has no vote yet."""
        return self.machine.cluster.membership.is_learner(self.identity.member_id)

    def admit(self, size: int) -> None:
        """Let a write of `size` serialized bytes pass.

        Raises:
            NoSpace: there is no room for it, here or on another member.
        """
        if self.machine.cluster.has_alarm(NOSPACE):
            raise NoSpace
        self.space.admit(size)

    def counts(self) -> NodeCounts:
        """Return figures for metrics."""
        return NodeCounts(
            wal_sync_seconds=self._writer.sync_seconds,
            backend_commit_seconds=self._committer.commit_seconds,
            proposals_failed=self._proposals.failed_count,
            proposals_pending=len(self._proposals),
            proposals_pending_bytes=self._proposals.bytes_open,
            apply_backlog=self._applier.waiting_count,
            commit_backlog=self._backend.pending_ops,
            leader_changes=self._role.changes,
            keys=self.machine.mvcc.key_count,
            leases=len(self.machine.lessor),
            watches_slow=self.machine.hub.slow_count,
            auto_compactions=self._auto_compactor.done_count,
            auto_compactions_failed=self._auto_compactor.failed_count,
        )

    def db_sizes(self) -> tuple[int, int]:
        """Return the database file's size and the bytes in use within it."""
        return self._backend.db_size, self._backend.db_size_in_use

    async def _run(self, torn_bytes: int) -> None:
        _log.info(
            "node.started member=%x cluster=%x applied_index=%d last_index=%d torn_bytes=%d",
            self.identity.member_id,
            self.identity.cluster_id,
            self._applier.applied_index,
            self._log.last_index,
            torn_bytes,
        )
        self._writer.start()
        await self.others.peers.start()
        self._tick_handle = self._loop.call_later(self.config.tick_seconds, self._tick)
        is_alone = self.machine.cluster.membership.conf_state.voters == (self.identity.member_id,)
        if is_alone:
            self._ready_loop.campaign()
        self._readying = self._loop.create_task(self._become_ready())
        patience = None if is_alone else self.config.start_wait_seconds
        await asyncio.wait([self._ready], timeout=patience)
        if self._ready.done():
            self._ready.result()
            self._started = True
        else:
            self._started = True
            _log.warning(
                "node.without_leader seconds=%.1f voters=%d; serving what needs none",
                self.config.start_wait_seconds,
                len(self.machine.cluster.membership.conf_state.voters),
            )

    async def _become_ready(self) -> None:
        """Wait until a read here is linearizable: there is a leader, and this member has caught
        up with it."""
        while not self._ready.done():
            try:
                await self._ready_loop.read()
            except Stopped:
                return
            except Unavailable:
                await asyncio.sleep(self.config.tick_seconds)
                continue
            # Who asks this member who the members are shall hear where to reach it.
            await self.others.announcements.publish()
            if not self._ready.done():
                self._ready.set_result(None)
                self.compaction.start()
                _log.info(
                    "node.ready applied_index=%d revision=%d",
                    self._applier.applied_index,
                    self.machine.mvcc.revision,
                )

    async def _stop(self) -> None:
        await self._drain()
        if self._role.leads and self.stopped_with is None:
            await hand_over(
                self._raft.status(),
                self._ready_loop.transfer_leadership,
                self._role,
                seconds_max=self.config.election_seconds,
            )
        await self.others.audit.stop()
        self._end(Stopped())
        await self.others.peers.stop()
        try:
            await self._committer.close(commit=self.stopped_with is None)
        finally:
            await self._loop.run_in_executor(None, self._writer.stop)
            self._backend.close()
            self._data_dir.release()
        _log.info("node.stopped applied_index=%d", self._applier.applied_index)

    async def _drain(self) -> None:
        waiters = self._proposals.waiters()
        if waiters and self.stopped_with is None:
            await asyncio.wait(waiters, timeout=STOP_WAIT_SECONDS)

    def _end(self, error: Exception) -> None:
        self._ready_loop.stop()
        self.others.changes.fail_all(Stopped())
        self.others.leader.stop()
        self._removal.cancel()
        if self._readying is not None:
            self._readying.cancel()
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        self._catch_up_pump.stop()
        self._revoke_pump.stop()
        self.compaction.stop()
        self.machine.hub.close(error)

    def _on_failed(self, error: Broken) -> None:
        self.stopped_with = error
        _log.critical("node.failed error=%r", error, exc_info=error)
        self._end(Stopped())
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # `start` may have returned already
            if self._started and self._on_fatal is not None:
                self._on_fatal(error)
        elif self._on_fatal is not None:
            self._on_fatal(error)

    def _tick(self) -> None:
        # One tick however late this comes: see raft/DESIGN.md, duty 12.
        self._tick_handle = self._loop.call_later(self.config.tick_seconds, self._tick)
        now = self._loop.time()
        try:
            self._ready_loop.tick(now)
            if self._leases.tick(now):
                self._revoke_pump.poke()
            self._auto_compactor.tick(now, leads=self._leases.leads)
            self.others.audit.tick(now)
            if now - self._measured_at >= MEASURE_EVERY_SECONDS:
                self._measured_at = now
                self.space.measure()
                self.others.announcements.tick()
                if self._role.leader_id == NO_MEMBER and self.others.peers.says_removed():
                    self._removal.begin()
        except Exception as error:  # noqa: BLE001 - the timer's supervisor
            self.fail(error)

    def _on_soft_state(self, soft_state: SoftState) -> None:
        self._role.update(soft_state)
        self._look_at_standing()
        if not self._role.leads and self._leases.leads:
            self._leases.become_follower()
        _log.info("raft.role role=%s leader=%x", soft_state.role.name, soft_state.leader_id)

    def _on_hard_state(self, hard_state: HardState) -> None:
        self.machine.term = hard_state.term

    def _on_applied(self) -> None:
        # A leader's own first entry is applied after all that earlier terms committed. Before
        # that it does not know every lease, and must not say of one that it is not there.
        if self.leads and not self._leases.leads and self._applier.applied_term == self._raft.term:
            self._leases.become_leader(self._loop.time(), self.config.election_seconds)

    # What the Ready loop and the applier give to the others' side, which is made after them

    def _on_conf_change(self, entry: Entry) -> None:
        self.others.changes.on_committed(entry)

    def _send(self, messages: Sequence[Message]) -> None:
        self.others.peers.send(messages)

    def _install(self, snapshot: SnapshotMeta) -> None:
        self.others.snapshots.install(snapshot)

    def _look_at_standing(self) -> None:
        self.is_settled = self.leader_id != NO_MEMBER and not self.is_learner

    def _on_members_changed(self) -> None:
        self._look_at_standing()
        self.others.peers.on_members_changed()
        if self.identity.member_id in self.machine.cluster.membership.removed:
            self._removal.begin()

    def _on_committed(self, index: Index) -> None:
        up_to = releasable(
            index,
            log_bytes=self._log.bytes,
            entries_kept=self.config.wal_entries_kept,
            leader_status=self._raft.status() if self._role.leads else None,
        )
        self._log.compact(up_to)
        self._writer.release(up_to)
        self.space.measure()
        self._ready_loop.on_committed()
        self.compaction.on_committed()

    def _propose_own(self, kind: CommandKind, request: Request) -> asyncio.Future[Any]:
        return self._ready_loop.propose(kind, request, request.SerializeToString())

    def _propose_as_leader(self, kind: CommandKind, request: Request) -> asyncio.Future[Any]:
        payload = request.SerializeToString()
        return self._ready_loop.propose(kind, request, payload, is_bound=True)

    def _catch_up(self) -> bool:
        return self.machine.hub.catch_up(CATCH_UP_STEP_EVENTS)


async def _origin(config: NodeConfig, data_dir: DataDir) -> Origin | None:
    """Return what a member begins with that has no data yet."""
    if has_data(data_dir):
        return None
    if config.cluster_state == "new":
        origin = founding_origin(config)
        await check_never_started(config, origin.identity.member_id)
        return origin
    return await origin_in_existing_cluster(config)
