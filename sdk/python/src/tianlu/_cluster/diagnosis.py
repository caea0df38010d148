"""Puts the findings together: what the doctor says of a report. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Final

from tianlu._cluster.condition import condition
from tianlu._cluster.leadership import leadership
from tianlu._cluster.membership import membership
from tianlu._cluster.report import Finding, Report, Severity


class Verdict(StrEnum):
    """The cluster as a whole."""

    HEALTHY = "healthy"
    WARNINGS = "warnings"
    UNHEALTHY = "unhealthy"


EXIT_STATUSES: Final = {Verdict.HEALTHY: 0, Verdict.WARNINGS: 1, Verdict.UNHEALTHY: 2}
"""For scripts that ask the doctor."""

_ORDER: Final = {severity: place for place, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the doctor says.

    Attributes:
        summary: one sentence.
        findings: worst first.
    """

    verdict: Verdict
    summary: str
    findings: tuple[Finding, ...]


def diagnose(report: Report) -> Diagnosis:
    """Judge a report."""
    found = chain(leadership(report), membership(report), condition(report))
    findings = tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))
    verdict = _verdict(findings)
    return Diagnosis(verdict, f"{verdict.value}: {_summary(report)}", findings)


def _verdict(findings: tuple[Finding, ...]) -> Verdict:
    severities = {finding.severity for finding in findings}
    if Severity.CRITICAL in severities:
        return Verdict.UNHEALTHY
    return Verdict.WARNINGS if Severity.WARNING in severities else Verdict.HEALTHY


def _summary(report: Report) -> str:
    if not report.reachable:
        return "nobody answers"
    leader = report.survey.leader
    term = max(status.term for _, status in report.reachable)
    answering = sum(view.status is not None for view in report.voters)
    voters = f"{answering} of {len(report.voters)} voters answer"
    leads = f"{leader.name} leads" if leader is not None else "nobody leads"
    return f"{voters}, {leads}, term {term}"
