"""What the doctor concludes from a report: a table of clusters and their findings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tianlu._cluster.diagnosis import EXIT_STATUSES, Diagnosis, Verdict, diagnose
from tianlu._cluster.model import Answer, Member, MemberView, NodeStatus, Survey
from tianlu._cluster.probe import clock_ahead, failed_checks, percentile
from tianlu._cluster.report import Finding, HashAnswer, Probe, Report

STATUS = NodeStatus(
    cluster="c1",
    member="",
    version="3.5.13",
    leader="1",
    learner=False,
    term=7,
    index=10_000,
    applied=10_000,
    revision=500,
    size=1000,
    size_in_use=500,
    quota=10_000,
    alarms=(),
)


def member(number: int, **changes: Any) -> Member:
    whole = Member(
        f"{number:x}",
        f"n{number}",
        (f"http://10.0.0.{number}:2380",),
        (f"http://10.0.0.{number}:2379",),
        learner=False,
    )
    return replace(whole, **changes)


def up(number: int, *, learner: bool = False, seconds: float = 0.001, **changes: Any) -> MemberView:
    """A member that answers."""
    status = replace(STATUS, member=f"{number:x}", learner=learner, **changes)
    answer = Answer(f"10.0.0.{number}:2379", status, seconds=seconds)
    return MemberView(member(number, learner=learner), answer)


def down(number: int, **changes: Any) -> MemberView:
    """A member that ran once and does not answer."""
    answer = Answer(f"10.0.0.{number}:2379", None, "failed to connect: Connection refused")
    return MemberView(member(number, **changes), answer)


def new(number: int, **changes: Any) -> MemberView:
    """A member that was added and never started."""
    return MemberView(member(number, name="", client_urls=(), **changes), None)


def diagnosis(*views: MemberView, earlier: Survey | None = None, **report: Any) -> Diagnosis:
    strangers, silent = report.pop("strangers", ()), report.pop("silent", ())
    now = Survey(views, strangers, silent)
    return diagnose(Report(now, earlier or now, **report))


def checks(found: Diagnosis) -> list[str]:
    return [f"{one.severity.value} {one.check}" for one in found.findings]


def only(found: Diagnosis, check: str) -> Finding:
    (finding,) = [one for one in found.findings if one.check == check]
    return finding


THREE = (up(1), up(2), up(3))
LOST = {"leader": ""}

CLUSTERS: dict[str, tuple[Diagnosis, list[str]]] = {
    "three voters": (diagnosis(*THREE), []),
    "five voters": (diagnosis(*THREE, up(4), up(5)), []),
    "one voter": (diagnosis(up(1)), ["note one-voter"]),
    "two voters": (diagnosis(up(1), up(2)), ["warning even-voters"]),
    "a follower is down": (
        diagnosis(up(1), up(2), down(3)),
        ["warning member-unreachable", "warning no-margin"],
    ),
    "one of five is down": (
        diagnosis(*THREE, up(4), down(5)),
        ["warning member-unreachable"],
    ),
    "the leader is not reachable from here": (
        diagnosis(down(1), up(2), up(3)),
        ["warning leader-unreachable", "warning member-unreachable", "warning no-margin"],
    ),
    "the quorum is lost": (diagnosis(up(1, **LOST), down(2), down(3)), ["critical no-leader"]),
    "only a learner is left": (
        diagnosis(down(1), down(2), down(3), up(4, learner=True, **LOST)),
        ["critical no-leader"],
    ),
    "enough answer and none is elected": (
        diagnosis(up(1, **LOST), up(2, **LOST), down(3)),
        ["critical no-leader"],
    ),
    "nobody answers": (
        diagnosis(silent=(Answer("a:1", None, "Connection refused"),)),
        ["critical nobody-answers"],
    ),
    "one is cut off from its peers": (
        diagnosis(up(1), up(2), up(3, **LOST)),
        ["warning leader-not-seen"],
    ),
    "a voter was added and never started": (
        diagnosis(*THREE, new(4)),
        ["warning no-margin", "warning never-started", "warning even-voters"],
    ),
    "a learner that could vote": (
        diagnosis(*THREE, up(4, learner=True, index=9_500, applied=9_500)),
        ["note learner-ready"],
    ),
    "a learner that cannot vote yet": (
        diagnosis(*THREE, up(4, learner=True, index=100, applied=100)),
        ["note learner-behind"],
    ),
    "a follower lags": (
        diagnosis(up(1), up(2), up(3, index=5_000, applied=5_000)),
        ["warning follower-behind"],
    ),
    "a member applies slowly": (
        diagnosis(up(1), up(2), up(3, applied=5_000)),
        ["warning apply-behind"],
    ),
    "no space": (
        diagnosis(
            *(up(n, alarms=("memberID:2 alarm:NOSPACE",)) for n in (1, 2, 3)),
        ),
        ["critical alarm-nospace"],
    ),
    "corrupt": (
        diagnosis(up(1), up(2, alarms=("memberID:3 alarm:CORRUPT",)), up(3)),
        ["critical alarm-corrupt"],
    ),
    "an alarm of another kind": (
        diagnosis(up(1), up(2, alarms=("memberID:3 alarm:ODD",)), up(3)),
        ["critical alarm"],
    ),
    "quota nearly used up": (
        diagnosis(up(1, size_in_use=9_000), up(2), up(3)),
        ["warning space-low"],
    ),
    "quota unknown": (diagnosis(up(1, quota=0, size_in_use=9_000), up(2), up(3)), []),
    "an upgrade under way": (
        diagnosis(up(1), up(2), up(3, version="3.6.0")),
        ["warning versions-differ"],
    ),
    "a slow answer": (diagnosis(up(1), up(2), up(3, seconds=2.0)), ["note slow-answer"]),
    "a removed member that runs": (
        diagnosis(*THREE, strangers=(up(9).answer,)),
        ["warning removed-member"],
    ),
    "an endpoint that nobody claims": (
        diagnosis(*THREE, silent=(Answer("10.0.0.9:2379", None, "Connection refused"),)),
        ["warning endpoint-silent"],
    ),
    "an endpoint of another cluster": (
        diagnosis(*THREE, strangers=(up(9, cluster="c2").answer,)),
        ["critical other-cluster"],
    ),
    "hashes that agree": (
        diagnosis(*THREE, probes={f"{n}": Probe(hash=HashAnswer(5, 500, -1)) for n in (1, 2, 3)}),
        [],
    ),
    "hashes that cannot be compared": (
        diagnosis(
            *THREE,
            probes={f"{n}": Probe(hash=HashAnswer(n, 500, n)) for n in (1, 2, 3)},
        ),
        [],
    ),
    "one hash differs": (
        diagnosis(
            *THREE,
            probes={f"{n}": Probe(hash=HashAnswer(n // 3, 500, -1)) for n in (1, 2, 3)},
        ),
        ["critical data-differ"],
    ),
    "a member that is not ready": (
        diagnosis(*THREE, probes={"2": Probe(unready=("catalogue failed: loading",))}),
        ["warning not-ready"],
    ),
    "a learner is not ready to serve": (
        diagnosis(
            *THREE,
            up(4, learner=True, index=0, applied=0),
            probes={"4": Probe(unready=("non_learner failed: this member is a learner",))},
        ),
        ["note learner-behind"],
    ),
    "a slow disk": (
        diagnosis(*THREE, probes={"2": Probe(sync_seconds=0.256, commit_seconds=1.0)}),
        ["warning disk-slow", "warning disk-slow"],
    ),
    "a usual disk": (
        diagnosis(*THREE, probes={"2": Probe(sync_seconds=0.064, commit_seconds=0.1)}),
        [],
    ),
    "clocks that differ": (
        diagnosis(
            *THREE,
            probes={
                "1": Probe(clock_ahead_seconds=-0.4),
                "2": Probe(clock_ahead_seconds=60.1),
                "3": Probe(),
            },
        ),
        ["warning clocks-differ"],
    ),
    "everybody's clock differs from ours": (
        diagnosis(*THREE, probes={f"{n}": Probe(clock_ahead_seconds=99) for n in (1, 2, 3)}),
        [],
    ),
    "two of one name": (
        diagnosis(up(1), up(2), MemberView(member(3, name="n2"), up(3).answer)),
        ["warning same-name"],
    ),
}


@pytest.mark.parametrize("name", CLUSTERS)
def test_findings(name: str) -> None:
    found, expected = CLUSTERS[name]
    assert checks(found) == expected


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_finding_says_what_to_do(name: str) -> None:
    found, _ = CLUSTERS[name]
    for finding in found.findings:
        assert finding.summary
        assert finding.next_step or finding.check == "alarm"


def test_verdicts_and_exit_statuses() -> None:
    for name, verdict, status in (
        ("three voters", Verdict.HEALTHY, 0),
        ("one voter", Verdict.HEALTHY, 0),
        ("a follower is down", Verdict.WARNINGS, 1),
        ("the quorum is lost", Verdict.UNHEALTHY, 2),
    ):
        assert CLUSTERS[name][0].verdict is verdict
        assert EXIT_STATUSES[verdict] == status
    assert CLUSTERS["three voters"][0].summary == (
        "healthy: 3 of 3 voters answer, n1 leads, term 7"
    )


def test_a_lost_quorum_is_counted_and_the_newest_voter_named() -> None:
    found = diagnosis(up(1, **LOST), down(2), down(3), down(4), up(5, leader="", index=10_001))
    finding = only(found, "no-leader")
    assert finding.summary == "no leader: 3 of 5 voters do not answer; 3 are needed"
    assert finding.evidence[0] == "n2 (2, http://10.0.0.2:2379): connection refused"
    assert finding.evidence[-1] == "n1 and n5 answer, and cannot elect a leader alone"
    assert finding.next_step.startswith("start 1 of n2, n3 and n4 again")
    assert "restart n5 alone with --force-new-cluster" in finding.next_step


def test_a_second_voter_that_never_started_takes_the_leader_away() -> None:
    """The classic mistake: growing from one to two before the second can run."""
    finding = only(diagnosis(up(1, **LOST), new(2)), "no-leader")
    assert finding.summary == "no leader: 1 of 2 voters do not answer; 2 are needed"
    assert finding.evidence[0] == "unnamed (2, http://10.0.0.2:2380): never started"
    assert finding.next_step.startswith(
        "start the member at http://10.0.0.2:2380 for the first time, with "
        "--initial-cluster-state=existing"
    )


def test_who_campaigns_is_seen_by_its_terms() -> None:
    earlier = Survey((up(1, leader="", term=7), up(2, leader="", term=7), down(3)))
    found = diagnosis(up(1, leader="", term=9), up(2, leader="", term=7), down(3), earlier=earlier)
    campaigning, still = only(found, "no-leader").evidence
    assert campaigning.endswith("it campaigns: its term was 7 a moment ago")
    assert still.endswith("knows no leader, at term 7, index 10000")


def test_the_newest_term_says_who_leads() -> None:
    """A leader that was cut off still thinks that it leads, in an older term."""
    found = diagnosis(
        up(1, leader="1", term=7), up(2, leader="2", term=8), up(3, leader="2", term=8)
    )
    assert found.summary == "warnings: 3 of 3 voters answer, n2 leads, term 8"
    assert only(found, "leader-not-seen").summary == "n1 follows 1, while n2 leads"


def test_members_that_know_other_members() -> None:
    lists = [tuple(member(n) for n in numbers) for numbers in ((1, 2, 3), (1, 2, 3), (1, 2))]
    views = [
        MemberView(view.member, replace(view.answer, members=known))
        for view, known in zip(THREE, lists, strict=True)
        if view.answer is not None
    ]
    assert only(diagnosis(*views), "lists-differ").summary == (
        "10.0.0.3:2379 knows other members than the rest"
    )


def test_percentiles_of_a_histogram() -> None:
    page = """x_bucket{le="0.001"} 50
x_bucket{le="0.002"} 99
x_bucket{le="+Inf"} 100
x_sum 3
y_bucket{le="+Inf"} 0
"""
    assert percentile(page, "x", 0.5) == 0.001
    assert percentile(page, "x", 0.99) == 0.002
    assert percentile(page, "x", 1.0) == float("inf")
    assert percentile(page, "y", 0.5) is None
    assert percentile(page, "z", 0.5) is None


def test_pages_are_read() -> None:
    page = "[+]serializable_read ok\n[-]linearizable_read failed: no leader\n"
    assert failed_checks(page) == ("linearizable_read failed: no leader",)
    assert clock_ahead("Thu, 01 Jan 1970 00:01:40 GMT", 90.5) == 10.0
    assert clock_ahead(None, 0) is None
    assert clock_ahead("yesterday", 0) is None
