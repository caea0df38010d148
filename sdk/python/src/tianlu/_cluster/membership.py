"""Findings about who is in the cluster: missing, new, foreign and superfluous members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tianlu._cluster.model import Member, MemberView
from tianlu._cluster.report import Finding, Report, Severity, named

READY_SHARE = 0.9
"""How much of the leader's log a learner must have to be promoted, as in etcd.
Source: etcd server/etcdserver/server.go, `readyPercentThreshold`."""


def membership(report: Report) -> Iterator[Finding]:
    """Yield what is to be said of the members."""
    yield from _missing(report)
    yield from _never_started(report)
    yield from _learners(report)
    yield from _size(report)
    yield from _strangers(report)
    yield from _silent(report)
    yield from _lists_differ(report)
    yield from _same_names(report)


def _missing(report: Report) -> Iterator[Finding]:
    """Members that ran once and do not answer, while the cluster serves."""
    if report.survey.leader is None:
        return  # `leadership` lists them
    lost = [view for view in report.survey.members if view.member.started and not view.status]
    for view in lost:
        member = view.member
        yield Finding(
            "member-unreachable",
            Severity.WARNING,
            f"{'learner' if member.learner else 'voter'} {member.name} does not answer from here",
            (f"{', '.join(member.client_urls)}: {view.trouble}",),
            f"start it again with the data directory it had; if that is lost: "
            f"tianlu cluster member remove {member.id}, then member add and an empty directory",
        )
    left = sum(view.status is not None for view in report.voters)
    silent = [view.member for view in report.voters if view.status is None]
    if silent and left == report.quorum:
        yield Finding(
            "no-margin",
            Severity.WARNING,
            f"one more failure stops the cluster: {left} of {len(report.voters)} voters answer, "
            f"{report.quorum} are needed",
            (f"without an answer: {named(silent)}",),
            f"bring back {named(silent)} before anything else is stopped",
        )


def _never_started(report: Report) -> Iterator[Finding]:
    for view in report.survey.members:
        member = view.member
        if member.started or view.status:
            continue
        role = "learner" if member.learner else "voter"
        yield Finding(
            "never-started",
            Severity.WARNING,
            f"a {role} was added and has never started: {member.id}",
            (f"peer URLs {', '.join(member.peer_urls)}, no name yet",),
            f"start it with --initial-cluster-state=existing, or take it out: "
            f"tianlu cluster member remove {member.id}",
        )


def _learners(report: Report) -> Iterator[Finding]:
    leader = report.survey.leader
    status = report.survey.view(leader).status if leader is not None else None
    if status is None:
        return
    for view in report.learners:
        if view.status is None:
            continue
        if view.status.index >= READY_SHARE * status.index:
            yield Finding(
                "learner-ready",
                Severity.NOTE,
                f"learner {view.member.name} has caught up and could vote",
                (f"its index is {view.status.index}, the leader's {status.index}",),
                f"tianlu cluster member promote {view.member.name or view.member.id}",
            )
        else:
            yield Finding(
                "learner-behind",
                Severity.NOTE,
                f"learner {view.member.name} is catching up",
                (f"its index is {view.status.index}, the leader's {status.index}",),
                "wait, then promote it",
            )


def _size(report: Report) -> Iterator[Finding]:
    voters = len(report.voters)
    if voters == 1:
        yield Finding(
            "one-voter",
            Severity.NOTE,
            "one voter: its failure stops the cluster",
            (),
            "three voters stand the failure of one: tianlu cluster member add NAME --learner ...",
        )
    elif voters > 0 and voters % 2 == 0:
        failures = voters - report.quorum
        stands = f"no more than {failures}" if failures else "none"
        yield Finding(
            "even-voters",
            Severity.WARNING,
            f"{voters} voters stand as many failures as {voters - 1} would: {stands}",
            (f"a quorum of {voters} is {report.quorum}",),
            "add a voter or remove one, so that their number is odd",
        )


def _strangers(report: Report) -> Iterator[Finding]:
    cluster = report.survey.cluster
    for answer in report.survey.strangers:
        status = answer.status
        if status is None:
            continue
        if cluster and status.cluster != cluster:
            yield Finding(
                "other-cluster",
                Severity.CRITICAL,
                f"{answer.endpoint} belongs to another cluster",
                (f"its cluster is {status.cluster}, the others' {cluster}",),
                "take it out of --endpoints, there and in clients: they would read and write both",
            )
        else:
            yield Finding(
                "removed-member",
                Severity.WARNING,
                f"{answer.endpoint} answers, and is no member (any more)",
                (f"member id {status.member}, version {status.version}",),
                "stop it, and move its data directory away",
            )


def _silent(report: Report) -> Iterator[Finding]:
    """Endpoints that nobody claims, while others answer."""
    if not report.reachable:
        return  # `leadership` lists them
    for answer in report.survey.silent:
        yield Finding(
            "endpoint-silent",
            Severity.WARNING,
            f"{answer.endpoint} does not answer, and is no member's client URL",
            (answer.reason,),
            "take it out of --endpoints, or correct that member's --advertise-client-urls",
        )


def _lists_differ(report: Report) -> Iterator[Finding]:
    """Members that know another list than most: they lag, or were restored from something else."""
    lists = {
        answer.endpoint: frozenset((one.id, one.learner) for one in answer.members)
        for answer in report.answers
        if answer.members
    }
    if len(set(lists.values())) > 1:
        usual, _ = Counter(lists.values()).most_common(1)[0]
        odd = [endpoint for endpoint, members in lists.items() if members != usual]
        yield Finding(
            "lists-differ",
            Severity.WARNING,
            f"{', '.join(odd)} know{'s' if len(odd) == 1 else ''} other members than the rest",
            tuple(
                f"{endpoint}: {', '.join(sorted(one for one, _ in members))}"
                for endpoint, members in lists.items()
            ),
            "look again in a moment: a member that lags hears of changes later",
        )


def _same_names(report: Report) -> Iterator[Finding]:
    counts = Counter(_names(report.survey.members))
    for name, count in counts.items():
        if count > 1:
            yield Finding(
                "same-name",
                Severity.WARNING,
                f"{count} members have the name {name}",
                tuple(_ids(report.survey.members, name)),
                "give every member a --name of its own",
            )


def _names(views: tuple[MemberView, ...]) -> Iterator[str]:
    return (view.member.name for view in views if view.member.name)


def _ids(views: tuple[MemberView, ...], name: str) -> Iterator[str]:
    members: Iterator[Member] = (view.member for view in views)
    return (member.id for member in members if member.name == name)
