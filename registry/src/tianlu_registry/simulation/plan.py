"""What one seed draws: the shape of the cluster, its limits, and which faults it must bear."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """One run's parameters. Times are in ticks, chances per message or per occasion.

    Attributes:
        voters, learners: at the start.
        duration_ticks: of the phase with faults.
        loss, duplication: chances of a message.
        delay_units_max: messages are delayed by up to this, and so overtake each other.
        disk_units_max: how long a write takes at most.
        slow_disk: the chance that a member's disk is twenty times as slow for a while.
        fault_ticks: a fault happens about this often; 0 for never.
        change_ticks: a change of membership, or a transfer of leadership, is asked for about this
            often; 0 for never.
        save_ticks: a member saves its state machine, and compacts, about this often.
        keep_entries: how many applied entries compaction leaves.
        propose_units: a proposal is made about this often; reads a third as often.
        value_bytes_max: a proposal is padded by up to this; long ones are torn more often.
        skew: clocks run up to this much faster or slower.
        early_log: entries are readable before they are durable (raft/DESIGN.md, duty 4).
        apply_units_max: how long applying lags at most.
    """

    voters: int
    learners: int
    duration_ticks: int
    loss: float
    duplication: float
    delay_units_max: int
    disk_units_max: int
    slow_disk: float
    fault_ticks: int
    change_ticks: int
    save_ticks: int
    keep_entries: int
    propose_units: int
    value_bytes_max: int
    skew: float
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
        loss=chance.choice([0.0, 0.02, 0.1, 0.25]),
        duplication=chance.choice([0.0, 0.05]),
        delay_units_max=chance.choice([2, 8, 30]),
        disk_units_max=chance.choice([1, 5, 20]),
        slow_disk=chance.choice([0.0, 0.2]),
        fault_ticks=chance.choice([0, 6, 15, 40]),
        change_ticks=chance.choice([0, 8, 20]),
        save_ticks=chance.choice([5, 15, 60]),
        keep_entries=chance.choice([0, 3, 30]),
        propose_units=chance.choice([3, 10, 40]),
        value_bytes_max=chance.choice([0, 200, 1500]),
        skew=chance.choice([0.0, 0.2, 0.6]),
        early_log=chance.random() < 0.5,
        apply_units_max=chance.choice([0, 0, 3, 20, 150]),
        election_timeout_ticks=chance.choice([4, 7, 10]),
        append_bytes_max=chance.choice([1, 60, 1 << 20]),
        append_messages_in_flight_max=chance.choice([1, 3, 256]),
        applying_bytes_max=chance.choice([1, 200, 1 << 20]),
        segment_bytes=chance.choice([2048, 8192]),
    )
