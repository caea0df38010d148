"""raft_snapshots between members: a copy of the database goes out, or takes the place of ours.

Sending. The database is copied while no commit runs, so that the copy is the state at exactly one
log position, which the copy itself names. It travels on a connection of its own.

Receiving. When all of it is here and its digest is right, the keys are indexed from it in a thread,
beside the running node. Only then is the consensus core told; if it agrees, the database is
exchanged by a rename, the index taken over, and watchers read on from the new history. If it has
come as far without the snapshot, the copy is thrown away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tianlu_registry.errors import Corrupt, StorageFailed, check
from tianlu_registry.mvcc.restore import Restored, rebuild
from tianlu_registry.node.cluster_state import membership_in
from tianlu_registry.node.committer import Committer
from tianlu_registry.node.machine import StateMachine
from tianlu_registry.raft import Index, InstallSnapshot, Message, SnapshotMeta, Term
from tianlu_registry.storage.backend import LmdbBackend
from tianlu_registry.storage.log import MemoryLog
from tianlu_registry.storage.snapshot_store import Copy, SnapshotStore
from tianlu_registry.storage.staged import StagedSnapshot
from tianlu_registry.transport.handler import SnapshotSource

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A received snapshot, ready to take the state's place."""

    staged: StagedSnapshot
    restored: Restored


class SnapshotExchange:
    """Both directions.

    Args:
        loop: where everything runs that is not said to run in a thread.
        machine, backend, committer: the state.
        log: what goes on from a copy.
        copies: of the state, on their way out.
        entries_kept: applied entries that stay in the log in any case.
        step: gives messages to the consensus core, and does the work that follows.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        machine: StateMachine,
        backend: LmdbBackend,
        committer: Committer,
        log: MemoryLog,
        *,
        copies: SnapshotStore,
        entries_kept: int,
        step: Callable[[Sequence[Message]], None],
    ) -> None:
        self._loop = loop
        self._machine = machine
        self._backend = backend
        self._committer = committer
        self._log = log
        self._copies = copies
        self._entries_kept = entries_kept
        self._step = step
        self._prepared: _Prepared | None = None
        self.installed_count = 0

    async def copy(self, message: InstallSnapshot) -> SnapshotSource:
        """Return a copy of the state for another member: one that is there, if the log goes on
        from it, or a new one."""
        copy = self._copies.newest(self._oldest_useful(message.snapshot.index))
        if copy is None:
            copy = await self.fresh_copy()
        try:
            snapshot = await self._loop.run_in_executor(None, _position_of, copy.path)
        except BaseException:
            copy.release()
            raise
        return SnapshotSource(
            message=replace(message, snapshot=snapshot), path=copy.path, release=copy.release
        )

    async def fresh_copy(self) -> Copy:
        """Copy the state as it is now; the caller releases the copy.

        Raises:
            NoSpace: there is no room for it.
            StorageFailed: the disk failed.
        """
        await self._committer.hold()
        try:
            position = self._backend.applied
            path = self._copies.reserve(self._backend.db_size_in_use)
            try:
                await self._committer.run(partial(self._backend.hot_copy, path))
            except BaseException:
                _remove(path)
                raise
            return self._copies.add(path, position)
        finally:
            self._committer.resume()

    def _oldest_useful(self, wanted: Index) -> int:
        """Return from which index on a copy may be sent where the core has named `wanted`: what
        follows it is still in the log, and stays there until the copy has arrived."""
        return max(self._log.first_index - 1, wanted - self._entries_kept // 2)

    async def receive(self, message: InstallSnapshot, path: Path) -> bool:
        """Take a complete, verified snapshot; whether the state now has it, from here or otherwise.

        The file is this object's from now on.
        """
        try:
            return await self._receive(message, path)
        except (Corrupt, StorageFailed, OSError) as error:
            _log.error("snapshot.refused index=%d reason=%s", message.snapshot.index, error)
            return False
        finally:
            _remove(path)

    async def _receive(self, message: InstallSnapshot, path: Path) -> bool:
        if message.snapshot.index <= self._backend.applied.index:
            return True
        prepared = await self._loop.run_in_executor(None, _prepare, message, path)
        try:
            await self._committer.hold()
            try:
                self._prepared = prepared
                self._step([message])
            finally:
                self._prepared = None
                self._committer.resume()
        finally:
            prepared.staged.close()
        return True

    def install(self, snapshot: SnapshotMeta) -> None:
        """Replace the state by the snapshot that the core has just been given, durably."""
        prepared = self._prepared
        check(
            prepared is not None, f"snapshot {snapshot.index} is to be installed, but is not here"
        )
        if prepared is None:
            return
        self._backend.replace(prepared.staged)
        self._committer.restart_at(snapshot.index, snapshot.term)
        self._machine.reload(prepared.restored)
        self.installed_count += 1
        _log.info(
            "snapshot.installed index=%d revision=%d", snapshot.index, self._machine.mvcc.revision
        )


def _check_announced(found: SnapshotMeta, announced: SnapshotMeta) -> None:
    if found != announced:
        raise Corrupt(f"the snapshot holds {found}, announced was {announced}")


def _position_of(path: Path) -> SnapshotMeta:
    staged = StagedSnapshot.open(path)
    try:
        return snapshot_of(staged)
    finally:
        staged.close()


def snapshot_of(staged: StagedSnapshot) -> SnapshotMeta:
    """Return the log position and the membership that a copy holds.

    Raises:
        Corrupt: it does not say who the members are.
    """
    membership = membership_in(staged)
    if membership is None:
        raise Corrupt("the copy does not say who the members are")
    position = staged.applied
    return SnapshotMeta(Index(position.index), Term(position.term), membership.conf_state)


def _prepare(message: InstallSnapshot, path: Path) -> _Prepared:
    """Open a received copy, index its keys, and mark it as received."""
    staged = StagedSnapshot.open(path)
    try:
        _check_announced(snapshot_of(staged), message.snapshot)
        restored = rebuild(staged.revisions())
        staged.mark_received()
    except BaseException:
        staged.close()
        raise
    return _Prepared(staged, restored)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
