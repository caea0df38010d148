"""What one seed draws: the shape of the cluster, its limits, which faults it must bear, and what is
asked of it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """One run's parameters. Times are in ticks, chances per message or per occasion.

    Attributes:
        voters, learners: at the start.
        duration_ticks: of the phase with faults.
        tick_seconds: what the members take a tick for. Long ticks let leases last long enough to
            be checkpointed.
        loss, duplication: chances of a message.
        delay_units_max: messages are delayed by up to this, and so overtake each other.
        disk_units_max: how long a write takes at most.
        slow_disk: the chance that a member's disk is twenty times as slow for a while.
        fault_ticks: a fault happens about this often; 0 for never.
        change_ticks: a change of membership, or a transfer of leadership, is asked for about this
            often; 0 for never.
        save_ticks: a member saves its state machine, and compacts its log, about this often.
        keep_entries: how many applied entries that leaves.
        request_units: a request is made about this often; lookups a third as often.
        lease_units: a lease is renewed about this often; 0 for no leases.
        leases: how many ids of leases are in use.
        watchers: how many watch.
        keys: how many keys are in use.
        retries: proposals that are known to be lost are made again (raft/DESIGN.md, duty 9).
        value_bytes_max: a value is padded by up to this; long ones are torn more often.
        skew: clocks run up to this much faster or slower.
        pause_ticks_max: a paused member stands still for up to this; 0 for never.
        early_log: entries are readable before they are durable (raft/DESIGN.md, duty 4).
        apply_units_max: how long applying lags at most.
    """

    voters: int
    learners: int
    duration_ticks: int
    tick_seconds: float
    loss: float
    duplication: float
    delay_units_max: int
    disk_units_max: int
    slow_disk: float
    fault_ticks: int
    change_ticks: int
    save_ticks: int
    keep_entries: int
    request_units: int
    lease_units: int
    leases: int
    watchers: int
    keys: int
    retries: bool
    value_bytes_max: int
    skew: float
    pause_ticks_max: int
    early_log: bool
    apply_units_max: int
    election_timeout_ticks: int
    append_bytes_max: int
    append_messages_in_flight_max: int
    applying_bytes_max: int
    segment_bytes: int


def draw_plan(chance: random.Random) -> Plan:
    """Draw a run. Every fault is missing in some runs, so that the others meet a working cluster
    too."""
    return Plan(
        voters=chance.choice([1, 2, 3, 3, 3, 4, 5, 5]),
        learners=chance.choice([0, 0, 1]),
        duration_ticks=chance.randint(150, 450),
        tick_seconds=chance.choice([0.1, 0.1, 60.0]),
        loss=chance.choice([0.0, 0.02, 0.1, 0.25]),
        duplication=chance.choice([0.0, 0.05]),
        delay_units_max=chance.choice([2, 8, 30]),
        disk_units_max=chance.choice([1, 5, 20]),
        slow_disk=chance.choice([0.0, 0.2]),
        fault_ticks=chance.choice([0, 6, 15, 40]),
        change_ticks=chance.choice([0, 8, 20]),
        save_ticks=chance.choice([5, 15, 60]),
        keep_entries=chance.choice([0, 3, 30]),
        request_units=chance.choice([4, 10, 40]),
        lease_units=chance.choice([0, 5, 10, 40]),
        leases=chance.choice([1, 4, 8]),
        watchers=chance.choice([0, 2, 5]),
        keys=chance.choice([2, 8]),
        retries=chance.random() < 0.5,
        value_bytes_max=chance.choice([0, 200, 1500]),
        skew=chance.choice([0.0, 0.2, 0.6]),
        pause_ticks_max=chance.choice([0, 5, 40]),
        early_log=chance.random() < 0.5,
        apply_units_max=chance.choice([0, 0, 3, 20, 150]),
        election_timeout_ticks=chance.choice([4, 7, 10]),
        append_bytes_max=chance.choice([1, 60, 1 << 20]),
        append_messages_in_flight_max=chance.choice([1, 3, 256]),
        applying_bytes_max=chance.choice([1, 200, 1 << 20]),
        segment_bytes=chance.choice([2048, 8192]),
    )


Step = tuple[str, int]
"""Something that is done to the cluster: what kind, and its number within the kind."""


@dataclass(frozen=True)
class Scenario:
    """A seed, and what was taken out of the run that it draws to make it shorter.

    Attributes:
        seed: of everything drawn.
        plan: instead of the one drawn.
        left_out: steps not done. Each step draws from a source of its own, so that the others stay
            what they were.
    """

    seed: int
    plan: Plan | None = None
    left_out: frozenset[Step] = field(default_factory=frozenset)

    def chance(self, *name: object) -> random.Random:
        """Return the source of one thing's randomness."""
        return random.Random(repr((self.seed, *name)))

    def drawn_plan(self) -> Plan:
        return self.plan or draw_plan(self.chance("plan"))
