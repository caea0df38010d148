"""Opening a data directory, step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from registry.node.nodes import small

from tianlu_registry.node.cluster_state import membership_in
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.node.datadir import DataDir
from tianlu_registry.node.membership import Membership
from tianlu_registry.node.recovery import Origin, founding_origin, recover


def opened(config: NodeConfig, origin: Origin | None) -> Membership | None:
    """Open a directory, and let go of it as a crash would: without a commit."""
    data_dir = DataDir.acquire(config.data_dir)
    try:
        recovered = recover(config, data_dir, origin)
        membership = membership_in(recovered.backend)
        recovered.wal.close()
        recovered.backend.close()
        return membership
    finally:
        data_dir.release()


def test_a_cluster_begun_again_by_force_stays_so_after_a_crash(tmp_path: Path) -> None:
    config = small(
        tmp_path,
        name="a",
        peer_urls=("http://127.0.0.1:1",),
        initial_cluster="a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3",
    )
    origin = founding_origin(config)
    opened(config, origin)
    opened(replace(config, force_new_cluster=True), None)
    membership = opened(config, None)
    assert membership is not None
    assert membership.conf_state.voters == (origin.identity.member_id,)
