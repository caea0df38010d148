"""Who diverges: what the members' reports of their state hashes say, decided without I/O.

Members are compared at indexes that several of them report, each chain by itself. The hash that
more than half of all voters report is the right one. Since hashes are chained, whoever is right at
an index was right before it: the majority at the newest index that has one is sound whatever else
is claimed, and who contradicts it there or earlier has diverged. So never more than a minority of
the voters is found to have diverged.

Members that differ where no majority reaches are in dispute: one of them is wrong, nobody knows
which.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tianlu_registry.node.state_hash import HashReport
from tianlu_registry.raft.types import NO_INDEX, Index, MemberId

Reports: TypeAlias = Mapping[MemberId, HashReport]
_Hashes: TypeAlias = Mapping[MemberId, int]


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Where hashes can be compared. The index comes first: places are ordered by it."""

    index: Index
    chain: Index
    format: int

    def is_up_to(self, other: _Place) -> bool:
        """Whether whoever is right at `other` was right here."""
        same_chain = (self.chain, self.format) == (other.chain, other.format)
        return same_chain and self.index <= other.index


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the reports say.

    Attributes:
        diverged: members whose state is wrong, each with the first index at which it is seen.
        disputed: first index at which members differ and no majority says who is right; NO_INDEX
            for none.
        disputants: the members that differ there.
        agreed: newest index at which a majority of the voters agrees.
    """

    diverged: Mapping[MemberId, Index] = field(default_factory=dict)
    disputed: Index = NO_INDEX
    disputants: frozenset[MemberId] = frozenset()
    agreed: Index = NO_INDEX


def judge(reports: Reports, voters: Collection[MemberId]) -> Verdict:
    """Compare reports.

    Args:
        reports: what members say, those that answered; learners may be among them.
        voters: all members that vote, whether they answered or not.
    """
    by_place = _by_place(reports)
    newest = _newest_agreed(by_place, voters)
    if newest is None:
        disputed, disputants = _dispute(by_place, set())
        return Verdict(disputed=disputed, disputants=disputants)
    place, right = newest
    sound = {member for member, value in by_place[place].items() if value == right}
    diverged: dict[MemberId, Index] = {}
    unjudged: dict[_Place, _Hashes] = {}
    for at, hashes in sorted(by_place.items()):
        rights = {value for member, value in hashes.items() if member in sound}
        if not at.is_up_to(place) or not rights:
            unjudged[at] = hashes
            continue
        for member, value in sorted(hashes.items()):
            if member not in sound and value not in rights:
                diverged.setdefault(member, at.index)
    disputed, disputants = _dispute(unjudged, diverged)
    return Verdict(diverged, disputed, disputants, place.index)


def differ(one: HashReport, other: HashReport) -> Index:
    """Return the first index at which two reports differ; NO_INDEX if they do not, or cannot be
    compared."""
    if (one.format, one.chain) != (other.format, other.chain):
        return NO_INDEX
    return min(
        (i for i, value in one.points.items() if other.points.get(i, value) != value),
        default=NO_INDEX,
    )


def _by_place(reports: Reports) -> dict[_Place, dict[MemberId, int]]:
    """Return the hashes reported, by chain and index."""
    found: defaultdict[_Place, dict[MemberId, int]] = defaultdict(dict)
    for member, report in reports.items():
        for index, value in report.points.items():
            found[_Place(index, report.chain, report.format)][member] = value
    return dict(found)


def _newest_agreed(
    by_place: Mapping[_Place, _Hashes], voters: Collection[MemberId]
) -> tuple[_Place, int] | None:
    """Return the newest place where more than half of all voters report one hash, and that hash."""
    for place, hashes in sorted(by_place.items(), reverse=True):
        counts = Counter(value for member, value in hashes.items() if member in voters)
        for value, count in counts.items():
            if 2 * count > len(voters):
                return place, value
    return None


def _dispute(
    by_place: Mapping[_Place, _Hashes], diverged: Collection[MemberId]
) -> tuple[Index, frozenset[MemberId]]:
    """Return the first index at which members differ that are not known to be wrong, and those
    members."""
    for place, hashes in sorted(by_place.items()):
        rest = {member: value for member, value in hashes.items() if member not in diverged}
        if len(set(rest.values())) > 1:
            return place.index, frozenset(rest)
    return NO_INDEX, frozenset()
