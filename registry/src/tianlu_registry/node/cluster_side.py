"""The parts of a node that only matter when there are other members, joined."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tianlu_registry.node import state_audit
from tianlu_registry.node.announcements import Announcements
from tianlu_registry.node.applier import Applier
from tianlu_registry.node.cluster_ops import ClusterOps, Surroundings
from tianlu_registry.node.command import CommandKind, Request
from tianlu_registry.node.committer import Committer
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.node.identity import Identity
from tianlu_registry.node.leader_link import LeaderLink
from tianlu_registry.node.lease_service import LeaseService
from tianlu_registry.node.loop import ReadyLoop
from tianlu_registry.node.machine import StateMachine
from tianlu_registry.node.member_changes import MemberChanges
from tianlu_registry.node.peers import Peers
from tianlu_registry.node.role import RoleTracker
from tianlu_registry.node.snapshot_exchange import SnapshotExchange
from tianlu_registry.node.space import SpaceGuard
from tianlu_registry.node.state_audit import Audited, StateAuditor
from tianlu_registry.node.state_hash import StateHash
from tianlu_registry.raft import RawNode
from tianlu_registry.storage.backend import LmdbBackend
from tianlu_registry.storage.log import MemoryLog
from tianlu_registry.storage.snapshot_store import SnapshotStore


@dataclass(frozen=True, slots=True)
class Inside:
    """The parts of a node that the others' side is joined to.

    Attributes:
        snapshot_dir: for raft_snapshots on their way in and out.
        knows_all: whether this member leads and has applied all that earlier leaders committed.
        propose: puts a command of this member's own into the log.
        propose_as_leader: the same, in the term that this member leads or never.
        fail: stops the node.
    """

    loop: asyncio.AbstractEventLoop
    config: NodeConfig
    identity: Identity
    machine: StateMachine
    backend: LmdbBackend
    log: MemoryLog
    raft: RawNode
    ready_loop: ReadyLoop
    applier: Applier
    committer: Committer
    space: SpaceGuard
    role: RoleTracker
    state_hash: StateHash
    snapshot_dir: Path
    knows_all: Callable[[], bool]
    propose: Callable[[CommandKind, Request], asyncio.Future[Any]]
    propose_as_leader: Callable[[CommandKind, Request], asyncio.Future[Any]]
    fail: Callable[[Exception], None]


class ClusterSide:
    """Makes and joins the parts.

    Attributes:
        changes: changes of the members, proposed and applied.
        snapshots: raft_snapshots, out and in.
        peers: connections to the other members.
        leader: the way to whoever leads.
        leases: renewals, on any member.
        ops: operations on the members, on any member.
        audit: the comparison of state hashes.
        announcements: what this member has to say of itself.
    """

    def __init__(self, inside: Inside) -> None:
        loop, config, machine = inside.loop, inside.config, inside.machine
        ready_loop = inside.ready_loop
        self._machine = machine
        self.changes: Final = MemberChanges(
            loop,
            machine.cluster,
            propose=ready_loop.propose_conf_change,
            into_force=ready_loop.apply_conf_change,
            timeout_seconds=config.request_timeout_seconds,
        )
        copies = SnapshotStore(inside.snapshot_dir)
        copies.open()
        self.snapshots: Final = SnapshotExchange(
            loop,
            machine,
            inside.backend,
            inside.committer,
            inside.log,
            copies=copies,
            entries_kept=config.wal_entries_kept,
            step=ready_loop.step,
        )
        self.peers: Final = Peers(
            config,
            inside.identity,
            machine.cluster,
            ready_loop,
            self.snapshots,
            directory=inside.snapshot_dir,
        )
        self.leader: Final = LeaderLink(
            loop,
            leader_id=lambda: inside.role.leader_id,
            serves=inside.knows_all,
            own_id=inside.identity.member_id,
            call=self.peers.call,
            timeout_seconds=config.request_timeout_seconds,
        )
        self.peers.serve(self.leader)
        self.leases: Final = LeaseService(
            loop,
            machine.lessor,
            machine.clock,
            inside.propose_as_leader,
            ready_loop.read,
            self.leader,
        )
        self.ops: Final = ClusterOps(
            machine,
            self.changes,
            self.leader,
            Surroundings(
                status=inside.raft.status,
                propose=inside.propose,
                transfer=ready_loop.transfer_leadership,
                role=inside.role,
                election_seconds=config.election_seconds,
                cluster_token=config.cluster_token,
                can_be_joined=bool(config.listen_peer_urls),
            ),
        )
        self.announcements: Final = Announcements(
            config,
            inside.identity.member_id,
            machine.cluster,
            is_short_of_space=lambda: inside.space.alarm is not None,
            propose=inside.propose,
        )
        self.audit: Final = StateAuditor(
            loop,
            inside.identity.member_id,
            report=lambda: inside.state_hash.report(inside.applier.applied_index),
            members=self._audited,
            leads=lambda: inside.role.leads,
            call=self.peers.call,
            raise_alarm=self.announcements.raise_corrupt,
            fail=inside.fail,
        )
        self.peers.add_method(state_audit.METHOD, self.audit.on_call)

    def _audited(self) -> Audited:
        conf_state = self._machine.cluster.membership.conf_state
        return Audited(frozenset(conf_state.voters), frozenset(conf_state.learners))
