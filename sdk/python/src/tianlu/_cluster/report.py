"""What the doctor judges: everything that was learnt of a cluster, and what a finding is.

A report is gathered by `probe.py` and judged by `diagnosis.py`, which does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from tianlu._cluster.model import Answer, Member, MemberView, NodeStatus, Survey


class Severity(StrEnum):
    """How bad a finding is, worst first."""

    CRITICAL = "critical"  # clients are not served, or data are in danger
    WARNING = "warning"  # served, and something should be done
    NOTE = "note"  # worth knowing


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the doctor found.

    Attributes:
        check: the finding's constant name, for programs.
        summary: what is the matter, in a sentence.
        evidence: what it was concluded from.
        next_step: what can safely be done about it: a command, or a sentence.
    """

    check: str
    severity: Severity
    summary: str
    evidence: tuple[str, ...] = ()
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class HashAnswer:
    """A node's checksum of its keys up to a revision. Two are comparable if both revisions
    agree."""

    hash: int
    revision: int
    compact_revision: int


@dataclass(frozen=True, slots=True)
class Probe:
    """What a reachable member was asked beyond its status.

    Attributes:
        hash: None if it would not say.
        unready: checks of /readyz that failed; empty also if there is no such page.
        sync_seconds, commit_seconds: 99th percentile, as far as the histogram's buckets tell, of a
            write to the log and a commit of the database; None if unknown.
        clock_ahead_seconds: its clock against ours, to about a second; None if unknown.
    """

    hash: HashAnswer | None = None
    unready: tuple[str, ...] = ()
    sync_seconds: float | None = None
    commit_seconds: float | None = None
    clock_ahead_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A cluster as it was seen from here.

    Attributes:
        survey: the newer of two surveys.
        earlier: the one before it; the same if one was enough.
        probes: by member id, for members that answered.
    """

    survey: Survey
    earlier: Survey
    probes: Mapping[str, Probe] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def voters(self) -> tuple[MemberView, ...]:
        return tuple(view for view in self.survey.members if not view.member.learner)

    @property
    def learners(self) -> tuple[MemberView, ...]:
        return tuple(view for view in self.survey.members if view.member.learner)

    @property
    def quorum(self) -> int:
        """How many voters must be connected for the cluster to serve."""
        return len(self.voters) // 2 + 1

    @property
    def reachable(self) -> tuple[tuple[Member, NodeStatus], ...]:
        """The members that answered, with their status."""
        return tuple((view.member, view.status) for view in self.survey.members if view.status)

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What the members that answered said."""
        return tuple(view.answer for view in self.survey.members if view.answer and view.status)


def named(members: Iterable[Member]) -> str:
    """Return members as a person lists them: "n1, n2 and n3"."""
    words = [member.name or f"the member at {', '.join(member.peer_urls)}" for member in members]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
