"""Who diverges: what the members' reports of their state hashes say, decided without I/O.

Members are compared at indexes that several of them report, each chain by itself. A hash that
more than half of all voters report for an index is the right one; whoever reports another for it
has diverged. Since hashes are chained, a member that is right at an index was right before: those
in the newest majority are sound whatever else is claimed, so never more than a minority of the
voters is found to have diverged.

Members that differ where no hash has a majority are in dispute: one of them is wrong, nobody
knows which.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from tianlu_registry.node.state_hash import HashReport
from tianlu_registry.raft.types import NO_INDEX, Index, MemberId

Reports: TypeAlias = Mapping[MemberId, HashReport]
_Hashes: TypeAlias = Mapping[MemberId, int]


class _Place(NamedTuple):
    """Where hashes can be compared. The index comes first: places are ordered by it."""

    index: Index
    chain: Index
    format: int


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
    majorities = {
        place: majority
        for place, hashes in by_place.items()
        if (majority := _majority(hashes, voters)) is not None
    }
    newest = max(majorities, key=lambda place: place.index, default=None)
    if newest is None:
        disputed, disputants = _dispute(by_place, frozenset())
        return Verdict(disputed=disputed, disputants=disputants)
    sound = {m for m, value in by_place[newest].items() if value == majorities[newest]}
    diverged: dict[MemberId, Index] = {}
    for place in sorted(majorities):
        for member, value in sorted(by_place[place].items()):
            if value != majorities[place] and member not in sound:
                diverged.setdefault(member, place.index)
    settled = sound | diverged.keys()
    disputed, disputants = _dispute(by_place, settled)
    return Verdict(diverged, disputed, disputants, newest.index)


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


def _majority(hashes: _Hashes, voters: Collection[MemberId]) -> int | None:
    """Return the hash that more than half of all voters report."""
    counts = Counter(value for member, value in hashes.items() if member in voters)
    for value, count in counts.items():
        if 2 * count > len(voters):
            return value
    return None


def _dispute(
    by_place: Mapping[_Place, _Hashes], settled: Collection[MemberId]
) -> tuple[Index, frozenset[MemberId]]:
    """Return the first index at which members differ that are not all judged already, and those
    members."""
    for place, hashes in sorted(by_place.items()):
        unsettled = hashes.keys() - settled
        if unsettled and len(set(hashes.values())) > 1:
            return place.index, frozenset(hashes)
    return NO_INDEX, frozenset()
