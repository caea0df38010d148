"""Findings about the condition of the members: data, space, disks, clocks, versions."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from tianlu._cluster.model import Member
from tianlu._cluster.report import Finding, HashAnswer, Report, Severity, named

LAG_ENTRIES_MAX: Final = 1_000
"""Log entries that a follower may be behind the leader, or its state behind its log. The answers
are not of the same instant, and a busy cluster writes thousands of entries a second."""

QUOTA_SHARE_MAX: Final = 0.8
SYNC_SECONDS_MAX: Final = 0.1
"""A write to the log that takes as long as a heartbeat interval makes followers doubt the leader.
Source: etcd's hardware guide asks for far less, 10 ms."""

COMMIT_SECONDS_MAX: Final = 0.5
CLOCK_SECONDS_MAX: Final = 3.0
"""The clock is known to about a second. Raft needs none; tokens, certificates and logs do."""

ANSWER_SECONDS_MAX: Final = 1.0

_ALARM: Final = re.compile(r"memberID:(\d+) alarm:(\w+)")


def condition(report: Report) -> Iterator[Finding]:
    """Yield what is to be said of the members' condition."""
    yield from _alarms(report)
    yield from _hashes_differ(report)
    yield from _lag(report)
    yield from _space(report)
    yield from _not_ready(report)
    yield from _versions(report)
    yield from _disks(report)
    yield from _clocks(report)
    yield from _slow_answers(report)


def _alarms(report: Report) -> Iterator[Finding]:
    raised = sorted({alarm for _, status in report.reachable for alarm in status.alarms})
    for alarm in raised:
        match = _ALARM.search(alarm)
        kind = match.group(2) if match else alarm
        id_ = f"{int(match.group(1)):x}" if match else ""
        who = next((view.member for view in report.survey.members if view.member.id == id_), None)
        where = f" on {who.name}" if who is not None else ""
        if kind == "NOSPACE":
            yield Finding(
                "alarm-nospace",
                Severity.CRITICAL,
                f"alarm NOSPACE{where}: the whole cluster refuses writes",
                (alarm,),
                "make room: tianlu kv del, tianlu kv compact REVISION, or a larger disk or quota. "
                "Tianlu's alarm then clears itself; etcd wants etcdctl defrag and alarm disarm",
            )
        elif kind == "CORRUPT":
            yield Finding(
                "alarm-corrupt",
                Severity.CRITICAL,
                f"alarm CORRUPT{where}: its data differ from the others'",
                (alarm,),
                _replace(who) if who is not None else "find the member whose hash differs",
            )
        else:
            yield Finding("alarm", Severity.CRITICAL, f"alarm {kind}{where}", (alarm,))


def _hashes_differ(report: Report) -> Iterator[Finding]:
    """Members whose keys at one revision, with one history kept, have different checksums."""
    groups: dict[tuple[int, int], list[tuple[Member, HashAnswer]]] = defaultdict(list)
    for member, _ in report.reachable:
        answer = report.probes[member.id].hash if member.id in report.probes else None
        if answer is not None:
            groups[answer.revision, answer.compact_revision].append((member, answer))
    for (revision, _), answers in groups.items():
        counts = Counter(answer.hash for _, answer in answers)
        if len(counts) < 2:
            continue
        usual, count = counts.most_common(1)[0]
        odd = [member for member, answer in answers if answer.hash != usual]
        clear = count > len(answers) / 2
        yield Finding(
            "data-differ",
            Severity.CRITICAL,
            f"members disagree about the data: {named(odd)} differ from the majority"
            if clear
            else "members disagree about the data, and no majority agrees",
            tuple(
                f"{member.name}: hash {answer.hash} at revision {revision}"
                for member, answer in answers
            ),
            _replace(odd[0])
            if clear
            else "save a snapshot of every member (tianlu snapshot save) before anything else",
        )


def _replace(member: Member) -> str:
    return (
        f"save a snapshot of a good member, then replace {member.name}: tianlu cluster member "
        f"remove {member.id}, member add, and start it with an empty data directory"
    )


