"""Who changes the membership of a simulated cluster, and moves its leadership."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tianlu_registry.raft import (
    LEAVE_JOINT,
    ChangeKind,
    ConfChange,
    ConfState,
    MemberId,
    Transition,
    conf_change,
)
from tianlu_registry.simulation.describe import change_text

if TYPE_CHECKING:
    from tianlu_registry.simulation.cluster import Cluster
    from tianlu_registry.simulation.member import SimulatedMember

MEMBERS_MAX = 7
STARTED_MAX = 12
"""Members in all of a run; a number is never used again."""


class Administrator:
    """Asks for changes at any member, without knowing whether they fit."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._chance = cluster.scenario.chance("administrator")

    def act(self, chance: random.Random) -> None:
        """Ask some member for something."""
        self._chance = chance
        running = self._cluster.running()
        if not running:
            return
        member = chance.choice(running)
        if chance.random() < 0.25:
            target = chance.choice(self._cluster.members).id
            member.awake(lambda: self._transfer(member, target))
            return
        change = self._draw(self._cluster.checker.conf_state)
        if change is not None:
            member.awake(lambda: self._change(member, change))

    def _transfer(self, member: SimulatedMember, target: MemberId) -> None:
        taken = member.call(lambda node: node.transfer_leadership(target))
        self._cluster.seen["transfers asked"] += taken

    def _change(self, member: SimulatedMember, change: ConfChange) -> None:
        if member.call(lambda node: node.propose_conf_change(change)):
            self._cluster.trace(f"{member.id} is asked for {change_text(change)}")
            self._cluster.seen[f"changes asked: {change.transition.name}"] += 1

    def finish(self, leader: SimulatedMember) -> None:
        """End a joint configuration that does not end by itself."""
        conf_state = leader.node._raft.tracker.conf_state
        if conf_state.voters_outgoing and not conf_state.auto_leave:
            leader.call(lambda node: node.propose_conf_change(LEAVE_JOINT))

    def _draw(self, conf_state: ConfState) -> ConfChange | None:
        if conf_state.voters_outgoing:
            return LEAVE_JOINT
        if self._chance.random() < 0.6:
            change = self._draw_single(conf_state)
            return change and conf_change(Transition.SIMPLE, change)
        drawn = [self._draw_single(conf_state) for _ in range(self._chance.randint(1, 4))]
        changes = {change[1]: change for change in drawn if change}
        kind = self._chance.choice([Transition.JOINT, Transition.JOINT, Transition.JOINT_EXPLICIT])
        return conf_change(kind, *changes.values()) if changes else None

    def _draw_single(self, conf_state: ConfState) -> tuple[ChangeKind, int] | None:
        members = [*conf_state.voters, *conf_state.learners]
        kind = self._chance.choice(list(ChangeKind))
        if kind is ChangeKind.REMOVE:
            return (kind, self._chance.choice(members)) if len(members) > 1 else None
        if self._chance.random() < 0.5:
            others = conf_state.learners if kind is ChangeKind.ADD_VOTER else conf_state.voters
            return (kind, self._chance.choice(others)) if others else None
        if len(members) >= MEMBERS_MAX:
            return None
        return (kind, self._newcomer())

    def _newcomer(self) -> MemberId:
        """Return a member that has never been part of the cluster, started and empty."""
        cluster = self._cluster
        if len(cluster.members) < STARTED_MAX:
            return cluster.add_member(ConfState()).id
        return self._chance.choice(cluster.members).id
