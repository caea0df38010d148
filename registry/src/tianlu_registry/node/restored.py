"""A member of a new cluster, made from a snapshot file before it is started for the first time.

Every member of the new cluster is made from the same file with the same settings. It takes over the
keys, leases and revisions; members and alarms of the old cluster stay behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tianlu_registry.node.cluster_state import of_new_cluster
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.node.identity import Identity, encode_metadata, founders_of, identity_of
from tianlu_registry.storage.environment import LogPosition
from tianlu_registry.storage.snapshot_file import no_progress
from tianlu_registry.storage.snapshot_probe import Progress
from tianlu_registry.storage.snapshot_restore import restore


@dataclass(frozen=True, slots=True)
class RestoredMember:
    """A member that is ready to be started.

    Attributes:
        position: the log position that its log begins after.
    """

    identity: Identity
    position: LogPosition


def restore_member(
    file: Path, config: NodeConfig, progress: Progress = no_progress
) -> RestoredMember:
    """Make `config.data_dir` from a snapshot file. Blocking; whole or not at all.

    Args:
        config: the settings that the member will be started with: its name, its peer URLs, the
            token and all members of the new cluster are written down in what is made.

    Raises:
        InvalidArgument, Corrupt, StorageFailed: see `snapshot_restore.restore`.
    """
    identity, founders = identity_of(config), founders_of(config)
    position = restore(
        file,
        config.data_dir,
        metadata=encode_metadata(identity, founders),
        named=of_new_cluster(founders),
        progress=progress,
        segment_bytes=config.wal_segment_bytes,
    )
    return RestoredMember(identity, position)