def _lag(report: Report) -> Iterator[Finding]:
    leader = report.survey.leader
    ahead = report.survey.view(leader).status if leader is not None else None
    for member, status in report.reachable:
        behind = ahead.index - status.index if ahead is not None else 0
        if behind > LAG_ENTRIES_MAX and not member.learner:
            yield Finding(
                "follower-behind",
                Severity.WARNING,
                f"{member.name} is {behind} log entries behind the leader",
                (f"index {status.index}, the leader's {ahead.index if ahead else 0}",),
                "it should catch up by itself; if it does not, look at its disk, its CPU and its "
                "connection to the leader",
            )
        if status.index - status.applied > LAG_ENTRIES_MAX:
            yield Finding(
                "apply-behind",
                Severity.WARNING,
                f"{member.name} has {status.index - status.applied} log entries to apply",
                (f"index {status.index}, applied {status.applied}",),
                "look at its disk and CPU, and for very large transactions",
            )


def _space(report: Report) -> Iterator[Finding]:
    for member, status in report.reachable:
        if status.quota and status.size_in_use > QUOTA_SHARE_MAX * status.quota:
            share = 100 * status.size_in_use // status.quota
            yield Finding(
                "space-low",
                Severity.WARNING,
                f"{member.name} has used {share} % of its quota",
                (f"{status.size_in_use} of {status.quota} bytes",),
                "tianlu kv compact REVISION, or a larger --quota-backend-bytes on all members",
            )


def _not_ready(report: Report) -> Iterator[Finding]:
    for member, status in report.reachable:
        probe = report.probes.get(member.id)
        if probe is None or not probe.unready or not status.leader:
            continue  # without a leader nobody is ready: that has been said
        if member.learner and all("non_learner" in line for line in probe.unready):
            continue
        yield Finding(
            "not-ready",
            Severity.WARNING,
            f"{member.name} says that it is not ready",
            probe.unready,
            "its log says more",
        )


def _versions(report: Report) -> Iterator[Finding]:
    versions: dict[str, list[Member]] = defaultdict(list)
    for member, status in report.reachable:
        versions[status.version].append(member)
    if len(versions) > 1:
        yield Finding(
            "versions-differ",
            Severity.WARNING,
            "members run different versions",
            tuple(f"{version}: {named(members)}" for version, members in sorted(versions.items())),
            "finish the upgrade; new features wait for the oldest member",
        )


def _disks(report: Report) -> Iterator[Finding]:
    for member, _ in report.reachable:
        probe = report.probes.get(member.id)
        if probe is None:
            continue
        for what, seconds, most in (
            ("writes to the log", probe.sync_seconds, SYNC_SECONDS_MAX),
            ("commits of the database", probe.commit_seconds, COMMIT_SECONDS_MAX),
        ):
            if seconds is not None and seconds > most:
                yield Finding(
                    "disk-slow",
                    Severity.WARNING,
                    f"{member.name}'s disk is slow: 1 in 100 {what} takes over "
                    f"{most * 1000:.0f} ms",
                    (f"99th percentile since its start: up to {seconds:g} s",),
                    "give it a faster disk, or one that nothing else writes to",
                )


def _clocks(report: Report) -> Iterator[Finding]:
    ahead = {
        member.name: probe.clock_ahead_seconds
        for member, _ in report.reachable
        if (probe := report.probes.get(member.id)) and probe.clock_ahead_seconds is not None
    }
    apart = max(ahead.values()) - min(ahead.values()) if ahead else 0.0
    if apart > CLOCK_SECONDS_MAX:
        yield Finding(
            "clocks-differ",
            Severity.WARNING,
            f"the members' clocks differ by {apart:.0f} s",
            tuple(f"{name}: {seconds:+.0f} s from here" for name, seconds in ahead.items()),
            "run a time service (NTP) on all of them",
        )


def _slow_answers(report: Report) -> Iterator[Finding]:
    for view in report.survey.members:
        answer = view.answer
        if answer is not None and answer.status and answer.seconds > ANSWER_SECONDS_MAX:
            yield Finding(
                "slow-answer",
                Severity.NOTE,
                f"{view.member.name} took {answer.seconds:.1f} s to answer",
                (answer.endpoint,),
                "look at its load, and at the network between here and there",
            )
