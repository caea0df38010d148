"""Opening what a data directory holds, and refusing what cannot be right.

The database holds the state as of some log position, the WAL everything after it. The two are
written at different times but never out of order (an entry is durable in the WAL before it is
applied), so whatever moment the last run ended at, together they hold all that was acknowledged.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from typing import Final

from tianlu_registry.errors import Corrupt
from tianlu_registry.node.cluster_state import membership_in, store_membership
from tianlu_registry.node.config import GIB, NodeConfig
from tianlu_registry.node.datadir import DataDir, explain
from tianlu_registry.node.identity import (
    Identity,
    check_owner,
    decode_founders,
    decode_metadata,
    encode_metadata,
    founders_of,
    identity_of,
)
from tianlu_registry.node.membership import MemberRecord, Membership
from tianlu_registry.raft import NO_INDEX, Config, Index, RawNode, Term
from tianlu_registry.storage.backend import LmdbBackend, LogPosition
from tianlu_registry.storage.log import MemoryLog
from tianlu_registry.storage.wal import Wal
from tianlu_registry.storage.wal_recovery import RecoveredLog

_log = logging.getLogger(__name__)

MAP_FACTOR: Final = 2
"""The database's address space, in quotas: compaction and deletes need room beyond the quota."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a member begins its first life with; not looked at when it has data.

    Attributes:
        identity: who it is.
        founders: the members of the cluster that it founds; if it joins one,
            `Membership.of_strangers`.
    """

    identity: Identity
    founders: Membership


@dataclass(frozen=True, slots=True)
class Recovered:
    """An opened data directory.

    Attributes:
        identity: whose it is.
        founders: the members that its log begins with.
        backend: the state, at `backend.applied`.
        wal: open for appending.
        log: entries up to the log's end; those after that position are to be applied.
        torn_bytes: what the last run was writing when it ended, never acknowledged, now cut off.
    """

    identity: Identity
    founders: Membership
    backend: LmdbBackend
    wal: Wal
    log: MemoryLog
    torn_bytes: int


def has_data(data_dir: DataDir) -> bool:
    """Whether a member has lived in this directory before."""
    return Wal.exists(data_dir.wal)


def founding_origin(config: NodeConfig) -> Origin:
    """Return the origin of a member that founds a cluster."""
    return Origin(identity_of(config), founders_of(config))


def recover(config: NodeConfig, data_dir: DataDir, origin: Origin | None) -> Recovered:
    """Open or make the database and the WAL of a locked data directory.

    Args:
        origin: what a new member begins with; None when there is data.

    Raises:
        InvalidArgument: it belongs to another member or cluster.
        DataDirUnusable: the file system refuses.
        Broken: what it holds cannot be trusted.
    """
    try:
        backend = LmdbBackend.open(data_dir.db, map_bytes=max(MAP_FACTOR * config.quota_bytes, GIB))
    except OSError as error:
        raise explain(error, data_dir.root) from error
    try:
        if origin is not None:
            return _begin(config, data_dir, origin, backend)
        return _resume(config, data_dir, backend)
    except OSError as error:
        backend.close()
        raise explain(error, data_dir.root) from error
    except BaseException:
        backend.close()
        raise


def _begin(
    config: NodeConfig, data_dir: DataDir, origin: Origin, backend: LmdbBackend
) -> Recovered:
    if backend.applied.index:
        raise Corrupt(
            f"{data_dir.wal} is missing, but the database beside it has applied log entries up to "
            f"{backend.applied.index}; restore the directory, or start anew with an empty one"
        )
    wal = Wal.create(
        data_dir.wal,
        encode_metadata(origin.identity, origin.founders),
        segment_bytes=config.wal_segment_bytes,
    )
    log = MemoryLog(origin.founders.conf_state)
    return Recovered(origin.identity, origin.founders, backend, wal, log, torn_bytes=0)


def _resume(config: NodeConfig, data_dir: DataDir, backend: LmdbBackend) -> Recovered:
    wal, found = _open_log(config, data_dir, backend)
    try:
        identity = decode_metadata(found.metadata)
        founders = decode_founders(found.metadata) or founders_of(config)
        membership = membership_in(backend) or founders
        check_owner(identity, founders, membership, config)
        if config.force_new_cluster:
            membership = _forced(config, identity, membership, found)
            store_membership(backend, membership)
            # Now: what is acknowledged from here on counts on it, also after a crash and a start
            # without the force.
            backend.commit(backend.applied.index, backend.applied.term)
        log = MemoryLog(
            membership.conf_state,
            hard_state=found.hard_state,
            compacted_index=found.after,
            compacted_term=found.after_term,
            entries=found.entries,
        )
    except BaseException:
        wal.close()
        raise
    return Recovered(identity, founders, backend, wal, log, found.torn_bytes)


def _forced(
    config: NodeConfig, identity: Identity, membership: Membership, found: RecoveredLog
) -> Membership:
    """Return the membership of this member alone, whatever the log still says of others."""
    survivor = MemberRecord(identity.member_id, config.name, config.peer_urls, config.client_urls)
    last_index = found.entries[-1].index if found.entries else found.after
    _log.warning(
        "node.forced_new_cluster member=%x removed=%s last_index=%d",
        identity.member_id,
        ",".join(f"{member:x}" for member in membership.members if member != identity.member_id),
        last_index,
    )
    return membership.forced_to(survivor, last_index)


def _open_log(
    config: NodeConfig, data_dir: DataDir, backend: LmdbBackend
) -> tuple[Wal, RecoveredLog]:
    """Open the WAL; one that does not reach the raft_snapshot that the database came from, because
    a crash came between the two, begins anew there (raft/DESIGN.md, duty 15)."""
    applied = backend.applied
    is_snapshot = backend.snapshot_position == applied
    oldest = Index(applied.index) if is_snapshot else _oldest_wanted(config, data_dir, applied)
    wal, found = Wal.open(
        data_dir.wal,
        oldest,
        after_term=Term(applied.term) if oldest == applied.index else None,
        is_snapshot=is_snapshot,
        segment_bytes=config.wal_segment_bytes,
    )
    try:
        _check_reaches(found, applied)
    except BaseException:
        wal.close()
        raise
    return wal, found


def _oldest_wanted(config: NodeConfig, data_dir: DataDir, applied: LogPosition) -> Index:
    """Return after which entry the log is read: a margin before what the database holds, as far as
    it is still there, so that a follower that lags needs no raft_snapshot because we restarted."""
    first = Wal.first_index(data_dir.wal)
    margin_start = applied.index - config.wal_entries_kept
    if first == 1 and margin_start <= 0:
        return NO_INDEX
    return Index(min(applied.index, max(margin_start, first)))


def _check_reaches(found: RecoveredLog, applied: LogPosition) -> None:
    """Check that the log holds the entry that the database ends with."""
    if found.after == applied.index:
        return  # `Wal.open` has compared the terms
    position = applied.index - found.after - 1
    if position >= len(found.entries) or found.entries[position].term != applied.term:
        raise Corrupt(
            f"the WAL does not hold entry {applied.index} of term {applied.term}, up to which the "
            "database was applied: the two do not belong together"
        )


def raft_node(config: NodeConfig, recovered: Recovered) -> RawNode:
    """Make the consensus core that goes on where the data directory ends."""
    raft_config = Config(
        id=recovered.identity.member_id,
        random=random.SystemRandom(),
        applied=Index(recovered.backend.applied.index),
        election_timeout_ticks=config.election_ticks,
        heartbeat_ticks=config.heartbeat_ticks,
        uncommitted_bytes_max=config.backlog_bytes_max,
    )
    return RawNode(raft_config, recovered.log)
