"""Opening what a data directory holds, and refusing what cannot be right.

The database holds the state as of some log position, the WAL everything after it. The two are
written at different times but never out of order (an entry is durable in the WAL before it is
applied), so whatever moment the last run ended at, together they hold all that was acknowledged.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from tianlu_registry.errors import Corrupt
from tianlu_registry.node.config import GIB, NodeConfig
from tianlu_registry.node.datadir import DataDir, explain
from tianlu_registry.node.identity import (
    Identity,
    check_identity,
    decode_metadata,
    encode_metadata,
    identity_of,
)
from tianlu_registry.raft import Config, ConfState, Index, RawNode
from tianlu_registry.storage.backend import LmdbBackend
from tianlu_registry.storage.log import MemoryLog
from tianlu_registry.storage.wal import Wal

MAP_FACTOR: Final = 2
"""The database's address space, in quotas: compaction and deletes need room beyond the quota."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """An opened data directory.

    Attributes:
        identity: whose it is.
        backend: the state, at `backend.applied`.
        wal: open for appending.
        log: the entries after that position.
        torn_bytes: what the last run was writing when it ended, never acknowledged, now cut off.
    """

    identity: Identity
    backend: LmdbBackend
    wal: Wal
    log: MemoryLog
    torn_bytes: int


def recover(config: NodeConfig, data_dir: DataDir) -> Recovered:
    """Open or make the database and the WAL of a locked data directory.

    Raises:
        InvalidArgument: it belongs to another member or cluster.
        DataDirUnusable: the file system refuses.
        Broken: what it holds cannot be trusted.
    """
    identity = identity_of(config)
    try:
        backend = LmdbBackend.open(data_dir.db, map_bytes=max(MAP_FACTOR * config.quota_bytes, GIB))
    except OSError as error:
        raise explain(error, data_dir.root) from error
    try:
        return _recover_log(config, data_dir, identity, backend)
    except OSError as error:
        backend.close()
        raise explain(error, data_dir.root) from error
    except BaseException:
        backend.close()
        raise


def _recover_log(
    config: NodeConfig, data_dir: DataDir, identity: Identity, backend: LmdbBackend
) -> Recovered:
    conf_state = ConfState(voters=(identity.member_id,))
    applied = Index(backend.applied.index)
    if not Wal.exists(data_dir.wal):
        if applied:
            raise Corrupt(
                f"{data_dir.wal} is missing, but the database beside it has applied log entries "
                f"up to {applied}; restore the directory, or start anew with an empty one"
            )
        wal = Wal.create(
            data_dir.wal, encode_metadata(identity), segment_bytes=config.wal_segment_bytes
        )
        return Recovered(identity, backend, wal, MemoryLog(conf_state), torn_bytes=0)
    wal, found = Wal.open(data_dir.wal, applied, segment_bytes=config.wal_segment_bytes)
    try:
        check_identity(decode_metadata(found.metadata), identity)
        log = MemoryLog(
            conf_state,
            hard_state=found.hard_state,
            compacted_index=found.after,
            compacted_term=found.after_term,
            entries=found.entries,
        )
    except BaseException:
        wal.close()
        raise
    return Recovered(identity, backend, wal, log, found.torn_bytes)


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
