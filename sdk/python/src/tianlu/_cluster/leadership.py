"""Findings about who leads, and if nobody does, why.

The cases, in order:

1. nobody answers: nothing can be said;
2. somebody names a leader, who is a member: then a majority voted for it. What is left to say is
   who does not follow it, and whether it can be reached from here;
3. nobody names one, and too few voters answer: the quorum is short, as far as one sees from here;
4. nobody names one, and enough answer: they do not reach each other, or refuse each other.
"""

from __future__ import annotations

from collections.abc import Iterator

from tianlu._cluster.model import Member, MemberView, NodeStatus
from tianlu._cluster.report import Finding, Report, Severity, named


def leadership(report: Report) -> Iterator[Finding]:
    """Yield what is to be said of the leader."""
    if not report.reachable:
        yield _nobody_answers(report)
        return
    leader = report.survey.leader
    if leader is None:
        silent = [view for view in report.voters if view.status is None]
        enough = len(report.voters) - len(silent) >= report.quorum
        yield _not_elected(report) if enough else _quorum_is_short(report, silent)
        return
    yield from _leader_unreachable(report, leader)
    yield from _others_follow(report, leader)


def _nobody_answers(report: Report) -> Finding:
    silent = report.survey.silent
    return Finding(
        "nobody-answers",
        Severity.CRITICAL,
        f"none of the {len(silent)} endpoints answers from here"
        if len(silent) > 1
        else "the endpoint does not answer from here",
        tuple(f"{one.endpoint}: {one.reason}" for one in silent),
        "see whether the members run, and whether --endpoints and the way to them are right",
    )


def _quorum_is_short(report: Report, silent: list[MemberView]) -> Finding:
    voters = len(report.voters)
    missing = report.quorum - (voters - len(silent))
    answering = [view.member for view in report.voters if view.status]
    lost = [view.member for view in silent if view.member.started]
    new = [view.member for view in silent if not view.member.started]
    some = f"{missing} of " if missing < len(silent) else ""
    steps = [f"start {some}{named(lost)} again, with the data directory it had"] if lost else []
    if new:
        first = f"{named(new)} for the first time, with --initial-cluster-state=existing"
        steps.append(f"start {first}")
    return Finding(
        "no-leader",
        Severity.CRITICAL,
        f"no leader: {len(silent)} of {voters} voters do not answer; {report.quorum} are needed",
        (
            *(f"{_who(view.member)}: {view.trouble}" for view in silent),
            f"{named(answering)} answer{'s' if len(answering) == 1 else ''}, "
            "and cannot elect a leader alone"
            if answering
            else "only learners answer, which do not vote",
        ),
        f"{', or '.join(steps)}{_last_resort(report)}",
    )


def _last_resort(report: Report) -> str:
    """Return what is left if the quorum is lost for ever: go on from the newest voter."""
    voters = [(status, member) for member, status in report.reachable if not member.learner]
    if not voters:
        return ""
    _, newest = max(voters, key=lambda one: (one[0].term, one[0].index))
    return (
        f"; only if that can never be: tianlu snapshot save, restart {newest.name} alone with "
        "--force-new-cluster, and add new members to it"
    )


def _not_elected(report: Report) -> Finding:
    answering = [view for view in report.voters if view.status]
    return Finding(
        "no-leader",
        Severity.CRITICAL,
        f"no leader: {len(answering)} of {len(report.voters)} voters answer here, {report.quorum} "
        "are enough, and they elect none",
        tuple(_campaign(report, member, status) for member, status in report.reachable),
        "see from each member's machine whether it reaches the others' peer URLs: "
        + ", ".join(url for view in report.voters for url in view.member.peer_urls),
    )


def _campaign(report: Report, member: Member, status: NodeStatus) -> str:
    """Return what a member without a leader is doing, judging by its terms."""
    before = next(
        (view.status for view in report.earlier.members if view.member.id == member.id), None
    )
    what = f"{_who(member)} knows no leader, at term {status.term}, index {status.index}"
    if before is not None and status.term > before.term:
        return f"{what}; it campaigns: its term was {before.term} a moment ago"
    return what


def _leader_unreachable(report: Report, leader: Member) -> Iterator[Finding]:
    view = report.survey.view(leader)
    if view.status is None:
        followers = [m for m, status in report.reachable if status.leader == leader.id]
        yield Finding(
            "leader-unreachable",
            Severity.WARNING,
            f"the leader, {leader.name}, does not answer from here, though "
            f"{named(followers)} follow{'s' if len(followers) == 1 else ''} it",
            (f"{_who(leader)}: {view.trouble}",),
            f"see whether {', '.join(leader.client_urls) or 'its client URL'} can be reached "
            "from here; clients find the leader through any member",
        )


def _others_follow(report: Report, leader: Member) -> Iterator[Finding]:
    for member, status in report.reachable:
        if status.leader == leader.id:
            continue
        follows = f"follows {status.leader}" if status.leader else "knows of no leader"
        yield Finding(
            "leader-not-seen",
            Severity.WARNING,
            f"{member.name} {follows}, while {leader.name} leads",
            (f"{_who(member)}: term {status.term}, index {status.index}",),
            f"see from {member.name}'s machine whether it reaches the others' peer URLs: "
            + ", ".join(
                url
                for view in report.voters
                if view.member.id != member.id
                for url in view.member.peer_urls
            ),
        )


def _who(member: Member) -> str:
    where = ", ".join(member.client_urls or member.peer_urls)
    return f"{member.name or 'unnamed'} ({member.id}, {where})"
